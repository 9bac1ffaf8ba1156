//! "Did you mean": the known name nearest to a wrong one.

/// Names longer than this are not compared: the work grows with the square of the length.
const MAX_CHARS: usize = 256;

/// The name among these that `wanted` was probably meant to be; `None` when nothing is near.
///
/// Near is: a third of the letters, at least one, inserted, left out, changed or swapped with
/// its neighbour. Case is not looked at. Of equally near names the first is taken.
#[must_use]
pub fn nearest<'a>(wanted: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = folded(wanted)?;
    among
        .into_iter()
        .filter_map(|name| {
            let candidate = folded(name)?;
            let allowed = (wanted.len().max(candidate.len()) / 3).max(1);
            if wanted.len().abs_diff(candidate.len()) > allowed {
                return None;
            }
            let distance = distance(&wanted, &candidate);
            (distance <= allowed).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn folded(name: &str) -> Option<Vec<char>> {
    let letters: Vec<char> = name
        .chars()
        .take(MAX_CHARS + 1)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    (letters.len() <= MAX_CHARS).then_some(letters)
}

/// Edits between two words, where a swap of neighbours counts as one (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        let keys = ["SAMPAN_HOST", "SAMPAN_PROBE_PORT", "SAMPAN_DRAIN_TIMEOUT"];
        assert_eq!(
            nearest("SAMPAN_DRIAN_TIMEOUT", keys),
            Some("SAMPAN_DRAIN_TIMEOUT")
        );
        assert_eq!(nearest("SAMPAN_PROBEPORT", keys), Some("SAMPAN_PROBE_PORT"));
        assert_eq!(nearest("sampan_host", keys), Some("SAMPAN_HOST"));
    }

    #[test]
    fn nothing_is_suggested_for_what_is_far_off() {
        assert_eq!(nearest("--verbose", ["--port", "--help"]), None);
        assert_eq!(nearest("", ["port"]), None);
        assert_eq!(nearest("port", []), None);
        assert_eq!(nearest(&"a".repeat(MAX_CHARS + 1), ["a"]), None);
    }

    #[test]
    fn of_equally_near_names_the_first_is_taken() {
        assert_eq!(nearest("cat", ["bat", "hat"]), Some("bat"));
    }

    #[test]
    fn a_swap_counts_once() {
        let letters = |word: &str| word.chars().collect::<Vec<_>>();
        assert_eq!(distance(&letters("ab"), &letters("ba")), 1);
        assert_eq!(distance(&letters("kitten"), &letters("sitting")), 3);
        assert_eq!(distance(&letters(""), &letters("abc")), 3);
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_zero_only_for_the_same(a in "[a-c]{0,6}", b in "[a-c]{0,6}") {
            let (left, right): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            prop_assert_eq!(distance(&left, &right), distance(&right, &left));
            prop_assert_eq!(distance(&left, &right) == 0, a == b);
        }
    }
}
