import { effect, signal } from "@preact/signals";
import { go } from "../route";
import { CALL_TIMEOUT_MILLIS, clients } from "../rpc/clients";
import { explain, type Explanation } from "../rpc/explain";
import { cart, clearCart } from "./visitor_cart";

/** Whether an order is on its way to the shop. */
export const ordering = signal(false);
/** Why the last try did not become an order. */
export const orderFailure = signal<Explanation | undefined>(undefined);

// A changed cart is another try.
effect(() => {
  void cart.value;
  orderFailure.value = undefined;
});

/** Orders what lies in the cart, and shows the order. */
export async function placeOrder(): Promise<void> {
  const { key, lines } = cart.peek();
  if (ordering.peek() || lines.length === 0) {
    return;
  }
  ordering.value = true;
  orderFailure.value = undefined;
  try {
    const order = await clients.peek().orders.placeOrder(
      {
        idempotencyKey: key,
        items: lines.map(({ productId, quantity }) => ({ productId, quantity })),
      },
      { timeoutMs: CALL_TIMEOUT_MILLIS },
    );
    // What was added meanwhile is not part of this order.
    if (cart.peek().key === key) {
      clearCart();
    }
    go({ name: "order", id: order.id });
  } catch (failure) {
    // The cart keeps its key: a second try finds the order if the first one arrived.
    orderFailure.value = explain(failure);
  } finally {
    ordering.value = false;
  }
}
