//! Rooms and what was said in them, bounded in every direction.

use crate::{moment::Moment, proto::ChatMessage};
use sampan::Status;
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::sync::watch;

/// All rooms.
#[derive(Clone, Debug, Default)]
pub(super) struct Rooms(Arc<Mutex<HashMap<String, Arc<Room>>>>);

/// One room. Whoever holds it is in it.
#[derive(Debug)]
pub(super) struct Room {
    said: Mutex<Said>,
    /// How many messages were said in all; tells listeners that there is more.
    count: watch::Sender<u64>,
    /// Answers that the helper still owes.
    owed: watch::Sender<usize>,
    next_talker: AtomicU64,
}

#[derive(Debug)]
struct Said {
    /// The newest messages.
    messages: VecDeque<(Author, ChatMessage)>,
    /// How many came before those.
    forgotten: u64,
    last: Instant,
}

/// Who said a message, so that a talker does not hear himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    Unnamed,
    Talker(u64),
}

/// Listens in a room.
#[derive(Debug)]
pub(super) struct Ear {
    room: Arc<Room>,
    deaf_to: Option<Author>,
    heard: u64,
    count: watch::Receiver<u64>,
}

/// An answer that the helper owes; settled when dropped.
#[derive(Debug)]
pub(super) struct Debt(Arc<Room>);

const MAX_ROOMS: usize = 1_000;
const MAX_MESSAGES: usize = 200;
const MAX_OWED: usize = 8;

// === impl Rooms ===

impl Rooms {
    /// The room with this name, made if it is not there. When there are too many, the one that
    /// was silent longest and holds nobody makes room.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when there is somebody in every room.
    pub(super) fn enter(&self, name: &str) -> Result<Arc<Room>, Status> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(name) {
            return Ok(room.clone());
        }
        if rooms.len() >= MAX_ROOMS {
            let silent = rooms
                .iter()
                .filter(|(_, room)| Arc::strong_count(room) == 1)
                .min_by_key(|(_, room)| room.said().last)
                .map(|(name, _)| name.clone())
                .ok_or_else(|| {
                    Status::resource_exhausted("every room is in use: try again later")
                })?;
            rooms.remove(&silent);
        }
        let room = Arc::new(Room::new(Instant::now()));
        rooms.insert(name.to_owned(), room.clone());
        Ok(room)
    }
}

// === impl Room ===

impl Room {
    fn new(now: Instant) -> Self {
        Self {
            said: Mutex::new(Said {
                messages: VecDeque::new(),
                forgotten: 0,
                last: now,
            }),
            count: watch::Sender::new(0),
            owed: watch::Sender::new(0),
            next_talker: AtomicU64::new(0),
        }
    }

    /// Somebody whose own messages are told from others'.
    pub(super) fn new_talker(&self) -> Author {
        Author::Talker(self.next_talker.fetch_add(1, Ordering::Relaxed))
    }

    /// Says it now.
    pub(super) fn say(&self, author: Author, message: ChatMessage) {
        let message = ChatMessage {
            at: Some(Moment::now().into()),
            ..message
        };
        let mut said = self.said();
        if said.messages.len() == MAX_MESSAGES {
            said.messages.pop_front();
            said.forgotten += 1;
        }
        said.messages.push_back((author, message));
        said.last = Instant::now();
        // Under the lock, so that the count never goes back.
        self.count
            .send_replace(said.forgotten + said.messages.len() as u64);
    }

    /// Hears all that is remembered, then what comes.
    pub(super) fn ear_from_the_beginning(self: Arc<Self>) -> Ear {
        Ear {
            deaf_to: None,
            heard: 0,
            count: self.count.subscribe(),
            room: self,
        }
    }

    /// Hears what comes from now on, but not what `author` says.
    pub(super) fn ear_of(self: Arc<Self>, author: Author) -> Ear {
        let count = self.count.subscribe();
        let heard = *count.borrow();
        Ear {
            deaf_to: Some(author),
            heard,
            count,
            room: self,
        }
    }

    /// Notes that the helper owes an answer.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when it owes too many already.
    pub(super) fn owe(self: &Arc<Self>) -> Result<Debt, Status> {
        let taken = self.owed.send_if_modified(|owed| {
            let free = *owed < MAX_OWED;
            *owed += usize::from(free);
            free
        });
        if taken {
            Ok(Debt(self.clone()))
        } else {
            Err(Status::resource_exhausted(
                "too much at once: wait for an answer first",
            ))
        }
    }

    /// Tells when nothing is owed.
    pub(super) fn owed(&self) -> watch::Receiver<usize> {
        self.owed.subscribe()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first message after `heard` others, and how many were said up to it. Skips what was
    /// forgotten.
    fn message_after(&self, heard: u64) -> Option<(u64, Author, ChatMessage)> {
        let said = self.said();
        let at = heard.saturating_sub(said.forgotten);
        let (author, message) = said.messages.get(usize::try_from(at).ok()?)?;
        Some((said.forgotten + at + 1, *author, message.clone()))
    }
}

// === impl Ear ===

impl Ear {
    /// The next message.
    ///
    /// # Cancel safety
    /// Safe: a message is lost only to an ear that is dropped.
    pub(super) async fn hear(&mut self) -> ChatMessage {
        loop {
            if let Some(message) = self.hear_now() {
                return message;
            }
            if self.count.changed().await.is_err() {
                // The room holds the sender, and this ear the room.
                std::future::pending().await
            }
        }
    }

    /// The next message, if it was said already.
    pub(super) fn hear_now(&mut self) -> Option<ChatMessage> {
        loop {
            // Before the look: what is said after it wakes the next wait.
            self.count.mark_unchanged();
            let (heard, author, message) = self.room.message_after(self.heard)?;
            self.heard = heard;
            if self.deaf_to != Some(author) {
                return Some(message);
            }
        }
    }
}

// === impl Debt ===

impl Debt {
    pub(super) fn room(&self) -> &Room {
        &self.0
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.0.owed.send_modify(|owed| *owed -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan::Code;

    fn message(text: &(impl ToString + ?Sized)) -> ChatMessage {
        ChatMessage {
            text: text.to_string(),
            ..ChatMessage::default()
        }
    }

    #[tokio::test]
    async fn an_ear_hears_what_is_remembered_and_then_what_comes() {
        let room = Rooms::default().enter("a").unwrap();
        for number in 0..=MAX_MESSAGES {
            room.say(Author::Unnamed, message(&number));
        }
        let mut ear = room.clone().ear_from_the_beginning();
        assert_eq!(ear.hear().await.text, "1", "the oldest of all is forgotten");
        for _ in 1..MAX_MESSAGES {
            ear.hear().await;
        }
        assert_eq!(ear.hear_now(), None);
        let later = tokio::spawn(async move { ear.hear().await.text });
        tokio::task::yield_now().await;
        room.say(Author::Unnamed, message("live"));
        assert_eq!(later.await.unwrap(), "live");
    }

    #[test]
    fn a_talker_hears_the_others_only() {
        let room = Rooms::default().enter("a").unwrap();
        room.say(Author::Unnamed, message("before"));
        let (me, you) = (room.new_talker(), room.new_talker());
        let mut ear = room.clone().ear_of(me);
        room.say(me, message("mine"));
        room.say(you, message("yours"));
        assert_eq!(ear.hear_now().unwrap().text, "yours");
        assert_eq!(ear.hear_now(), None);
    }

    #[test]
    fn a_full_house_gives_up_the_room_that_was_silent_longest() {
        let rooms = Rooms::default();
        let held = rooms.enter("held").unwrap();
        held.say(Author::Unnamed, message("still here"));
        for number in 1..MAX_ROOMS {
            drop(rooms.enter(&number.to_string()).unwrap());
        }
        drop(rooms.enter("one more").unwrap());
        let remembered = rooms
            .enter("held")
            .unwrap()
            .ear_from_the_beginning()
            .hear_now();
        assert_eq!(remembered.unwrap().text, "still here");
        let names: Vec<_> = rooms.0.lock().unwrap().keys().cloned().collect();
        let all_held: Vec<_> = names
            .iter()
            .map(|name| rooms.enter(name).unwrap())
            .collect();
        assert_eq!(all_held.len(), MAX_ROOMS);
        assert_eq!(
            rooms.enter("too many").unwrap_err().code(),
            Code::ResourceExhausted
        );
    }

    #[test]
    fn the_helper_owes_only_so_much() {
        let room = Rooms::default().enter("a").unwrap();
        let debts: Vec<_> = (0..MAX_OWED).map(|_| room.owe().unwrap()).collect();
        assert_eq!(room.owe().unwrap_err().code(), Code::ResourceExhausted);
        drop(debts);
        assert!(room.owe().is_ok());
    }
}
