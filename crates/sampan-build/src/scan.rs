//! Just enough of the .proto language to find words in it: what comes before the compiler can
//! read a file (its edition, its package), and the fields inside an option's braces, of which
//! descriptors keep no place.

use std::ops::Range;

/// A word, a number, a string or a sign, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token<'a> {
    range: Range<usize>,
    text: &'a str,
}

/// The beginning of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// `edition = "…";` stands here.
    pub(crate) edition: Option<Range<usize>>,
    pub(crate) package: Option<String>,
}

/// Reads what a file says about itself. Never fails: what is not there is not found.
pub(crate) fn head(text: &str) -> Head {
    let mut head = Head::default();
    let mut tokens = Tokens { text, offset: 0 };
    let mut depth = 0_usize;
    let mut at_statement = true;
    while let Some(token) = tokens.next() {
        if at_statement && depth == 0 {
            match token.text {
                "edition" => {
                    let end = tokens
                        .by_ref()
                        .take(2)
                        .last()
                        .map_or(token.range.end, |t| t.range.end);
                    head.edition = Some(token.range.start..end);
                }
                "package" => {
                    let name: String = tokens
                        .by_ref()
                        .map_while(|t| (t.text != ";").then_some(t.text))
                        .collect();
                    head.package = Some(name);
                    return head;
                }
                _ => {}
            }
        }
        match token.text {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        at_statement = matches!(token.text, ";" | "}");
    }
    head
}

/// Finds a field by its names from the outside in, in the text of one option:
/// `(sampan.v1.method) = { retry: { max_attempts: 1 } }`.
pub(crate) fn find_field(option: &str, path: &[&str]) -> Option<Range<usize>> {
    let tokens: Vec<Token<'_>> = Tokens {
        text: option,
        offset: 0,
    }
    .collect();
    // The names of the fields whose braces are open; the option's own braces have none.
    let mut open: Vec<&str> = Vec::new();
    let mut depth = 0_usize;
    let mut name = "";
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "{" | "<" => {
                if depth > 0 {
                    open.push(name);
                }
                depth += 1;
            }
            "}" | ">" => {
                depth = depth.saturating_sub(1);
                open.pop();
            }
            word if depth > 0 && word.starts_with(is_word) => {
                let next = tokens.get(index + 1).map_or("", |next| next.text);
                if matches!(next, ":" | "{" | "<") {
                    name = word;
                    if let Some((last, outer)) = path.split_last()
                        && word == *last
                        && open == outer
                    {
                        return Some(token.range.clone());
                    }
                }
            }
            _ => {}
        }
    }
    None
}

/// The first place of a word outside comments and strings.
pub(crate) fn find_word(text: &str, word: &str) -> Option<Range<usize>> {
    Tokens { text, offset: 0 }
        .find(|token| token.text == word)
        .map(|token| token.range)
}

struct Tokens<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = &self.text[self.offset..];
            let first = rest.chars().next()?;
            let (length, is_token) = if first.is_whitespace() {
                (first.len_utf8(), false)
            } else if rest.starts_with("//") {
                (rest.find('\n').unwrap_or(rest.len()), false)
            } else if rest.starts_with("/*") {
                (rest.find("*/").map_or(rest.len(), |end| end + 2), false)
            } else if first == '"' || first == '\'' {
                (string_length(rest, first), true)
            } else if is_word(first) {
                (
                    rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
                    true,
                )
            } else {
                (first.len_utf8(), true)
            };
            let start = self.offset;
            self.offset += length;
            if is_token {
                return Some(Token {
                    range: start..self.offset,
                    text: &self.text[start..self.offset],
                });
            }
        }
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn string_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (offset, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return offset + letter.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_package_is_found_behind_comments_and_options() {
        let text = "// package no;\n/* package no; */ syntax = \"package no;\";\n\
                    option x = { package: 1 };\npackage orders . v1 ;\n";
        assert_eq!(
            head(text),
            Head {
                edition: None,
                package: Some("orders.v1".to_owned())
            }
        );
        assert_eq!(
            head("syntax = \"proto3\"; message package {}"),
            Head::default()
        );
    }

    #[test]
    fn an_edition_is_found() {
        let found = head("// hello\nedition = \"2023\";\npackage a;")
            .edition
            .unwrap();
        assert_eq!(found, 9..25);
    }

    #[test]
    fn a_field_is_found_by_all_its_names() {
        let option = "(sampan.v1.method) = { // retry: { delay: 1 }\n\
                      hedge: { delay: { nanos: 1 } } retry { delay: { nanos: 2 } } timeout: <> }";
        let find = |path: &[&str]| find_field(option, path).map(|range| range.start);
        assert_eq!(find(&["retry", "delay"]), option.rfind("delay"));
        assert_eq!(find(&["hedge", "delay", "nanos"]), option.find("nanos"));
        assert_eq!(find(&["timeout"]), option.find("timeout"));
        assert_eq!(find(&["nanos"]), None);
        assert_eq!(find(&["method"]), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_scanner_panic(text in r#"[a-z{}<>:;"'/*\\é \n]{0,60}"#) {
            let _ = head(&text);
            let _ = find_field(&text, &["a", "b"]);
        }
    }
}
