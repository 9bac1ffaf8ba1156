//! Makes pickers anew when what they choose from changes, and not otherwise: some are costly,
//! and each begins its turns at random.

use crate::balance::{Keeper, Member, Picker, Replica};
use std::{sync::Arc, time::Instant};

/// The picker of one runtime's calls.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    seen: Seen,
    picker: Option<Arc<dyn Picker>>,
}

/// Whom one saw, in that order, and whether they were ready.
#[derive(Debug, Default)]
pub(super) struct Seen {
    list: Vec<(Arc<Replica>, bool)>,
}

// === impl Chooser ===

impl Chooser {
    /// A picker over these; another than before if they are others, or it `is_due`.
    pub(super) fn picker(
        &mut self,
        members: &[Member],
        keeper: &Keeper,
        is_due: bool,
    ) -> Option<Arc<dyn Picker>> {
        if self.seen.has_changed(members) || is_due {
            self.picker = keeper.picker(members, Instant::now());
        }
        self.picker.clone()
    }
}

// === impl Seen ===

impl Seen {
    /// Whether these are others than those that were seen last.
    pub(super) fn has_changed(&mut self, members: &[Member]) -> bool {
        let is_same = self.list.len() == members.len()
            && self
                .list
                .iter()
                .zip(members)
                .all(|((seen, was_ready), member)| {
                    Arc::ptr_eq(seen, &member.replica) && *was_ready == member.is_ready
                });
        if !is_same {
            let pair = |member: &Member| (Arc::clone(&member.replica), member.is_ready);
            self.list = members.iter().map(pair).collect();
        }
        !is_same
    }
}
