import { useSignal, useSignalEffect } from "@preact/signals";
import { count, money, timeOfDay } from "../format";
import type { Order } from "../gen/shop/v1/orders_pb";
import { symbolOf } from "../market/catalog";
import { Nothing, Trouble } from "../parts";
import { hrefTo } from "../route";
import { CALL_TIMEOUT_MILLIS, clients } from "../rpc/clients";
import { explain, type Explanation } from "../rpc/explain";
import { stepOf } from "./stages";

const SHOWN = 30;

/** The newest orders of the shop. */
export function OrderList() {
  const orders = useSignal<readonly Order[] | undefined>(undefined);
  const failure = useSignal<Explanation | undefined>(undefined);
  const asked = useSignal(0);
  useSignalEffect(() => {
    void asked.value;
    const client = clients.value.orders;
    const controller = new AbortController();
    const ask = async () => {
      try {
        const options = { signal: controller.signal, timeoutMs: CALL_TIMEOUT_MILLIS };
        orders.value = (await client.listOrders({ limit: SHOWN }, options)).orders;
        failure.value = undefined;
      } catch (problem) {
        if (!controller.signal.aborted) {
          failure.value = explain(problem);
        }
      }
    };
    void ask();
    return () => controller.abort();
  });
  return (
    <section class="orders" aria-labelledby="orders-title">
      <h1 id="orders-title">Orders</h1>
      <p class="lead">The newest of this shop first.</p>
      {failure.value && <Trouble failure={failure.value} onRetry={() => (asked.value += 1)} />}
      {orders.value?.length === 0 && (
        <Nothing symbol="🛶" title="No orders yet.">
          <a class="button" href={hrefTo({ name: "market" })}>
            Go to the market
          </a>
        </Nothing>
      )}
      <ul class="order-rows" data-testid="orders">
        {orders.value?.map((order) => (
          <OrderRow key={order.id} order={order} />
        ))}
      </ul>
    </section>
  );
}

function OrderRow({ order }: { order: Order }) {
  const step = stepOf(order.stage);
  const pieces = order.items.reduce((sum, { quantity }) => sum + quantity, 0);
  return (
    <li>
      <a class="order-row" href={hrefTo({ name: "order", id: order.id })} data-testid="order-row" data-order-id={order.id}>
        <span class="order-row-symbols" aria-hidden="true">
          {order.items.slice(0, 4).map((item) => (
            <span key={item.productId}>{symbolOf(item.productId)}</span>
          ))}
        </span>
        <span class="order-row-words">
          <b>{order.items.map(({ name }) => name).join(", ")}</b>
          <span class="fine">
            {count(pieces, "item")} · {timeOfDay(order.placedAt)}
          </span>
        </span>
        <span class={`badge stage-${step.id}`}>{step.name}</span>
        <span class="order-row-price">{money(order.totalCents)}</span>
      </a>
    </li>
  );
}
