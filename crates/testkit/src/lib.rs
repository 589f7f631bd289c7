//! wharf testkit.
