//! What is wrong with a .proto file, told to the person who wrote it.

use crate::source::Place;
use std::fmt;

/// Why nothing was generated: every fault with its file, line, column, a caret and a hint.
///
/// `Debug` prints the same text as `Display`, for a build script's `main` prints `Debug`.
pub struct Error {
    faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) place: Option<Place>,
    pub(crate) hint: Option<String>,
}

// === impl Error ===

impl Error {
    /// At least one fault; those told twice are told once.
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        let mut unique: Vec<Fault> = Vec::with_capacity(faults.len());
        for fault in faults {
            if !unique.contains(&fault) {
                unique.push(fault);
            }
        }
        Self { faults: unique }
    }

    /// How many faults there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.faults.len()
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self {
            faults: vec![fault],
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

// === impl Fault ===

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            hint: None,
        }
    }

    #[must_use]
    pub(crate) fn at(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut margin = String::new();
        if let Some(place) = &self.place {
            write!(f, "{}:{}:{}: ", place.path, place.line, place.column)?;
            margin = " ".repeat(place.line.to_string().len());
        }
        f.write_str(&self.message)?;
        if let Some(place) = &self.place
            && let Some((line, width)) = &place.excerpt
        {
            // A tab before the caret is as wide as the tab above it.
            let indent: String = line
                .chars()
                .take(place.column - 1)
                .map(|letter| if letter == '\t' { '\t' } else { ' ' })
                .collect();
            write!(f, "\n{margin} |\n{} | {line}", place.line)?;
            write!(f, "\n{margin} | {indent}{}", "^".repeat(*width))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n{margin} = hint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_once_each_with_line_and_caret() {
        let fault = Fault::new("wrong")
            .at(Some(Place {
                path: "a.proto".to_owned(),
                line: 12,
                column: 2,
                excerpt: Some(("\tbad;".to_owned(), 3)),
            }))
            .with_hint("right");
        let error = Error::new(vec![fault.clone(), fault, Fault::new("and nowhere")]);
        assert_eq!(error.count(), 2);
        let text =
            "a.proto:12:2: wrong\n   |\n12 | \tbad;\n   | \t^^^\n   = hint: right\n\nand nowhere";
        assert_eq!(error.to_string(), text);
        assert_eq!(format!("{error:?}"), text);
    }
}
