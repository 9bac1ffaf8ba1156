import { Code, ConnectError } from "@connectrpc/connect";
import type { Backoff } from "./backoff";
import { isRefusal } from "./explain";

/** How a followed stream fares. */
export type Following = "connecting" | "live" | "waiting" | "ended";

/** What to do with a followed stream. */
export interface Follower<T> {
  /** Opens the stream anew; called for each try. */
  open(signal: AbortSignal): AsyncIterable<T>;
  /** A message, and whether it is the first of this try. */
  onMessage(message: T, first: boolean): void;
  /** How it fares now; `failure` says why it waits or ended, if something failed. */
  onState(state: Following, failure?: unknown): void;
  /** Whether a clean end means there is nothing more to come. */
  readonly endsByItself: boolean;
  /** Longest silence before the stream counts as lost; none by default. */
  readonly maxSilenceMillis?: number;
  readonly backoff: Backoff;
}

/** Reads a server stream until it ends, and opens it again with backoff when it breaks. */
export async function follow<T>(follower: Follower<T>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    follower.onState("connecting");
    const failure = await readOnce(follower, signal);
    if (signal.aborted) {
      return;
    }
    const clean = failure === undefined;
    if ((clean && follower.endsByItself) || (!clean && isRefusal(failure))) {
      follower.onState("ended", failure);
      return;
    }
    follower.onState("waiting", failure);
    await pause(follower.backoff.nextMillis(), signal);
  }
}

/** Reads one try to its end; returns what broke it, `undefined` for a clean end. */
async function readOnce<T>(follower: Follower<T>, signal: AbortSignal): Promise<unknown> {
  const attempt = new AbortController();
  const silence = new Silence(follower.maxSilenceMillis, () => attempt.abort());
  let first = true;
  try {
    silence.restart();
    for await (const message of follower.open(AbortSignal.any([signal, attempt.signal]))) {
      silence.restart();
      if (first) {
        follower.backoff.reset();
        follower.onState("live");
      }
      follower.onMessage(message, first);
      first = false;
    }
    return undefined;
  } catch (failure) {
    return attempt.signal.aborted ? new ConnectError("the stream fell silent", Code.Unavailable) : failure;
  } finally {
    silence.stop();
  }
}

class Silence {
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly maxMillis: number | undefined,
    private readonly onSilence: () => void,
  ) {}

  restart(): void {
    this.stop();
    if (this.maxMillis !== undefined) {
      this.timer = setTimeout(this.onSilence, this.maxMillis);
    }
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}

function pause(millis: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, millis);
    signal.addEventListener("abort", done);
  });
}
