import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { money } from "../format";
import type { Order } from "../gen/shop/v1/orders_pb";
import { Trouble } from "../parts";
import { digitsOf, grouped, openTill } from "./paying";

/** Numbers that need no real card. */
const GOOD_CARD = "4242424242424242";
const DECLINED_CARD = "4000000000000000";

/** Where an order is paid. */
export function Payment({ order }: { order: Order }) {
  const till = useMemo(() => openTill(order.id), [order.id]);
  const card = useSignal(grouped(GOOD_CARD));
  const complete = digitsOf(card.value).length === 16;
  const use = (number: string) => () => {
    card.value = grouped(number);
  };
  return (
    <form
      class="card payment"
      aria-labelledby="pay-title"
      onSubmit={(event) => {
        event.preventDefault();
        void till.pay(card.value);
      }}
      data-testid="payment"
    >
      <h2 id="pay-title">Pay</h2>
      <label for="card-number">Card number</label>
      <input
        id="card-number"
        inputMode="numeric"
        autocomplete="off"
        spellcheck={false}
        maxLength={19}
        value={card.value}
        aria-invalid={till.failure.value !== undefined}
        aria-describedby="card-hint"
        onInput={(event) => {
          card.value = grouped(event.currentTarget.value);
          // The field keeps what was typed when grouping changes nothing.
          event.currentTarget.value = card.value;
        }}
        data-testid="card-number"
      />
      <p class="fine" id="card-hint">
        No real card needed. Try{" "}
        <button type="button" class="link" onClick={use(GOOD_CARD)} data-testid="use-good-card">
          one that works
        </button>{" "}
        or{" "}
        <button type="button" class="link" onClick={use(DECLINED_CARD)} data-testid="use-declined-card">
          one that is declined
        </button>
        .
      </p>
      {till.failure.value && <Trouble failure={till.failure.value} testId="pay-error" />}
      <button type="submit" class="button primary wide" disabled={!complete || till.paying.value} data-testid="pay">
        {till.paying.value ? "Paying…" : `Pay ${money(order.totalCents)}`}
      </button>
    </form>
  );
}
