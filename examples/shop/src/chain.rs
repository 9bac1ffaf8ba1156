//! An error with its causes, on one line.

use std::{error::Error, fmt};

/// Shows an error and why it came about, for a log.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

// === impl Chain ===

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Some errors repeat their cause in their own text.
            if !last.contains(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn causes_follow_and_none_is_repeated() {
        let layer = |text, source: Option<Layer>| Layer {
            text,
            source: source.map(Box::new),
        };
        let inner = layer("refused", None);
        let middle = layer("cannot connect: refused", Some(inner));
        let outer = layer("the database cannot be reached", Some(middle));
        let chain = Chain(&outer).to_string();
        assert_eq!(
            chain,
            "the database cannot be reached: cannot connect: refused"
        );
    }
}
