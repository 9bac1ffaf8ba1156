//! A conversation over one stream in both directions.

use super::{
    helper,
    room::{Author, Ear, Room, Rooms},
};
use crate::{
    proto::ChatMessage,
    stopping::{self, Stopping},
};
use futures_util::{Stream, stream};
use sampan::{Status, Streaming};
use std::sync::Arc;

/// One caller's conversation. The first message says in which room it is.
pub(super) struct Talk {
    rooms: Rooms,
    /// Nothing once the caller has said all he wants to say.
    said: Option<Streaming<ChatMessage>>,
    place: Option<Place>,
    stopping: Stopping,
}

/// Where a conversation is.
struct Place {
    name: String,
    room: Arc<Room>,
    me: Author,
    ear: Ear,
}

const MAX_ROOM: usize = 64;
const MAX_FROM: usize = 64;
const MAX_TEXT: usize = 2_000;
const VISITOR: &str = "you";

// === impl Talk ===

impl Talk {
    pub(super) fn new(rooms: Rooms, said: Streaming<ChatMessage>, stopping: Stopping) -> Self {
        Self {
            rooms,
            said: Some(said),
            place: None,
            stopping,
        }
    }

    /// What others say, from the caller's first message on. Ends after the caller has ended and
    /// nothing is owed to him.
    pub(super) fn heard(self) -> impl Stream<Item = Result<ChatMessage, Status>> + Send {
        stream::try_unfold(self, async |mut talk| {
            Ok(talk.next().await?.map(|message| (message, talk)))
        })
    }

    async fn next(&mut self) -> Result<Option<ChatMessage>, Status> {
        loop {
            match (&mut self.said, &mut self.place) {
                (Some(said), Some(place)) => tokio::select! {
                    message = place.ear.hear() => return Ok(Some(message)),
                    message = said.message() => self.on_said(message?)?,
                    () = self.stopping.wait() => return Err(stopping::cut_short()),
                },
                (Some(said), None) => tokio::select! {
                    message = said.message() => self.on_said(message?)?,
                    () = self.stopping.wait() => return Err(stopping::cut_short()),
                },
                (None, Some(place)) => {
                    let mut owed = place.room.owed();
                    tokio::select! {
                        biased;
                        message = place.ear.hear() => return Ok(Some(message)),
                        _ = owed.wait_for(|owed| *owed == 0) => return Ok(place.ear.hear_now()),
                        () = self.stopping.wait() => return Err(stopping::cut_short()),
                    }
                }
                (None, None) => return Ok(None),
            }
        }
    }

    fn on_said(&mut self, message: Option<ChatMessage>) -> Result<(), Status> {
        let Some(mut message) = message else {
            self.said = None;
            return Ok(());
        };
        if let Some(place) = &self.place
            && message.room.is_empty()
        {
            message.room.clone_from(&place.name);
        }
        let message = checked(message)?;
        let place = match &self.place {
            Some(place) if place.name == message.room => place,
            Some(place) => {
                let name = &place.name;
                return Err(Status::invalid_argument(format!(
                    "room: this chat is in `{name}`: open another one for another room"
                )));
            }
            None => {
                let room = self.rooms.enter(&message.room)?;
                let me = room.new_talker();
                let ear = room.clone().ear_of(me);
                self.place.insert(Place {
                    name: message.room.clone(),
                    room,
                    me,
                    ear,
                })
            }
        };
        helper::say_and_answer(&place.room, message, place.me)
    }
}

/// The next message of a listener, until the process is asked to stop.
pub(super) async fn next_heard(
    ear: &mut Ear,
    stopping: &mut Stopping,
) -> Result<ChatMessage, Status> {
    tokio::select! {
        message = ear.hear() => Ok(message),
        () = stopping.wait() => Err(stopping::cut_short()),
    }
}

/// A message that may be said; without a name it is the visitor's.
pub(super) fn checked(message: ChatMessage) -> Result<ChatMessage, Status> {
    let ChatMessage {
        room,
        from,
        text,
        at,
    } = message;
    check_room(&room)?;
    let from = if from.is_empty() {
        VISITOR.to_owned()
    } else {
        from
    };
    check_length("from", &from, MAX_FROM)?;
    if from == helper::NAME {
        return Err(Status::invalid_argument(format!(
            "from: `{from}` is who answers; say `{VISITOR}`"
        )));
    }
    check_length("text", &text, MAX_TEXT)?;
    Ok(ChatMessage {
        room,
        from,
        text,
        at,
    })
}

/// Whether it can be a room's name.
pub(super) fn check_room(room: &str) -> Result<(), Status> {
    check_length("room", room, MAX_ROOM)
}

fn check_length(field: &str, text: &str, most: usize) -> Result<(), Status> {
    let length = text.chars().count();
    if (1..=most).contains(&length) {
        Ok(())
    } else {
        Err(Status::invalid_argument(format!(
            "{field}: {length} characters long, not 1 to {most}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(room: &str, from: &str, text: &str) -> ChatMessage {
        ChatMessage {
            room: room.into(),
            from: from.into(),
            text: text.into(),
            at: None,
        }
    }

    #[test]
    fn a_message_without_a_name_is_the_visitors() {
        assert_eq!(checked(message("r", "", "t")).unwrap().from, "you");
    }

    #[test]
    fn what_is_too_short_or_too_long_or_posing_is_refused() {
        for (wrong, part) in [
            (message("", "you", "t"), "room: 0"),
            (message(&"r".repeat(65), "you", "t"), "room: 65"),
            (message("r", "you", ""), "text: 0"),
            (message("r", "you", &"t".repeat(2_001)), "text: 2001"),
            (message("r", "support", "t"), "who answers"),
        ] {
            let status = checked(wrong).unwrap_err();
            assert!(status.message().contains(part), "{status}");
        }
    }
}
