//! Seeds as text: octets in hex, text in quotes, `[…]` for what has an octet with its length before
//! it, `<…>` for a frame without its length; `#` begins a comment.
//!
//! ```text
//! 02                            # blocks for a table of 4096 bytes
//! [82 86 84]                    # a block of three octets: 03 82 86 84
//! [40 ["foo"] ["bar"]]
//! <06 00 00000000 "12345678">   # a ping: 000008 06 00 00000000 "12345678"
//! ```

/// The octets that a seed stands for.
///
/// # Errors
///
/// Names the line and what in it is none of these.
pub fn parse(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let mut open = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next()
            && first != '#'
        {
            let wrong = || format!("line {}: cannot read {rest:?}", number + 1);
            let after = match first {
                '"' => {
                    let (inside, after) = rest[1..].split_once('"').ok_or_else(wrong)?;
                    octets.extend_from_slice(inside.as_bytes());
                    after
                }
                '[' | '<' => {
                    open.push((first, octets.len()));
                    octets.extend_from_slice(if first == '[' { &[0] } else { &[0; 3] });
                    &rest[1..]
                }
                ']' | '>' => {
                    let (opened, start): (char, usize) = open.pop().ok_or_else(wrong)?;
                    let inside = octets.len() - start;
                    if (opened, first) == ('[', ']') {
                        octets[start] = u8::try_from(inside - 1).map_err(|_| wrong())?;
                    } else if (opened, first) == ('<', '>') {
                        // Kind, flags and stream are not counted.
                        let payload = inside.checked_sub(3 + 6).ok_or_else(wrong)? as u32;
                        octets[start..start + 3].copy_from_slice(&payload.to_be_bytes()[1..]);
                    } else {
                        return Err(wrong());
                    }
                    &rest[1..]
                }
                _ => {
                    let pair = rest.get(..2).ok_or_else(wrong)?;
                    if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                        return Err(wrong());
                    }
                    octets.push(u8::from_str_radix(pair, 16).map_err(|_| wrong())?);
                    &rest[2..]
                }
            };
            rest = after.trim_start();
        }
    }
    if open.is_empty() {
        Ok(octets)
    } else {
        Err("a bracket is not closed".to_owned())
    }
}

/// A text that [`parse`] turns into `octets` again.
#[must_use]
pub fn write(octets: &[u8]) -> String {
    let mut text = String::new();
    for line in octets.chunks(24) {
        let words: Vec<String> = line.iter().map(|octet| format!("{octet:02x}")).collect();
        text.push_str(&words.join(" "));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_hex_text_lengths_and_comments() {
        let text = "# nothing\n02 8286 [\"foo # bar\"[]ff] # end\n\n00";
        let octets = b"\x02\x82\x86\x0bfoo # bar\x00\xff\x00";
        assert_eq!(parse(text).as_deref(), Ok(&octets[..]));
        assert_eq!(parse(&write(octets)).as_deref(), Ok(&octets[..]));
        let frame = parse("<0600 00000000 \"12345678\">");
        assert_eq!(
            frame.as_deref(),
            Ok(&b"\0\0\x08\x06\0\0\0\0\x0012345678"[..])
        );
        for wrong in ["0", "xy", "+1", "\"open", "[", "]", "<]", "<00>"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
