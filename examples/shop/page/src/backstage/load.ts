import { effect, signal } from "@preact/signals";
import { CALL_TIMEOUT_MILLIS, loadClient } from "../rpc/clients";
import { explain, type Explanation } from "../rpc/explain";
import { Pacer } from "./pacer";

/** Rates to choose from, in calls a second. */
export const RATES = [10, 30, 50] as const;

// A browser opens six connections to a host over HTTP/1.1, and the page's streams hold up to three.
const MAX_IN_FLIGHT = 4;
const TICK_MILLIS = 20;
const KEPT_LATENCIES = 200;

/** What came of the calls since the load was switched on. */
export interface LoadCounts {
  readonly ok: number;
  readonly failed: number;
  readonly inFlight: number;
  /** The newest last, in milliseconds. */
  readonly latencies: readonly number[];
  readonly lastFailure: Explanation | undefined;
}

const NONE: LoadCounts = { ok: 0, failed: 0, inFlight: 0, latencies: [], lastFailure: undefined };

/** Whether the page calls the catalog by itself. */
export const loading = signal(false);
/** How often, in calls a second. */
export const rate = signal<number>(RATES[1]);
/** What came of it. */
export const counts = signal<LoadCounts>(NONE);

effect(() => {
  if (!loading.value) {
    return;
  }
  const pacer = new Pacer(rate.value, MAX_IN_FLIGHT);
  const timer = setInterval(() => {
    for (let left = pacer.due(performance.now(), counts.peek().inFlight); left > 0; left -= 1) {
      void callOnce();
    }
  }, TICK_MILLIS);
  return () => clearInterval(timer);
});

/** Switches the load on, with new counts, or off. */
export function setLoading(on: boolean): void {
  if (on && !loading.peek()) {
    // What is still running is counted when it ends.
    counts.value = { ...NONE, inFlight: counts.peek().inFlight };
  }
  loading.value = on;
}

async function callOnce(): Promise<void> {
  change((now) => ({ inFlight: now.inFlight + 1 }));
  const start = performance.now();
  try {
    await loadClient.peek().listProducts({}, { timeoutMs: CALL_TIMEOUT_MILLIS });
    const took = performance.now() - start;
    change((now) => ({ ok: now.ok + 1, latencies: [...now.latencies, took].slice(-KEPT_LATENCIES) }));
  } catch (failure) {
    change((now) => ({ failed: now.failed + 1, lastFailure: explain(failure) }));
  } finally {
    change((now) => ({ inFlight: now.inFlight - 1 }));
  }
}

function change(next: (now: LoadCounts) => Partial<LoadCounts>): void {
  const now = counts.peek();
  counts.value = { ...now, ...next(now) };
}

/** The value below which `part` of `values` lies; 0 for none. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}
