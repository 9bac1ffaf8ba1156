//! What the shop has to sell.

use crate::proto::Product;

struct Entry {
    id: &'static str,
    name: &'static str,
    description: &'static str,
    price_cents: i64,
    emoji: &'static str,
}

const fn entry(
    id: &'static str,
    name: &'static str,
    price_cents: i64,
    emoji: &'static str,
    description: &'static str,
) -> Entry {
    Entry {
        id,
        name,
        description,
        price_cents,
        emoji,
    }
}

/// By name.
#[rustfmt::skip] // a table: one product a line
const ENTRIES: &[Entry] = &[
    entry("anchor", "Anchor", 4_900, "⚓", "Six kilos of forged iron that keep a small boat where it is."),
    entry("bell", "Bell", 3_250, "🔔", "Brass, with a cord of hemp; heard across the whole harbour."),
    entry("bread", "Boatman's bread", 420, "🍞", "Dark rye, baked before dawn, good for three days."),
    entry("bucket", "Bucket", 1_190, "🪣", "Galvanised, ten litres: for water, fish and everything else."),
    entry("chili", "Chili paste", 690, "🌶️", "Sun-dried chilies ground with garlic. A little is enough."),
    entry("coconut", "Coconuts", 550, "🥥", "A pair, young and green, full of sweet water."),
    entry("coffee", "Coffee", 1_150, "☕", "Hill-grown beans, roasted on Tuesday, 250 grams."),
    entry("compass", "Compass", 3_900, "🧭", "A liquid-filled card that stays calm on rough water."),
    entry("crab", "Crab", 2_400, "🦀", "Caught in the estuary, sold before noon, two to the kilo."),
    entry("durian", "Durian", 1_800, "🍈", "The king of fruits. Please open it on your own boat."),
    entry("flowers", "Flower garland", 780, "🌺", "Jasmine and hibiscus, for the bow and for good luck."),
    entry("honey", "Forest honey", 1_350, "🍯", "Dark and slow, from the mangroves downstream."),
    entry("lantern", "Lantern", 2_150, "🏮", "Paper and bamboo; floats, glows, and forgives a little rain."),
    entry("mango", "Mangoes", 640, "🥭", "Four ripe ones, yellow to the stone."),
    entry("noodles", "Noodle soup", 480, "🍜", "Cooked on the boat beside you and handed over hot."),
    entry("paddle", "Paddle", 3_600, "🛶", "One piece of teak, oiled, with a grip worn smooth for you."),
    entry("rice", "River rice", 890, "🍚", "Fragrant long grain, two kilos in a cotton sack."),
    entry("rope", "Rope", 1_490, "🪢", "Twenty metres of hemp that holds a knot and a boat."),
    entry("hat", "Straw hat", 1_250, "👒", "A wide brim against sun and rain, woven by hand."),
    entry("tea", "Tea", 980, "🍵", "Green leaves rolled by hand; three brewings from one spoon."),
    entry("boat", "Toy boat", 1_600, "⛵", "Tin and a candle: it puffs across any bathtub."),
    entry("umbrella", "Umbrella", 1_990, "☂️", "Waxed paper on bamboo ribs, painted with cranes."),
    entry("melon", "Watermelon", 590, "🍉", "Eight kilos or so. We help you carry it."),
    entry("whistle", "Whistle", 350, "📯", "One long tone: I am turning to starboard."),
];

// === impl Entry ===

impl Entry {
    fn contains(&self, lower_case: &str) -> bool {
        [self.name, self.description]
            .iter()
            .any(|text| text.to_lowercase().contains(lower_case))
    }

    fn product(&self) -> Product {
        Product {
            id: self.id.to_owned(),
            name: self.name.to_owned(),
            description: self.description.to_owned(),
            price_cents: self.price_cents,
            emoji: self.emoji.to_owned(),
        }
    }
}

/// Products whose name or description contains `query` in any case, by name.
pub(super) fn search(query: &str) -> Vec<Product> {
    let wanted = query.trim().to_lowercase();
    ENTRIES
        .iter()
        .filter(|entry| entry.contains(&wanted))
        .map(Entry::product)
        .collect()
}

/// The product with this id.
pub(super) fn find(id: &str) -> Option<Product> {
    ENTRIES
        .iter()
        .find(|entry| entry.id == id)
        .map(Entry::product)
}

/// All ids.
pub(super) fn ids() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn products_are_distinct_and_by_name() {
        assert_eq!(ids().collect::<BTreeSet<_>>().len(), ENTRIES.len());
        assert!(ENTRIES.is_sorted_by_key(|entry| entry.name));
        assert!(ENTRIES.iter().all(|entry| entry.price_cents > 0));
    }

    #[test]
    fn search_looks_at_name_and_description_in_any_case() {
        let names = |query| {
            search(query)
                .into_iter()
                .map(|p| p.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(" HEMP "), ["Bell", "Rope"]);
        assert_eq!(names("teak"), ["Paddle"]);
        assert_eq!(names("submarine"), [""; 0]);
        assert_eq!(names("").len(), 24);
    }
}
