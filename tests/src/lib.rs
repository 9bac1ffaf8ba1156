//! Whole-system tests of Sampan; see `tests/`.
