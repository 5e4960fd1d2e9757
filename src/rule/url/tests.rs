//! Which addresses are followed.
