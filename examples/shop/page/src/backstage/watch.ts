import { signal } from "@preact/signals";
import { Backoff } from "../rpc/backoff";
import { clients, whileConnected } from "../rpc/clients";
import { explain, type Explanation } from "../rpc/explain";
import { follow, type Following } from "../rpc/follow";
import { type Health, healthAfter, type Sample, sampleOf, withSample } from "./history";

/** The gateway sends two snapshots a second. */
const MAX_SILENCE_MILLIS = 5_000;

/** The last minute of the replicas, oldest first. */
export const history = signal<readonly Sample[]>([]);
/** How each replica is now, by address. */
export const health = signal<ReadonlyMap<string, Health>>(new Map());
/** How watching fares. */
export const watching = signal<Following>("connecting");
/** Why nothing is seen. */
export const watchFailure = signal<Explanation | undefined>(undefined);

/** Watches the replicas; returns what stops it. */
export function watchReplicas(): () => void {
  return whileConnected((abort) => {
    const { dashboard } = clients.peek();
    void follow(
      {
        open: (attempt) => dashboard.watch({}, { signal: attempt }),
        onMessage: (snapshot) => {
          const sample = sampleOf(snapshot, performance.now());
          history.value = withSample(history.peek(), sample);
          const before = health.peek();
          health.value = new Map(
            sample.replicas.map(({ address, state }) => [address, healthAfter(before.get(address), state)]),
          );
        },
        onState: (state, failure) => {
          watching.value = state;
          if (state === "live") {
            watchFailure.value = undefined;
          } else if (failure !== undefined) {
            watchFailure.value = explain(failure);
          }
        },
        endsByItself: false,
        maxSilenceMillis: MAX_SILENCE_MILLIS,
        backoff: new Backoff(),
      },
      abort,
    );
  });
}
