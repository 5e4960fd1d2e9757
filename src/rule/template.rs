//! The template language: literals and `{selector|transform|…}` over bytes.

/// Placeholder until the compiler lands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template;

/// Placeholder until the compiler lands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector;
