//! Makes pickers anew when what they choose from changes, and not otherwise: some are costly,
//! and each begins its turns at random.

use crate::{
    balance::{Keeper, Member, Nearness, Picker, Replica},
    resolve::Attributes,
};
use std::sync::Arc;
use tokio::time::Instant;

/// The picker of one runtime's calls.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    seen: Seen,
    picker: Option<Arc<dyn Picker>>,
}

/// Whom one saw, in that order, and what of them policies look at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    list: Vec<Look>,
}

#[derive(Debug)]
struct Look {
    replica: Arc<Replica>,
    is_ready: bool,
    weight: u32,
    priority: u32,
    nearness: Nearness,
    attributes: Arc<Attributes>,
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
            self.picker = keeper.picker(members, Instant::now().into_std());
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
                .all(|(seen, one)| seen.is(one));
        if !is_same {
            self.list = members.iter().map(Look::at).collect();
        }
        !is_same
    }
}

// === impl Look ===

impl Look {
    fn at(member: &Member) -> Self {
        Self {
            replica: Arc::clone(&member.replica),
            is_ready: member.is_ready,
            weight: member.weight,
            priority: member.priority,
            nearness: member.nearness,
            attributes: Arc::clone(&member.attributes),
        }
    }

    fn is(&self, member: &Member) -> bool {
        Arc::ptr_eq(&self.replica, &member.replica)
            && self.is_ready == member.is_ready
            && self.weight == member.weight
            && self.priority == member.priority
            && self.nearness == member.nearness
            && self.attributes == member.attributes
    }
}
