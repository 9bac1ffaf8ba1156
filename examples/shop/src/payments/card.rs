//! The number of a card.

use std::{fmt, str::FromStr};

/// Sixteen digits. Never shown whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Card([u8; 16]);

/// What was given is no card's number. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("card_number: not 16 digits")]
pub(super) struct InvalidCard;

// === impl Card ===

impl Card {
    /// Whether the bank says no: a number that ends in 0000.
    pub(super) fn is_declined(self) -> bool {
        self.0.ends_with(b"0000")
    }
}

impl FromStr for Card {
    type Err = InvalidCard;

    /// Takes spaces between the digits, as cards are printed.
    fn from_str(text: &str) -> Result<Self, InvalidCard> {
        let mut digits = [0; 16];
        let mut length = 0;
        for byte in text.bytes().filter(|byte| *byte != b' ') {
            if !byte.is_ascii_digit() {
                return Err(InvalidCard);
            }
            *digits.get_mut(length).ok_or(InvalidCard)? = byte;
            length += 1;
        }
        if length == digits.len() {
            Ok(Self(digits))
        } else {
            Err(InvalidCard)
        }
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Card(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_sixteen_digits() {
        assert!("4242 4242 4242 4242".parse::<Card>().is_ok());
        for wrong in [
            "",
            "424242424242424",
            "42424242424242424",
            "4242-4242-4242-4242",
            "４",
        ] {
            assert_eq!(wrong.parse::<Card>(), Err(InvalidCard), "{wrong}");
        }
    }

    #[test]
    fn a_card_that_ends_in_four_zeros_is_declined() {
        assert!("4242424242420000".parse::<Card>().unwrap().is_declined());
        assert!(!"0000000000000001".parse::<Card>().unwrap().is_declined());
    }
}
