//! The text of .proto files, and places in it.

use std::collections::BTreeMap;
use std::ops::Range;

/// Every file that was read, by the name under which others import it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    files: BTreeMap<String, Source>,
}

/// One file's text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As a person finds it: relative to where the build runs, if it was given so.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Where in a file something is. Counts from 1, as editors do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// The line itself and how many letters of it are meant; unknown where there is no text.
    pub(crate) excerpt: Option<(String, usize)>,
}

// === impl Sources ===

impl Sources {
    pub(crate) fn insert(&mut self, name: &str, path: String, text: String) {
        self.files.insert(name.to_owned(), Source { path, text });
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Source> {
        self.files.get(name)
    }

    /// The place of a descriptor's span; without the line where the file's text is not known.
    pub(crate) fn place(&self, name: &str, span: &[i32]) -> Place {
        match self.find(name) {
            Some(source) => source.place(&source.range(span)),
            None => Place {
                path: name.to_owned(),
                line: at(span, 0) + 1,
                column: at(span, 1) + 1,
                excerpt: None,
            },
        }
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.values().map(|source| source.path.as_str())
    }
}

// === impl Source ===

impl Source {
    /// The place of these bytes; what lies beyond the end counts as the end.
    pub(crate) fn place(&self, range: &Range<usize>) -> Place {
        let start = floor(&self.text, range.start);
        let end = floor(&self.text, range.end).max(start);
        let line_start = self.text[..start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |length| start + length);
        let line = self.text[line_start..line_end].trim_end();
        // What goes on over several lines is marked to the end of the first.
        let marked_end = end.min(line_start + line.len()).max(start);
        Place {
            path: self.path.clone(),
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            excerpt: Some((
                line.to_owned(),
                self.text[start..marked_end].chars().count().max(1),
            )),
        }
    }

    /// The bytes of a descriptor's span: lines and bytes from 0, the end's line left out where
    /// it is the first.
    pub(crate) fn range(&self, span: &[i32]) -> Range<usize> {
        let end = if span.len() > 3 {
            self.offset(at(span, 2), at(span, 3))
        } else {
            self.offset(at(span, 0), at(span, 2))
        };
        self.offset(at(span, 0), at(span, 1))..end
    }

    fn offset(&self, line: usize, column: usize) -> usize {
        self.text
            .split_inclusive('\n')
            .take(line)
            .map(str::len)
            .sum::<usize>()
            + column
    }
}

fn at(span: &[i32], index: usize) -> usize {
    span.get(index)
        .and_then(|value| usize::try_from(*value).ok())
        .unwrap_or(0)
}

fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            path: "a.proto".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_place_counts_letters_not_bytes() {
        let place = source("one\n  é two\nthree").place(&(9..12));
        assert_eq!((place.line, place.column), (2, 5));
        assert_eq!(place.excerpt, Some(("  é two".to_owned(), 3)));
    }

    #[test]
    fn a_range_over_lines_is_marked_on_its_first() {
        let place = source("option {\n}\n").place(&(0..10));
        assert_eq!(place.excerpt, Some(("option {".to_owned(), 8)));
    }

    #[test]
    fn the_end_of_a_file_and_what_lies_beyond_is_a_place() {
        for text in ["", "a", "a\n", "é"] {
            let place = source(text).place(&(100..200));
            assert_eq!(place.excerpt.map(|(_, width)| width), Some(1), "{text:?}");
        }
    }

    #[test]
    fn spans_of_descriptors_become_bytes() {
        let source = source("x\n\toption\n}");
        assert_eq!(source.range(&[1, 1, 7]), 3..9);
        assert_eq!(source.range(&[1, 1, 2, 1]), 3..11);
    }
}
