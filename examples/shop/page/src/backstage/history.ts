import type { Snapshot } from "../gen/shop/v1/dashboard_pb";

/** What was seen of one replica at one time. */
export interface ReplicaSample {
  readonly address: string;
  readonly state: string;
  readonly inFlight: number;
  readonly attempts: number;
  readonly failedAttempts: number;
  readonly rate: number;
  readonly p50Millis: number;
  readonly p99Millis: number;
  readonly delayMillis: number;
}

/** What was seen of all of them at one time. */
export interface Sample {
  /** By the page's own clock, in milliseconds. */
  readonly at: number;
  readonly calls: number;
  readonly failedCalls: number;
  readonly retries: number;
  readonly replicas: readonly ReplicaSample[];
}

/** How a replica is, in the page's words. */
export type Health = "serving" | "idle" | "connecting" | "down";

/** A minute of two samples a second. */
export const KEPT = 120;

/** Reads a snapshot that arrived at `at`; replicas in the order of their addresses. */
export function sampleOf(snapshot: Snapshot, at: number): Sample {
  return {
    at,
    calls: Number(snapshot.calls),
    failedCalls: Number(snapshot.failedCalls),
    retries: Number(snapshot.retries),
    replicas: snapshot.replicas
      .map((replica) => ({
        address: replica.address,
        state: replica.state,
        inFlight: replica.inFlight,
        attempts: Number(replica.attempts),
        failedAttempts: Number(replica.failedAttempts),
        rate: replica.rate,
        p50Millis: replica.p50Millis,
        p99Millis: replica.p99Millis,
        delayMillis: Number(replica.delay?.seconds ?? 0n) * 1_000 + (replica.delay?.nanos ?? 0) / 1e6,
      }))
      .sort((one, other) => (one.address < other.address ? -1 : 1)),
  };
}

/** The history with one more sample, the oldest beyond [`KEPT`] left out. */
export function withSample(history: readonly Sample[], sample: Sample): readonly Sample[] {
  const last = history.at(-1);
  // Counters that fall mean another gateway: what was before does not compare.
  const comparable = last === undefined || sample.calls >= last.calls;
  return comparable ? [...history, sample].slice(-KEPT) : [sample];
}

/** How much a counter grew a second, over the last `windowMillis`. */
export function perSecond(history: readonly Sample[], windowMillis: number, counter: (sample: Sample) => number): number {
  const [from, to] = span(history, windowMillis);
  if (from === undefined || to === undefined || to.at <= from.at) {
    return 0;
  }
  return ((counter(to) - counter(from)) * 1_000) / (to.at - from.at);
}

/** Which part of the attempts each replica had over the last `windowMillis`; all 0 without attempts. */
export function shares(history: readonly Sample[], windowMillis: number): ReadonlyMap<string, number> {
  const [from, to] = span(history, windowMillis);
  const grown = new Map<string, number>();
  for (const { address, attempts } of to?.replicas ?? []) {
    const before = from?.replicas.find((replica) => replica.address === address)?.attempts ?? attempts;
    grown.set(address, Math.max(0, attempts - before));
  }
  const sum = [...grown.values()].reduce((total, one) => total + one, 0);
  return new Map([...grown].map(([address, one]) => [address, sum === 0 ? 0 : one / sum]));
}

/** One value of one replica over the history, oldest first; 0 where it was not seen. */
export function series(
  history: readonly Sample[],
  address: string,
  value: (replica: ReplicaSample) => number,
): readonly number[] {
  return history.map(({ replicas }) => {
    const replica = replicas.find((one) => one.address === address);
    return replica ? value(replica) : 0;
  });
}

/** What the page calls a replica: its place among the others, or its address when that is not known. */
export function nameOf(history: readonly Sample[], address: string): string {
  const place = history.at(-1)?.replicas.findIndex((replica) => replica.address === address) ?? -1;
  return place < 0 ? address : `Catalog ${place + 1}`;
}

/** How a replica is, from how it was and the state of its connection. */
export function healthAfter(before: Health | undefined, state: string): Health {
  switch (state) {
    case "READY":
      return "serving";
    case "TRANSIENT_FAILURE":
      return "down";
    case "CONNECTING":
      // A new try after a loss is not yet good news.
      return before === "serving" || before === "down" ? "down" : "connecting";
    default:
      return before === "down" ? "down" : "idle";
  }
}

function span(history: readonly Sample[], windowMillis: number): [Sample | undefined, Sample | undefined] {
  const to = history.at(-1);
  const from = to && history.find(({ at }) => at >= to.at - windowMillis);
  return [from, to];
}
