import { type ReadonlySignal, signal } from "@preact/signals";
import { newKey } from "../cart/visitor_cart";
import { CALL_TIMEOUT_MILLIS, clients } from "../rpc/clients";
import { explain, type Explanation, isRefusal } from "../rpc/explain";

/** Paying one order. */
export interface Till {
  readonly paying: ReadonlySignal<boolean>;
  readonly failure: ReadonlySignal<Explanation | undefined>;
  pay(cardNumber: string): Promise<void>;
}

/** A till for one order. */
export function openTill(orderId: string): Till {
  const paying = signal(false);
  const failure = signal<Explanation | undefined>(undefined);
  let key = newKey();

  async function pay(cardNumber: string): Promise<void> {
    if (paying.peek()) {
      return;
    }
    paying.value = true;
    failure.value = undefined;
    try {
      await clients
        .peek()
        .payments.pay(
          { idempotencyKey: key, orderId, cardNumber: digitsOf(cardNumber) },
          { timeoutMs: CALL_TIMEOUT_MILLIS },
        );
    } catch (problem) {
      // After a definite no the next try is another payment. Otherwise this one
      // may have gone through, and the same key finds it.
      const refused = isRefusal(problem);
      if (refused) {
        key = newKey();
      }
      const words = explain(problem);
      failure.value = refused ? { ...words, title: "The payment did not go through" } : words;
    } finally {
      paying.value = false;
    }
  }

  return { paying, failure, pay };
}

/** The digits of a card number as people write it. */
export function digitsOf(cardNumber: string): string {
  return cardNumber.replace(/\D/g, "");
}

/** A card number in groups of four, as people read it. */
export function grouped(cardNumber: string): string {
  return digitsOf(cardNumber)
    .slice(0, 16)
    .replace(/(.{4})(?=.)/g, "$1 ");
}
