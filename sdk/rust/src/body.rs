//! Bodies of requests and responses, streamed in both directions.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::{HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::channel::{Sender, channel};
use crate::{Error, Result};

/// How much [`Body::bytes`] and [`Body::text`] hold in memory before they give
/// up: 16 MiB. [`Body::bytes_max`] takes another limit.
pub const BUFFER_BYTES_MAX: usize = 16 << 20;

type BoxBody = Pin<Box<dyn HttpBody<Data = Bytes, Error = Error> + Send>>;

/// The body of a request or response.
///
/// It implements [`http_body::Body`], so that routers and middleware on those
/// traits take it as it is. Reading it is driven by the reader: what is not
/// read is not fetched.
///
/// ```
/// use wharf_sdk::{Body, Request, Response, Result};
///
/// /// Sends the request's body back while it arrives.
/// async fn echo(request: Request) -> Result<Response> {
///     Ok(Response::new(request.into_body()))
/// }
///
/// /// Counts the bytes of a body of any length.
/// async fn count(request: Request) -> Result<String> {
///     let mut body = request.into_body();
///     let mut length = 0;
///     while let Some(chunk) = body.chunk().await? {
///         length += chunk.len();
///     }
///     Ok(length.to_string())
/// }
/// ```
pub struct Body {
    kind: Kind,
    /// Trailers met while chunks were read, kept for [`Body::trailers`].
    trailers: Option<HeaderMap>,
    /// The content type of a response whose headers name none. It lies here
    /// because inserting into a `HeaderMap` costs a small component 4 KB.
    pub(crate) content_type: Option<&'static str>,
}

/// Behind the pointer, so that a guest links only the kinds that it makes.
enum Kind {
    Empty,
    Full(Bytes),
    Boxed(BoxBody),
}

impl Body {
    /// A body with nothing in it.
    pub const fn empty() -> Self {
        Body::of(Kind::Empty)
    }

    /// A body that is fed from elsewhere, most often by a future given to
    /// [`spawn`](crate::spawn), with room for one chunk.
    ///
    /// ```
    /// use wharf_sdk::{Body, Response, Result};
    ///
    /// async fn handle() -> Result<Response> {
    ///     let (mut sender, body) = Body::channel();
    ///     wharf_sdk::spawn(async move {
    ///         for part in ["one ", "two ", "three"] {
    ///             if sender.send(part).await.is_err() {
    ///                 return; // the client left
    ///             }
    ///         }
    ///     });
    ///     Ok(Response::new(body))
    /// }
    /// ```
    pub fn channel() -> (Sender, Body) {
        let (sender, receiver) = channel();
        (sender, Body::boxed(receiver))
    }

    /// A body of a stream's items.
    pub fn from_stream<S, T, E>(stream: S) -> Self
    where
        S: Stream<Item = std::result::Result<T, E>> + Send + 'static,
        T: Into<Bytes>,
        E: Into<Error>,
    {
        Body::boxed(StreamBody(Box::pin(stream)))
    }

    /// A body of any other implementation of [`http_body::Body`].
    #[inline]
    pub fn wrap<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut slot = Some(body);
        // Wrapping a `Body` in itself would only add a layer.
        if let Some(same) = (&mut slot as &mut dyn std::any::Any).downcast_mut::<Option<Body>>() {
            return same.take().expect("the slot was filled above");
        }
        let body = slot.expect("only a `Body` is taken out above");
        crate::wasi::expect_headers();
        Body::boxed(Wrapped(Box::pin(body)))
    }

    pub(crate) fn boxed(body: impl HttpBody<Data = Bytes, Error = Error> + Send + 'static) -> Self {
        Body::of(Kind::Boxed(Box::pin(body)))
    }

    const fn of(kind: Kind) -> Self {
        Body {
            kind,
            trailers: None,
            content_type: None,
        }
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the other side broke the body off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|context| self.poll_chunk(context)).await
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            match Pin::new(&mut *self).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(Ok(Some(data))),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }

    /// The trailers, after reading over what is left of the body.
    ///
    /// # Errors
    ///
    /// When the other side broke the body off.
    pub async fn trailers(&mut self) -> Result<Option<HeaderMap>> {
        while self.chunk().await?.is_some() {}
        Ok(self.trailers.take())
    }

    /// The whole body, up to [`BUFFER_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// When the body broke off, or is longer: an error with status `413`.
    pub async fn bytes(self) -> Result<Bytes> {
        self.bytes_max(BUFFER_BYTES_MAX).await
    }

    /// The whole body, up to `length_max` bytes.
    ///
    /// # Errors
    ///
    /// When the body broke off, or is longer: an error with status `413`.
    pub async fn bytes_max(mut self, length_max: usize) -> Result<Bytes> {
        let too_long = || Error::with_status(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
        if self.size_hint().lower() > length_max as u64 {
            return Err(too_long());
        }
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        let mut length = first.len();
        if length > length_max {
            return Err(too_long());
        }
        let Some(second) = self.chunk().await? else {
            return Ok(first);
        };
        let mut whole = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            length += chunk.len();
            if length > length_max {
                return Err(too_long());
            }
            whole.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(whole.freeze())
    }

    /// The whole body as text, up to [`BUFFER_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// As [`Body::bytes`]; and with status `400` when it is not UTF-8.
    pub async fn text(self) -> Result<String> {
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into())
            .map_err(|_| Error::with_status(StatusCode::BAD_REQUEST, "the body is not UTF-8 text"))
    }

    /// The length, where it is known before the body is read.
    pub(crate) fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Boxed(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Boxed(body) => body.is_end_stream(),
            Kind::Full(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Body::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Body")
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        match bytes.is_empty() {
            true => Body::empty(),
            false => Body::of(Kind::Full(bytes)),
        }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Body::empty()
    }
}

struct StreamBody<S>(Pin<Box<S>>);

impl<S, T, E> HttpBody for StreamBody<S>
where
    S: Stream<Item = std::result::Result<T, E>>,
    T: Into<Bytes>,
    E: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.0.as_mut().poll_next(context).map(|item| {
            item.map(|item| match item {
                Ok(data) => Ok(Frame::data(data.into())),
                Err(error) => Err(error.into()),
            })
        })
    }
}

struct Wrapped<B>(Pin<Box<B>>);

impl<B> HttpBody for Wrapped<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.0
            .as_mut()
            .poll_frame(context)
            .map(|frame| frame.map(|frame| frame.map_err(|error| Error::from_boxed(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::{StreamExt, future, stream};
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::Body;
    use crate::{Error, Result};

    fn run<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // All that these tests wait for is in the same future.
        for _ in 0..1000 {
            if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
        }
        panic!("the future never ends")
    }

    #[test]
    fn a_body_is_collected_up_to_its_limit() {
        let parts = || Body::from_stream(stream::iter(["ab", "cd", ""]).map(Ok::<_, Error>));
        assert_eq!(run(parts().bytes()).unwrap(), "abcd");
        assert_eq!(run(parts().bytes_max(4)).unwrap(), "abcd");
        let error = run(parts().bytes_max(3)).unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::PAYLOAD_TOO_LARGE));
        let known = Body::from("abcd");
        assert!(run(known.bytes_max(3)).is_err());
    }

    #[test]
    fn text_must_be_utf8() {
        assert_eq!(run(Body::from("é").text()).unwrap(), "é");
        let error = run(Body::from(vec![0xff]).text()).unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn a_channel_carries_chunks_then_trailers() {
        let (mut sender, mut body) = Body::channel();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        let feed = async {
            sender.send("one").await.unwrap();
            sender.send("two").await.unwrap();
            sender.send_trailers(trailers.clone()).await.unwrap();
        };
        let read = async {
            assert_eq!(body.chunk().await.unwrap().unwrap(), "one");
            assert_eq!(body.chunk().await.unwrap().unwrap(), "two");
            body.trailers().await.unwrap().unwrap()
        };
        let ((), read) = run(future::join(feed, read));
        assert_eq!(read, trailers);
    }

    #[test]
    fn a_sender_waits_for_its_reader_and_learns_that_it_left() {
        let (mut sender, body) = Body::channel();
        run(sender.send("one")).unwrap();
        let mut waiting = Box::pin(sender.send("two"));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(body);
        assert!(run(waiting).is_err());
    }

    #[test]
    fn an_aborted_body_gives_its_error() {
        let (sender, mut body) = Body::channel();
        run(sender.abort(Error::new("broken")));
        assert_eq!(run(body.chunk()).unwrap_err().to_string(), "broken");
    }

    #[test]
    fn an_error_passes_through_a_foreign_body_with_its_status() {
        let failing = stream::iter([Err::<&str, _>(Error::with_status(
            StatusCode::IM_A_TEAPOT,
            "no coffee",
        ))]);
        let wrapped = Body::wrap(http_body_of(Body::from_stream(failing)));
        let error = run(wrapped.bytes()).unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::IM_A_TEAPOT));
    }

    /// As middleware wraps a body in its own type.
    fn http_body_of(body: Body) -> impl http_body::Body<Data = bytes::Bytes, Error = Boxed> + Send {
        struct Other(Body);
        impl http_body::Body for Other {
            type Data = bytes::Bytes;
            type Error = Boxed;
            fn poll_frame(
                mut self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Boxed>>>
            {
                std::pin::Pin::new(&mut self.0)
                    .poll_frame(context)
                    .map_err(Into::into)
            }
        }
        Other(body)
    }

    type Boxed = Box<dyn std::error::Error + Send + Sync>;
}
