//! What of HTTP/1 is let through to hyper's parser: only what RFC 9112 calls valid.
//!
//! hyper, as most parsers, is lenient where the RFC allows it to be, and so is what may stand
//! before us; where two parsers differ, requests are smuggled. A [`Gate`] follows the framing of
//! each connection, message by message, and judges every byte before hyper sees it. What it
//! refuses, and all that follows, never arrives: in the place of a bad head hyper gets a request
//! of ours, which is answered with the refusal once the requests before it have been answered;
//! a bad body breaks off, and its request is refused unless its answer has begun.
//!
