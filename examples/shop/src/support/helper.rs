//! What stands in for a person.

use super::room::{Author, Room};
use crate::proto::ChatMessage;
use sampan::Status;
use std::{sync::Arc, time::Duration};

/// How the helper signs.
pub(super) const NAME: &str = "support";

/// As if somebody typed.
const THINKING: Duration = Duration::from_millis(800);

/// Says a message in a room; the helper answers there after a moment.
///
/// # Errors
/// RESOURCE_EXHAUSTED when too many answers are due in this room; the message is not said then.
pub(super) fn say_and_answer(
    room: &Arc<Room>,
    message: ChatMessage,
    author: Author,
) -> Result<(), Status> {
    let debt = room.owe()?;
    let answer = ChatMessage {
        room: message.room.clone(),
        from: NAME.to_owned(),
        text: answer_to(&message.text).to_owned(),
        at: None,
    };
    room.say(author, message);
    tokio::spawn(async move {
        tokio::time::sleep(THINKING).await;
        debt.room().say(Author::Unnamed, answer);
    });
    Ok(())
}

/// Words to listen for, and what to say to them; the first that fits.
const ANSWERS: &[(&[&str], &str)] = &[
    (
        &["refund", "return", "broken", "money back"],
        "I am sorry to hear that. Send it back with the next boat within 30 days, and we refund \
         you in full.",
    ),
    (
        &["where", "track", "parcel", "deliver", "arrive", "shipping"],
        "Open your order and you see your parcel move: paid, packed, on the way, delivered. Each \
         step shows up the moment it happens.",
    ),
    (
        &["declined", "card", "pay", "paid", "charge"],
        "We take any card of 16 digits; one that ends in 0000 is declined, for you to try. You \
         are never charged twice for one order.",
    ),
    (
        &["cancel", "change my order", "wrong order"],
        "An order cannot be changed once it is placed. Leave it unpaid and nothing is packed.",
    ),
    (
        &["replica", "slow", "kill", "dashboard", "latency"],
        "Look at the dashboard: slow or kill a replica there and watch the balancer send the \
         calls elsewhere.",
    ),
    (
        &["price", "cost", "discount", "cheap", "expensive"],
        "The prices on the page are what you pay; an order keeps the price it was placed at.",
    ),
    (
        &["sell", "product", "stock", "have you", "looking for"],
        "All we have is on the market page. Search by name or by what it is for.",
    ),
    (
        &["order", "buy", "cart", "basket"],
        "Put things into the cart on the market page and place the order there. If something \
         goes wrong on the way, place it again: it stays one order.",
    ),
    (&["thank", "great", "perfect"], "With pleasure. Fair winds!"),
    (&["bye", "see you"], "Goodbye, and come back soon."),
    (
        &["hello", "hi ", "hey", "good morning", "good evening"],
        "Hello! What can I do for you?",
    ),
];
const FALLBACK: &str = "Tell me a little more: is it about an order, a payment, or a parcel?";

fn answer_to(text: &str) -> &'static str {
    // With a blank at the end, so that a last word is heard like any other.
    let text = format!("{} ", text.to_lowercase());
    ANSWERS
        .iter()
        .find(|(words, _)| words.iter().any(|word| text.contains(word)))
        .map_or(FALLBACK, |(_, answer)| answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_fit_what_was_said() {
        for (text, part) in [
            ("Where is my order?", "parcel move"),
            ("My card was DECLINED", "0000"),
            ("hi", "Hello"),
            ("I want my money back", "refund"),
            ("mumble", "Tell me a little more"),
        ] {
            let answer = answer_to(text);
            assert!(answer.contains(part), "{text} → {answer}");
        }
    }
}
