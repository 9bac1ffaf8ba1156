//! Which statuses a policy is about.

use crate::Code;
use std::fmt;

/// A set of codes, made in `const` context.
///
/// ```
/// use sampan_wire::{Code, policy::CodeSet};
/// const AGAIN: CodeSet = CodeSet::of(&[Code::Unavailable, Code::Aborted]);
/// assert!(AGAIN.contains(Code::Aborted) && !AGAIN.contains(Code::Ok));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CodeSet(u32);

// === impl CodeSet ===

impl CodeSet {
    /// No code at all.
    pub const NONE: Self = Self(0);

    /// These codes.
    #[must_use]
    pub const fn of(codes: &[Code]) -> Self {
        let mut set = Self::NONE;
        let mut at = 0;
        while at < codes.len() {
            set = set.with(codes[at]);
            at += 1;
        }
        set
    }

    /// These and one more.
    #[must_use]
    pub const fn with(self, code: Code) -> Self {
        Self(self.0 | 1 << code as u8)
    }

    /// Whether it has `code`.
    #[must_use]
    pub const fn contains(self, code: Code) -> bool {
        self.0 & 1 << code as u8 != 0
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its codes, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Code> {
        Code::ALL
            .into_iter()
            .filter(move |code| self.contains(*code))
    }
}

impl FromIterator<Code> for CodeSet {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Self {
        codes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for CodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// `UNAVAILABLE, ABORTED`
impl fmt::Display for CodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, code) in self.iter().enumerate() {
            let between = if at == 0 { "" } else { ", " };
            write!(f, "{between}{code}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        for code in Code::ALL {
            let set = CodeSet::of(&[code]);
            assert!(set.iter().eq([code]) && !set.is_empty());
        }
        let all: CodeSet = Code::ALL.into_iter().collect();
        assert!(all.iter().eq(Code::ALL));
        assert!(CodeSet::NONE.is_empty());
    }

    #[test]
    fn it_is_written_as_configurations_write_codes() {
        let set = CodeSet::of(&[Code::Unavailable, Code::Aborted]);
        assert_eq!(set.to_string(), "ABORTED, UNAVAILABLE");
    }
}
