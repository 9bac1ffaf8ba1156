import { signal } from "@preact/signals";
import { CALL_TIMEOUT_MILLIS, clients } from "../rpc/clients";
import { explain, type Explanation } from "../rpc/explain";

/** What is being done to a replica, by address. */
export const doing = signal<ReadonlyMap<string, string>>(new Map());
/** Why the last thing was not done, by address. */
export const actionFailures = signal<ReadonlyMap<string, Explanation>>(new Map());

/** Makes each call of a replica take longer by `millis`; 0 ends it. */
export function slow(address: string, millis: number): Promise<void> {
  const delay = { seconds: BigInt(Math.trunc(millis / 1_000)), nanos: (millis % 1_000) * 1_000_000 };
  return act(address, millis === 0 ? "Speeding up…" : "Slowing…", (options) =>
    clients.peek().dashboard.slowReplica({ address, delay }, options),
  );
}

/** Kills a replica's process. */
export function kill(address: string): Promise<void> {
  return act(address, "Killing…", (options) => clients.peek().dashboard.killReplica({ address }, options));
}

/** Starts a replica's process again. */
export function start(address: string): Promise<void> {
  return act(address, "Starting…", (options) => clients.peek().dashboard.startReplica({ address }, options));
}

async function act(
  address: string,
  words: string,
  call: (options: { timeoutMs: number }) => Promise<unknown>,
): Promise<void> {
  if (doing.peek().has(address)) {
    return;
  }
  doing.value = new Map(doing.peek()).set(address, words);
  actionFailures.value = without(actionFailures.peek(), address);
  try {
    await call({ timeoutMs: CALL_TIMEOUT_MILLIS });
  } catch (failure) {
    actionFailures.value = new Map(actionFailures.peek()).set(address, explain(failure));
  } finally {
    doing.value = without(doing.peek(), address);
  }
}

function without<V>(map: ReadonlyMap<string, V>, key: string): ReadonlyMap<string, V> {
  return new Map([...map].filter(([other]) => other !== key));
}
