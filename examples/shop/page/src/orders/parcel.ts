import { computed, type ReadonlySignal, signal } from "@preact/signals";
import { type Order, Stage } from "../gen/shop/v1/orders_pb";
import type { TrackEvent } from "../gen/shop/v1/tracking_pb";
import { Backoff } from "../rpc/backoff";
import { CALL_TIMEOUT_MILLIS, clients, whileConnected } from "../rpc/clients";
import { explain, type Explanation } from "../rpc/explain";
import { follow, type Following } from "../rpc/follow";

/** An order the visitor looks at, and its parcel's way as it happens. */
export interface Parcel {
  readonly order: ReadonlySignal<Order | undefined>;
  /** The way so far, oldest first, each stage once. */
  readonly events: ReadonlySignal<readonly TrackEvent[]>;
  readonly stage: ReadonlySignal<Stage>;
  /** How far the parcel has come, 0 to 1. */
  readonly progress: ReadonlySignal<number>;
  readonly following: ReadonlySignal<Following>;
  /** Why the order or its way cannot be shown. */
  readonly failure: ReadonlySignal<Explanation | undefined>;
  /** Stops following. */
  close(): void;
}

/** Fetches an order and follows its parcel until it is delivered. */
export function openParcel(orderId: string): Parcel {
  const order = signal<Order | undefined>(undefined);
  const events = signal<readonly TrackEvent[]>([]);
  const following = signal<Following>("connecting");
  const failure = signal<Explanation | undefined>(undefined);

  const close = whileConnected((abort) => {
    const { orders, tracking } = clients.peek();
    const fetchOrder = async () => {
      try {
        order.value = await orders.getOrder({ id: orderId }, { signal: abort, timeoutMs: CALL_TIMEOUT_MILLIS });
      } catch (problem) {
        if (!abort.aborted) {
          failure.value = explain(problem);
        }
      }
    };
    void fetchOrder();
    void follow(
      {
        open: (attempt) => tracking.track({ orderId }, { signal: attempt }),
        onMessage: (event) => {
          // Each try tells the way from its beginning.
          events.value = withEvent(events.peek(), event);
        },
        onState: (state, problem) => {
          following.value = state;
          if (state === "live") {
            failure.value = undefined;
            if (order.peek() === undefined) {
              void fetchOrder();
            }
          } else if (problem !== undefined) {
            failure.value = explain(problem);
          }
        },
        endsByItself: true,
        backoff: new Backoff(),
      },
      abort,
    );
  });

  return {
    order,
    events,
    stage: computed(() => latestStage(order.value, events.value)),
    progress: computed(() => Math.min(1, Math.max(0, ...events.value.map(({ progress }) => progress)))),
    following,
    failure,
    close,
  };
}

/** `events` with one more, unless its stage is there already. */
export function withEvent<E extends Pick<TrackEvent, "stage">>(events: readonly E[], event: E): readonly E[] {
  if (events.some(({ stage }) => stage === event.stage)) {
    return events;
  }
  return [...events, event].sort((one, other) => one.stage - other.stage);
}

function latestStage(order: Order | undefined, events: readonly TrackEvent[]): Stage {
  return Math.max(order?.stage ?? Stage.PLACED, ...events.map(({ stage }) => stage));
}
