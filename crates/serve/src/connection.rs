//! One connection: HTTP/1.1 or HTTP/2 over any stream of bytes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::MissedTickBehavior;

use crate::answers::{Answers, Lying};
use crate::clients::Share;
use crate::drain::Draining;
use crate::http1::{Ended, Gate, Ledger};
use crate::node::Node;
use crate::patience::Patience;
use crate::request::Peer;
use crate::untaken::Untaken;
use crate::windows::Window;

/// How long a connection that was told to end may go on without a request.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How often a connection is looked at, at least.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What holds for each connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionOptions {
    /// Time for a client to send a request's head.
    pub(crate) header_time: Duration,
    /// How long a client may take nothing of what is there for it.
    pub(crate) write_time: Duration,
    /// How long a connection may be without a request.
    pub(crate) idle_time: Duration,
}

/// The other end of a connection.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) peer: Peer,
    /// What it may leave untaken.
    pub(crate) share: Share,
    /// What it may send unread.
    pub(crate) window: Window,
}

/// Speaks HTTP on connections, whatever is below: TCP, or TLS.
#[derive(Clone)]
pub(crate) struct Protocols {
    builder: auto::Builder<TokioExecutor>,
    options: ConnectionOptions,
}

impl Protocols {
    pub(crate) fn new(options: ConnectionOptions) -> Protocols {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // The gate holds a head back until it is whole, and looks after the time.
            .header_read_timeout(None)
            // Twice the largest head; what a client may have us hold, either way.
            .max_buf_size(128 << 10);
        builder
            .http2()
            .timer(TokioTimer::new())
            // Requests that one connection has at work. A stream's state lives as long as it is
            // open, and each may hold a guest.
            .max_concurrent_streams(128)
            // A head, decoded: a bomb of references to one large entry of HPACK's table counts
            // each time, and CONTINUATION frames end with it. As large as for HTTP/1. (The table
            // has the 4 KiB of RFC 7541.)
            .max_header_list_size(64 << 10)
            .max_frame_size(16 << 10)
            // What a client may send before its content is read is set for each connection; it
            // cannot have us make it larger.
            .adaptive_window(false)
            // Of an answer that the client does not take, for each stream.
            .max_send_buf_size(64 << 10)
            // Streams that were reset before they were looked at: rapid reset (CVE-2023-44487).
            .max_pending_accept_reset_streams(20)
            // Streams that the client made us reset in all (CVE-2025-8671, MadeYouReset).
            // No pings: behind megabytes that a slow reader has still to take, their answers come
            // too late. Clients that vanished are found by TCP.
            .max_local_error_reset_streams(128);
        Protocols { builder, options }
    }

    /// Answers the requests that come over `stream` with `node` until the connection ends.
    /// Once `draining` begins, requests under way are the last.
    pub(crate) async fn serve<S>(
        &self,
        stream: S,
        party: Party,
        node: Arc<Node>,
        mut draining: Draining,
    ) where
        S: AsyncRead + AsyncWrite + Ended + Unpin + Send + 'static,
    {
        let ConnectionOptions {
            header_time,
            write_time,
            idle_time,
        } = self.options;
        let Party {
            peer,
            share,
            window,
        } = party;
        let ledger = Arc::new(Ledger::default());
        let answers = Answers::new(Arc::clone(&ledger), Untaken::new(share, write_time));
        let mut builder = self.builder.clone();
        builder
            .http2()
            .initial_stream_window_size(window.stream_bytes())
            .initial_connection_window_size(window.bytes());
        let service = service_fn({
            let (ledger, answers) = (Arc::clone(&ledger), Arc::clone(&answers));
            move |request| {
                let under_way = answers.begin();
                let number = under_way.number();
                let is_h2 = ledger.is_h2();
                if !is_h2 {
                    window.give_back();
                }
                let ledger = Arc::clone(&ledger);
                let refused = move || ledger.refusal_of(number);
                let answer = node.answer(request, peer, refused);
                async move {
                    if is_h2 {
                        under_way.room().await;
                    }
                    Ok::<_, Infallible>(under_way.answer(answer.await, is_h2))
                }
            }
        });
        let stream = Patience::new(stream, write_time);
        let stream = Gate::new(stream, peer.scheme, header_time, Arc::clone(&ledger));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let look_every = LOOK_EVERY.min(write_time.min(idle_time) / 4);
        let mut look = tokio::time::interval(look_every.max(Duration::from_millis(1)));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_ending = false;
        loop {
            let was_ending = is_ending;
            tokio::select! {
                // A connection that fails is the client's matter: it left, or broke the protocol.
                _ = &mut connection => return,
                () = draining.begun(), if !is_ending => is_ending = true,
                _ = look.tick() => {
                    ledger.look();
                    // Who lets one answer lie gets no others: what h2 keeps of a stream whose
                    // window stays shut goes with the connection only.
                    let lying = answers.end_lying();
                    if was_ending && lying == Lying::Hopeless {
                        return;
                    }
                    is_ending |= lying != Lying::None || answers.idle() >= idle_time;
                    if was_ending && answers.idle() >= LAST_WORDS.min(idle_time) {
                        return;
                    }
                }
            }
            if is_ending && !was_ending {
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
