//! A command for WASI 0.3: `wasi:cli/run@0.3.0` as an async export.
//!
//! `args` prints the arguments, `env` the environment, `cat` copies standard
//! input to standard output, `sleep MS` waits, `stderr TEXT` writes there,
//! `fail` returns an error and `exit CODE` ends with a code. Of sockets there are
//! `lookup NAME`, `connect ADDRESS TEXT`, `send ADDRESS TEXT` and
//! `halves COUNT ADDRESS`.

mod sockets;

use wasip3::cli::{environment, exit, stderr, stdin, stdout};
use wasip3::clocks::monotonic_clock;
use wasip3::{wit_bindgen::StreamResult, wit_stream};

struct Command;

wasip3::cli::command::export!(Command);

impl wasip3::exports::cli::run::Guest for Command {
    async fn run() -> Result<(), ()> {
        let arguments = environment::get_arguments();
        let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
        match &words[..] {
            [] | ["args", ..] => {
                print(words.iter().map(|word| format!("{word}\n")).collect()).await
            }
            ["env"] => {
                let lines = environment::get_environment().into_iter();
                print(
                    lines
                        .map(|(name, value)| format!("{name}={value}\n"))
                        .collect(),
                )
                .await
            }
            ["cat"] => copy().await,
            ["sleep", milliseconds] => {
                let milliseconds: u64 = milliseconds.parse().map_err(drop)?;
                monotonic_clock::wait_for(milliseconds * 1_000_000).await;
                print("slept\n".into()).await
            }
            ["stderr", text] => {
                let (mut writer, reader) = wit_stream::new();
                let written = stderr::write_via_stream(reader);
                writer.write_all(format!("{text}\n").into_bytes()).await;
                drop(writer);
                written.await.map_err(drop)
            }
            ["lookup", name] => print(sockets::lookup(name).await).await,
            ["connect", address, text] => print(sockets::connect(address, text).await).await,
            ["send", address, text] => print(sockets::send(address, text).await).await,
            ["halves", count, address] => {
                let count = count.parse().map_err(drop)?;
                print(sockets::halves(count, address).await).await
            }
            ["exit", code] => {
                exit::exit_with_code(code.parse().map_err(drop)?);
                Ok(())
            }
            _ => Err(()),
        }
    }
}

async fn print(text: String) -> Result<(), ()> {
    let (mut writer, reader) = wit_stream::new();
    let written = stdout::write_via_stream(reader);
    writer.write_all(text.into_bytes()).await;
    drop(writer);
    written.await.map_err(drop)
}

async fn copy() -> Result<(), ()> {
    let (mut input, outcome) = stdin::read_via_stream();
    let (mut writer, reader) = wit_stream::new();
    let written = stdout::write_via_stream(reader);
    loop {
        let (result, chunk) = input.read(Vec::with_capacity(16 << 10)).await;
        if !chunk.is_empty() {
            writer.write_all(chunk).await;
        }
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    drop(writer);
    written.await.map_err(drop)?;
    outcome.await.map_err(drop)
}
