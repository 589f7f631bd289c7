//! A command that shows what a host gives it. The first argument chooses what
//! it does; `guests/README.md` lists them.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> io::Result<ExitCode> {
    match words {
        [] | ["args", ..] => {
            for word in words {
                println!("{word}");
            }
        }
        ["env"] => {
            let mut lines: Vec<_> = env::vars()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            lines.sort();
            for line in lines {
                println!("{line}");
            }
        }
        ["cat"] => {
            io::copy(&mut io::stdin().lock(), &mut io::stdout().lock())?;
        }
        ["read", path] => io::stdout().write_all(&fs::read(path)?)?,
        ["write", path, text] => fs::write(path, text)?,
        ["remove", path] => fs::remove_file(path)?,
        ["list", path] => {
            let mut names = fs::read_dir(path)?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<Vec<_>>>()?;
            names.sort();
            for name in names {
                println!("{name}");
            }
        }
        ["connect", address, text] => connect(address, text)?,
        ["lookup", name] => lookup(name)?,
        ["send", address, text] => send(address, text)?,
        ["connections", count, address] => {
            let count = count.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            connections(count, address)?;
        }
        ["stderr", text] => eprintln!("{text}"),
        ["exit", code] => {
            let code: u8 = code.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            return Ok(ExitCode::from(code));
        }
        ["time"] => {
            let since = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_err(io::Error::other)?;
            println!("{}", since.as_secs());
        }
        ["sleep", milliseconds] => {
            let milliseconds = milliseconds
                .parse()
                .map_err(|_| io::ErrorKind::InvalidInput)?;
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        }
        ["panic"] => panic!("on purpose"),
        ["loop"] => loop {
            black_box(());
        },
        ["oom"] => {
            let mut held = Vec::new();
            loop {
                held.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        _ => return Err(io::Error::other("no such command")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends a text by TCP and prints what comes back.
#[cfg(not(target_env = "p1"))]
fn connect(address: &str, text: &str) -> io::Result<()> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    io::stdout().write_all(&answer)
}

/// Prints the addresses of a name.
#[cfg(not(target_env = "p1"))]
fn lookup(name: &str) -> io::Result<()> {
    for address in std::net::ToSocketAddrs::to_socket_addrs(&(name, 0))? {
        println!("{}", address.ip());
    }
    Ok(())
}

/// Sends a text by UDP.
#[cfg(not(target_env = "p1"))]
fn send(address: &str, text: &str) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    socket.send_to(text.as_bytes(), address)?;
    Ok(())
}

/// Holds as many connections as it gets, closes one and makes another.
#[cfg(not(target_env = "p1"))]
fn connections(count: usize, address: &str) -> io::Result<()> {
    let mut held = Vec::new();
    while held.len() < count {
        match std::net::TcpStream::connect(address) {
            Ok(stream) => held.push(stream),
            Err(error) => {
                println!("{} held, then: {error}", held.len());
                held.pop();
                held.push(std::net::TcpStream::connect(address)?);
                break;
            }
        }
    }
    println!("{} held", held.len());
    Ok(())
}

/// WASI 0.1 has no way to connect.
#[cfg(target_env = "p1")]
fn connect(_address: &str, _text: &str) -> io::Result<()> {
    let _ = Read::by_ref(&mut io::empty());
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_env = "p1")]
fn lookup(_name: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_env = "p1")]
fn send(_address: &str, _text: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_env = "p1")]
fn connections(_count: usize, _address: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
