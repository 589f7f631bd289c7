//! `cargo xtask demo`: from a fresh clone to a photograph in the browser.
//!
//! At the end this process *becomes* `wharf up`, so that Ctrl-C, SIGTERM and
//! the exit code are wharf's own.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

use crate::setup::{self, Purpose};
use crate::workspace::Workspace;
use crate::{Usage, process};

const HELP: &str = "\
Set up, build wharf in release, build and serve examples/darkroom.

Usage: cargo xtask demo [--addr HOST:PORT] [--no-open]

Options:
  --addr HOST:PORT  Where to listen [default: 127.0.0.1:3000, or a free port if it is taken]
  --no-open         Do not open the browser (it is opened only from a terminal on a desktop)

Ctrl-C ends it. The first build takes some minutes.
";

/// The hidden command that waits for the server and opens the browser.
pub(crate) const OPENER: &str = "open-when-listening";

const EXAMPLE: &str = "examples/darkroom";
const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3000);
const OPEN_WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq, Eq)]
struct Options {
    address: Option<SocketAddr>,
    open: bool,
}

pub(crate) fn command(workspace: &Workspace, arguments: Vec<OsString>) -> Result<ExitCode> {
    let Some(options) = parse(arguments)? else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let address = choose_address(options.address)?;
    setup::prepare(workspace, Purpose::Demo)?;

    eprintln!("demo: building wharf (the first time takes some minutes)");
    process::run(process::cargo(workspace).args(["build", "--release", "--package", "wharf-cli"]))?;
    let wharf = workspace.target().join("release").join(executable("wharf"));

    eprintln!("demo: building {EXAMPLE}");
    process::run(
        process::command(workspace, &wharf)
            .arg("build")
            .current_dir(workspace.root().join(EXAMPLE)),
    )?;

    eprint!("{}", what_to_try(address, &wharf));
    if options.open && on_a_desktop() {
        start_opener(address);
    }
    become_server(workspace, &wharf, address)
}

/// `None` asks for the help text.
fn parse(arguments: Vec<OsString>) -> Result<Option<Options>, Usage> {
    let mut options = Options {
        address: None,
        open: true,
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("addr") => options.address = Some(parser.value()?.parse()?),
            Long("no-open") => options.open = false,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}

/// The address is settled before the long build, so that the text about what to
/// try can name it. An address that was asked for is never replaced.
fn choose_address(asked: Option<SocketAddr>) -> Result<SocketAddr> {
    let wanted = asked.unwrap_or(DEFAULT_ADDRESS);
    let listener = match TcpListener::bind(wanted) {
        Ok(listener) => listener,
        Err(_) if asked.is_none() => TcpListener::bind(SocketAddr::new(wanted.ip(), 0))
            .context("no port is free on the loopback address")?,
        Err(error) => return Err(error).with_context(|| format!("cannot listen on {wanted}")),
    };
    listener.local_addr().context("cannot read the address")
}

fn what_to_try(address: SocketAddr, wharf: &Path) -> String {
    let wharf = wharf.display();
    format!(
        "\n\
         darkroom is about to listen on http://{address}\n\
         \n\
         In a browser: open http://{address} and drop a PNG or JPEG on the page.\n\
         From another terminal:\n\
         \n  \
           curl http://{address}/api/operations\n  \
           curl -o gray.png --data-binary @photo.jpg 'http://{address}/api/filter?op=grayscale'\n\
         \n\
         Look inside:  {wharf} inspect {EXAMPLE}\n\
         Ctrl-C ends it.\n\n"
    )
}

#[cfg(unix)]
fn become_server(workspace: &Workspace, wharf: &Path, address: SocketAddr) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    let error = server(workspace, wharf, address).exec();
    Err(error).with_context(|| format!("cannot start {}", wharf.display()))
}

#[cfg(not(unix))]
fn become_server(workspace: &Workspace, wharf: &Path, address: SocketAddr) -> Result<ExitCode> {
    let status = server(workspace, wharf, address)
        .status()
        .with_context(|| format!("cannot start {}", wharf.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn server(workspace: &Workspace, wharf: &Path, address: SocketAddr) -> Command {
    let mut command = process::command(workspace, wharf);
    command
        .args(["up", EXAMPLE, "--addr"])
        .arg(address.to_string());
    process::show(&command);
    command
}

fn executable(name: &str) -> PathBuf {
    Path::new(name).with_extension(std::env::consts::EXE_EXTENSION)
}

fn on_a_desktop() -> bool {
    let has_display = cfg!(target_os = "macos")
        || std::env::var_os("DISPLAY").is_some()
        || std::env::var_os("WAYLAND_DISPLAY").is_some();
    has_display && std::io::stderr().is_terminal()
}

/// A browser that does not open is no reason to end the demo: errors are dropped.
fn start_opener(address: SocketAddr) {
    if let Ok(own) = std::env::current_exe() {
        let _ = Command::new(own)
            .args([OPENER, &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
    }
}

/// The hidden command: waits until the server accepts, then opens the page.
///
/// # Errors
/// The address is none, nobody listened there in 30 seconds, or the desktop has
/// no opener.
pub(crate) fn open_when_listening(arguments: Vec<OsString>) -> Result<ExitCode> {
    let address: SocketAddr = arguments
        .first()
        .and_then(|address| address.to_str())
        .and_then(|address| address.parse().ok())
        .ok_or_else(|| Usage("an address is missing".to_owned()))?;
    let started = Instant::now();
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        if started.elapsed() > OPEN_WAIT_MAX {
            bail!("nobody listens on {address}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    process::run(Command::new(opener).arg(format!("http://{address}")))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn options_are_read() {
        let options = parse(words("--addr 127.0.0.1:8123 --no-open"))
            .unwrap()
            .unwrap();
        assert_eq!(
            options,
            Options {
                address: Some("127.0.0.1:8123".parse().unwrap()),
                open: false
            }
        );
        assert_eq!(parse(words("-h")).unwrap(), None);
        let error = parse(words("--addr localhost")).unwrap_err();
        assert!(error.to_string().contains("localhost"), "{error}");
    }

    #[test]
    fn a_taken_address_that_was_asked_for_is_an_error() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap();
        let error = choose_address(Some(taken)).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {taken}"));
    }

    #[test]
    fn port_zero_becomes_a_real_port_that_the_text_names() {
        let address = choose_address(Some("127.0.0.1:0".parse().unwrap())).unwrap();
        assert_ne!(address.port(), 0);
        assert!(
            what_to_try(address, Path::new("wharf")).contains(&format!("http://{address}/api/"))
        );
    }
}
