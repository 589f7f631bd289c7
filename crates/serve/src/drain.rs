//! Telling connections to come to an end, and waiting until they have.

use tokio::sync::watch;

/// The server's end: says when it is time, and learns when all are gone.
#[derive(Debug)]
pub(crate) struct Drain(watch::Sender<bool>);

/// A connection's end. Dropping it says that the connection is gone.
#[derive(Debug, Clone)]
pub(crate) struct Draining(watch::Receiver<bool>);

impl Drain {
    pub(crate) fn new() -> Drain {
        Drain(watch::Sender::new(false))
    }

    pub(crate) fn watch(&self) -> Draining {
        Draining(self.0.subscribe())
    }

    /// Asks all connections to end, and waits for the last.
    pub(crate) async fn finish(self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

impl Draining {
    /// Ready once the connection is to end.
    pub(crate) async fn begun(&mut self) {
        // Without a server there is nothing to wait for either.
        let _ = self.0.wait_for(|begun| *begun).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_with_the_last_connection() {
        let drain = Drain::new();
        let mut connection = drain.watch();
        let ended = tokio::spawn(drain.finish());
        connection.begun().await;
        assert!(!ended.is_finished());
        drop(connection);
        ended.await.unwrap();
    }
}
