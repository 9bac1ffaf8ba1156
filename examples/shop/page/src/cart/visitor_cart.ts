import { computed, signal } from "@preact/signals";
import { stored } from "../stored";
import { type Cart, emptyCart, type Line, parseCart, withQuantity } from "./cart";

const text = stored("sampan.cart", "");
const current = signal(parseCart(text.value, newKey));

/** The visitor's cart. */
export const cart = computed(() => current.value);

/** Puts `quantity` of a product into the visitor's cart. */
export function setQuantity(line: Omit<Line, "quantity">, quantity: number): void {
  replace(withQuantity(current.value, line, quantity, newKey));
}

/** Empties the visitor's cart. */
export function clearCart(): void {
  replace(emptyCart(newKey));
}

function replace(next: Cart): void {
  current.value = next;
  text.value = JSON.stringify(next);
}

/** A key that no other caller chose. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
