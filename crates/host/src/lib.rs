//! wharf host.
