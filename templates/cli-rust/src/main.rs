//! Greets each name on the command line, or each line of standard input.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

const USAGE: &str = "usage: app-name [--shout] [NAME]...
greets each NAME, or each line of standard input without one";

fn main() -> ExitCode {
    let mut shout = false;
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--help" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            "--shout" => shout = true,
            option if option.starts_with("--") => {
                eprintln!("app-name: unknown option {option}\n{USAGE}");
                return ExitCode::from(2);
            }
            _ => names.push(argument),
        }
    }
    match greet_all(&names, shout) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("app-name: {error}");
            ExitCode::FAILURE
        }
    }
}

fn greet_all(names: &[String], shout: bool) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for name in names {
        writeln!(output, "{}", greeting(name, shout))?;
    }
    if names.is_empty() {
        for line in io::stdin().lock().lines() {
            writeln!(output, "{}", greeting(&line?, shout))?;
        }
    }
    output.flush()
}

fn greeting(name: &str, shout: bool) -> String {
    let greeting = format!("Hello, {}!", name.trim());
    if shout {
        greeting.to_uppercase()
    } else {
        greeting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets() {
        assert_eq!(greeting("Ada\n", false), "Hello, Ada!");
        assert_eq!(greeting("Ada", true), "HELLO, ADA!");
    }
}
