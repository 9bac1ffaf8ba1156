import { useEffect, useMemo } from "preact/hooks";
import { count, money, timeOfDay } from "../format";
import { type Order, Stage } from "../gen/shop/v1/orders_pb";
import { symbolOf } from "../market/catalog";
import { Art, Trouble } from "../parts";
import { hrefTo } from "../route";
import { openParcel } from "./parcel";
import { Payment } from "./payment";
import { Tracker } from "./tracker";

/** One order: what is in it, paying it, and where it is. */
export function OrderPage({ id }: { id: string }) {
  const parcel = useMemo(() => openParcel(id), [id]);
  useEffect(() => () => parcel.close(), [parcel]);
  const order = parcel.order.value;
  const failure = parcel.failure.value;
  return (
    <div class="order" data-testid="order-page" data-order-id={id}>
      <h1 class="unseen">Order {id}</h1>
      <nav class="crumbs" aria-label="Where you are">
        <a href={hrefTo({ name: "orders" })}>Orders</a>
        <span aria-hidden="true">›</span>
        <span class="mono">{id}</span>
      </nav>
      {failure && <Trouble failure={failure} testId="order-trouble" />}
      {order && (
        <div class="order-columns">
          <Tracker parcel={parcel} />
          <div class="order-side">
            {parcel.stage.value === Stage.PLACED && <Payment order={order} />}
            <Receipt order={order} />
          </div>
        </div>
      )}
    </div>
  );
}

function Receipt({ order }: { order: Order }) {
  const pieces = order.items.reduce((sum, { quantity }) => sum + quantity, 0);
  return (
    <section class="card receipt" aria-labelledby="receipt-title">
      <h2 id="receipt-title">{count(pieces, "item")}</h2>
      <ul>
        {order.items.map((item) => (
          <li key={item.productId}>
            <Art seed={item.productId} emoji={symbolOf(item.productId)} size="small" />
            <span class="receipt-name">{item.name}</span>
            <span class="fine">× {item.quantity}</span>
            <span class="receipt-price">{money(Number(item.priceCents) * item.quantity)}</span>
          </li>
        ))}
      </ul>
      <div class="total">
        <span>Total</span>
        <strong data-testid="order-total">{money(order.totalCents)}</strong>
      </div>
      <p class="fine">Placed at {timeOfDay(order.placedAt)}</p>
    </section>
  );
}
