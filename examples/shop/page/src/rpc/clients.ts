import { createClient } from "@connectrpc/connect";
import { computed, effect, signal, untracked } from "@preact/signals";
import { Catalog } from "../gen/shop/v1/catalog_pb";
import { Dashboard } from "../gen/shop/v1/dashboard_pb";
import { Orders } from "../gen/shop/v1/orders_pb";
import { Payments } from "../gen/shop/v1/payments_pb";
import { Support } from "../gen/shop/v1/support_pb";
import { Tracking } from "../gen/shop/v1/tracking_pb";
import { stored } from "../stored";
import { createTransport, isProtocol, type Protocol } from "./transport";

/** Longest wait for one answer. */
export const CALL_TIMEOUT_MILLIS = 10_000;

const protocolText = stored("sampan.protocol", "connect-json");

/** The protocol the page speaks; a change reopens every stream. */
export const protocol = signal<Protocol>(isProtocol(protocolText.value) ? protocolText.value : "connect-json");
effect(() => {
  protocolText.value = protocol.value;
});

/** A client of each service the page uses. */
export const clients = computed(() => {
  const transport = createTransport(protocol.value);
  return {
    catalog: createClient(Catalog, transport),
    dashboard: createClient(Dashboard, transport),
    orders: createClient(Orders, transport),
    payments: createClient(Payments, transport),
    support: createClient(Support, transport),
    tracking: createClient(Tracking, transport),
  };
});

/**
 * The catalog for the load switch. A browser opens six connections to a host over
 * HTTP/1.1, so these calls stand behind a visitor's own in its queue.
 */
export const loadClient = computed(() =>
  createClient(
    Catalog,
    createTransport(protocol.value, (input, init) => fetch(input, { ...init, priority: "low" })),
  ),
);

/** Runs `start` now and again after each change of the protocol; returns what stops it. */
export function whileConnected(start: (signal: AbortSignal) => void): () => void {
  return effect(() => {
    void protocol.value;
    const controller = new AbortController();
    untracked(() => start(controller.signal));
    return () => controller.abort();
  });
}
