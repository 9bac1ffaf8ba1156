import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyCart, MAX_LINES, MAX_QUANTITY, parseCart, pieces, quantityOf, totalCents, withQuantity } from "../src/cart/cart";
import { grouped } from "../src/orders/paying";

const tea = { productId: "tea", name: "Tea", emoji: "🍵", priceCents: 890 };
const bowl = { productId: "bowl", name: "Bowl", emoji: "🥣", priceCents: 1_850 };

function keys() {
  let made = 0;
  return () => `key-${(made += 1)}`;
}

test("a cart sums up what lies in it", () => {
  const newKey = keys();
  const cart = withQuantity(withQuantity(emptyCart(newKey), tea, 2, newKey), bowl, 1, newKey);
  assert.deepEqual([pieces(cart), totalCents(cart), quantityOf(cart, "tea")], [3, 3_630, 2]);
});

test("the key stays while the contents stay, and changes with them", () => {
  const newKey = keys();
  const one = withQuantity(emptyCart(newKey), tea, 1, newKey);
  const two = withQuantity(one, tea, 2, newKey);
  assert.notEqual(one.key, two.key);
  assert.equal(parseCart(JSON.stringify(two), newKey).key, two.key);
  assert.equal(withQuantity(two, bowl, 0, newKey).key, two.key);
});

test("quantities and lines keep to the shop's limits", () => {
  const newKey = keys();
  const many = withQuantity(emptyCart(newKey), tea, 1_000, newKey);
  assert.equal(quantityOf(many, "tea"), MAX_QUANTITY);
  assert.deepEqual(withQuantity(many, tea, -1, newKey).lines, []);
  let full = emptyCart(newKey);
  for (let index = 0; index <= MAX_LINES; index += 1) {
    full = withQuantity(full, { ...tea, productId: `p${index}` }, 1, newKey);
  }
  assert.equal(full.lines.length, MAX_LINES);
});

test("a stored cart that makes no sense is an empty one", () => {
  for (const text of ["", "{", "null", "[]", '{"key":"k","lines":[{}]}', '{"key":"","lines":[]}']) {
    assert.deepEqual(parseCart(text, () => "fresh"), { key: "fresh", lines: [] }, text);
  }
});

test("a card number is read as people write it", () => {
  assert.equal(grouped("4242-4242 42424242999"), "4242 4242 4242 4242");
  assert.equal(grouped("42424"), "4242 4");
  assert.equal(grouped("4242"), "4242");
});
