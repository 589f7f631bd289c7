//! Ending a server in good order.

use std::io::IsTerminal;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;
use crate::progress::{self, beside};

/// SIGINT and SIGTERM. After the first a second one ends the process at once.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(crate) fn listen() -> Result<Stop, CliError> {
        let listen = |kind| {
            signal(kind).map_err(|error| CliError::new(format!("cannot handle signals: {error}")))
        };
        Ok(Stop {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    pub(crate) async fn first(&mut self) {
        self.any().await;
        if std::io::stderr().is_terminal() {
            beside(|| {
                anstream::eprintln!("finishing requests under way; once more to end at once");
            });
        }
        let (Ok(interrupt), Ok(terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return;
        };
        tokio::spawn(async move {
            Stop {
                interrupt,
                terminate,
            }
            .any()
            .await;
            progress::end();
            std::process::exit(130);
        });
    }
}
