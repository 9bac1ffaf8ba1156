/** One product in the cart. */
export interface Line {
  readonly productId: string;
  readonly name: string;
  readonly emoji: string;
  readonly priceCents: number;
  readonly quantity: number;
}

/**
 * What a visitor is about to order.
 *
 * `key` is the order's idempotency key. It belongs to these contents: pressing the
 * button twice, or again after a lost answer, makes one order; a changed cart is
 * another order and gets another key.
 */
export interface Cart {
  readonly key: string;
  readonly lines: readonly Line[];
}

/** As the shop's proto says. */
export const MAX_LINES = 50;
/** As the shop's proto says. */
export const MAX_QUANTITY = 100;

/** A cart with nothing in it. */
export function emptyCart(newKey: () => string): Cart {
  return { key: newKey(), lines: [] };
}

/** The cart with `quantity` of a product; none of it removes the line. */
export function withQuantity(cart: Cart, line: Omit<Line, "quantity">, quantity: number, newKey: () => string): Cart {
  const wanted = Math.min(MAX_QUANTITY, Math.max(0, Math.trunc(quantity)));
  const known = cart.lines.some(({ productId }) => productId === line.productId);
  if (!known && (wanted === 0 || cart.lines.length >= MAX_LINES)) {
    return cart;
  }
  const changed = { ...line, quantity: wanted };
  const lines = known
    ? cart.lines.map((old) => (old.productId === line.productId ? changed : old)).filter((kept) => kept.quantity > 0)
    : [...cart.lines, changed];
  return { key: newKey(), lines };
}

/** How many of a product lie in the cart. */
export function quantityOf(cart: Cart, productId: string): number {
  return cart.lines.find((line) => line.productId === productId)?.quantity ?? 0;
}

/** What everything in it costs. */
export function totalCents(cart: Cart): number {
  return cart.lines.reduce((sum, line) => sum + line.priceCents * line.quantity, 0);
}

/** How many things lie in it. */
export function pieces(cart: Cart): number {
  return cart.lines.reduce((sum, line) => sum + line.quantity, 0);
}

/** Reads a cart that was stored; anything else is an empty one. */
export function parseCart(text: string, newKey: () => string): Cart {
  try {
    const value: unknown = JSON.parse(text);
    return isCart(value) ? value : emptyCart(newKey);
  } catch {
    return emptyCart(newKey);
  }
}

function isCart(value: unknown): value is Cart {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const { key, lines } = value as Partial<Cart>;
  return typeof key === "string" && key !== "" && Array.isArray(lines) && lines.every(isLine);
}

function isLine(value: unknown): value is Line {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const line = value as Partial<Line>;
  return (
    typeof line.productId === "string" &&
    typeof line.name === "string" &&
    typeof line.emoji === "string" &&
    Number.isFinite(line.priceCents) &&
    Number.isInteger(line.quantity)
  );
}
