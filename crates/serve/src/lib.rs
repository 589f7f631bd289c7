//! wharf serve.
