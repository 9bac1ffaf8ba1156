//! The way of a parcel.

use crate::proto::Stage;

/// The next stop of a parcel at `stage` and what is noted there; none before it is paid and
/// none after it is delivered.
pub(super) const fn next_stop(stage: Stage) -> Option<(Stage, &'static str)> {
    match stage {
        Stage::Paid => Some((Stage::Packed, "Packed at the pier")),
        Stage::Packed => Some((Stage::OnTheWay, "On the boat, on its way to you")),
        Stage::OnTheWay => Some((Stage::Delivered, "Handed over at your door")),
        Stage::Unspecified | Stage::Placed | Stage::Delivered => None,
    }
}

/// How far a parcel at `stage` has come, 0 to 1.
pub(super) fn progress(stage: Stage) -> f64 {
    let steps = f64::from(Stage::Delivered as i32 - Stage::Placed as i32);
    f64::from((stage as i32 - Stage::Placed as i32).max(0)) / steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paid_parcel_comes_to_its_end_and_progress_grows_on_the_way() {
        let mut stage = Stage::Paid;
        let mut last = progress(stage);
        while let Some((next, _)) = next_stop(stage) {
            assert!(progress(next) > last);
            (stage, last) = (next, progress(next));
        }
        assert_eq!((stage, last), (Stage::Delivered, 1.0));
        assert_eq!(progress(Stage::Placed), 0.0);
    }
}
