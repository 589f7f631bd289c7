//! Progress of long work: a spinner where a terminal watches, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wharf_build::{Progress, Step};

/// Draws progress on stderr.
#[derive(Debug)]
pub(crate) struct Terminal {
    spinner: Option<ProgressBar>,
    /// Say nothing but what tools print.
    quiet: bool,
}

impl Terminal {
    pub(crate) fn new() -> Terminal {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let spinner = ProgressBar::new_spinner().with_style(style);
            spinner.set_draw_target(indicatif::ProgressDrawTarget::hidden());
            spinner
        });
        Terminal {
            spinner,
            quiet: false,
        }
    }

    /// For commands whose output is the program's own.
    pub(crate) fn quiet() -> Terminal {
        Terminal {
            spinner: None,
            quiet: true,
        }
    }

    /// Shows `text` while `work` runs.
    pub(crate) fn during<T>(&self, text: &str, work: impl FnOnce() -> T) -> T {
        self.begin(text);
        let result = work();
        self.end();
        result
    }

    fn begin(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => {
                spinner.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                spinner.reset();
                spinner.set_message(text.to_owned());
                spinner.enable_steady_tick(Duration::from_millis(100));
            }
            None if !self.quiet => anstream::eprintln!("{text}"),
            None => {}
        }
    }

    fn end(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }

    fn line(&self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| anstream::eprintln!("{line}")),
            None => anstream::eprintln!("{line}"),
        }
    }
}

impl Progress for Terminal {
    fn started(&self, step: &Step) {
        self.begin(&step.to_string());
    }

    fn finished(&self, _: &Step, _: bool, _: Duration) {
        self.end();
    }

    fn output(&self, line: &str) {
        self.line(line);
    }
}
