//! Looks for a header in the few that a call has.

use http::{HeaderMap, HeaderName, HeaderValue};

/// More headers than this are looked up by their hash.
const FEW: usize = 12;

/// The first value of `name`. In a small map, comparing is quicker than hashing.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    if headers.len() > FEW {
        return headers.get(name);
    }
    let mut headers = headers.iter();
    headers.find_map(|(each, value)| (each == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_maps_give_the_first_value() {
        let wanted = HeaderName::from_static("x-wanted");
        for others in [0, FEW + 5] {
            let mut headers = HeaderMap::new();
            for n in 0..others {
                let name: HeaderName = format!("x-{n}").parse().unwrap();
                headers.append(name, HeaderValue::from_static("other"));
            }
            assert_eq!(find(&headers, &wanted), None);
            headers.append(&wanted, HeaderValue::from_static("first"));
            headers.append(&wanted, HeaderValue::from_static("second"));
            assert_eq!(find(&headers, &wanted).unwrap(), "first");
        }
    }
}
