import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { count, money } from "../format";
import { Art, Nothing, Trouble } from "../parts";
import { type Line, MAX_QUANTITY, pieces, totalCents } from "./cart";
import { orderFailure, ordering, placeOrder } from "./ordering";
import { cart, setQuantity } from "./visitor_cart";

/** Whether the cart lies open over a narrow page; a wide one always shows it. */
export const cartOpen = signal(false);

/** What a visitor is about to order. */
export function CartPanel() {
  const { lines } = cart.value;
  const closeButton = useRef<HTMLButtonElement>(null);
  const open = cartOpen.value;
  useEffect(() => {
    if (!open) {
      return;
    }
    closeButton.current?.focus();
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape") {
        cartOpen.value = false;
      }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [open]);
  useEffect(() => () => void (cartOpen.value = false), []);
  return (
    <>
      <div class={`veil ${open ? "shown" : ""}`} onClick={() => (cartOpen.value = false)} />
      <aside class={`cart ${open ? "open" : ""}`} aria-labelledby="cart-title" data-testid="cart">
        <div class="cart-head">
          <h2 id="cart-title">Your cart</h2>
          <span class="cart-count" role="status" data-testid="cart-count">
            {lines.length > 0 && count(pieces(cart.value), "item")}
          </span>
          <button
            type="button"
            class="icon-button cart-close"
            aria-label="Close the cart"
            ref={closeButton}
            onClick={() => (cartOpen.value = false)}
          >
            ✕
          </button>
        </div>
        {lines.length === 0 ? (
          <Nothing symbol="🧺" title="Still empty.">
            <p>Pick something from the shelves.</p>
          </Nothing>
        ) : (
          <Contents lines={lines} />
        )}
      </aside>
      {lines.length > 0 && (
        <button type="button" class="cart-bar" onClick={() => (cartOpen.value = true)} data-testid="cart-bar">
          <span>Cart · {count(pieces(cart.value), "item")}</span>
          <span>{money(totalCents(cart.value))}</span>
        </button>
      )}
    </>
  );
}

function Contents({ lines }: { lines: readonly Line[] }) {
  return (
    <>
      <ul class="cart-lines">
        {lines.map((line) => (
          <CartLine key={line.productId} line={line} />
        ))}
      </ul>
      <div class="cart-foot">
        <div class="total">
          <span>Total</span>
          <strong data-testid="cart-total">{money(totalCents(cart.value))}</strong>
        </div>
        {orderFailure.value && <Trouble failure={orderFailure.value} testId="order-error" />}
        <button
          type="button"
          class="button primary wide"
          disabled={ordering.value}
          onClick={() => void placeOrder()}
          data-testid="place-order"
        >
          {ordering.value ? "Placing your order…" : orderFailure.value ? "Try again" : "Place order"}
        </button>
        <p class="fine">You pay in the next step.</p>
      </div>
    </>
  );
}

function CartLine({ line }: { line: Line }) {
  const { name, emoji, priceCents, quantity, productId } = line;
  return (
    <li class="cart-line" data-testid="cart-line" data-product-id={productId}>
      <Art seed={productId} emoji={emoji} size="small" />
      <div class="cart-line-words">
        <span class="cart-line-name">{name}</span>
        <span class="fine">{money(priceCents * quantity)}</span>
      </div>
      <div class="stepper" role="group" aria-label={`How many of ${name}`}>
        <button type="button" aria-label={`One ${name} less`} onClick={() => setQuantity(line, quantity - 1)}>
          −
        </button>
        <output aria-live="polite">{quantity}</output>
        <button
          type="button"
          aria-label={`One ${name} more`}
          disabled={quantity >= MAX_QUANTITY}
          onClick={() => setQuantity(line, quantity + 1)}
        >
          +
        </button>
      </div>
    </li>
  );
}
