import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { Backoff } from "../src/rpc/backoff";
import { codeName, explain, isRefusal } from "../src/rpc/explain";
import { follow, type Following } from "../src/rpc/follow";

test("delays grow to their limit, and start small again after success", () => {
  const backoff = new Backoff(() => 1, 300, 2, 1_000);
  assert.deepEqual([1, 2, 3, 4].map(() => backoff.nextMillis()), [300, 600, 1_000, 1_000]);
  backoff.reset();
  assert.equal(backoff.nextMillis(), 300);
  assert.equal(new Backoff(() => 0, 300).nextMillis(), 150);
});

test("a status is told in words, with what the shop said", () => {
  assert.deepEqual(explain(new ConnectError("no order o-1", Code.NotFound)), {
    title: "The shop does not know this",
    detail: "No order o-1.",
    code: "NOT_FOUND",
  });
});

test("a fetch that failed means that the shop cannot be reached", () => {
  const wrapped = new ConnectError("Failed to fetch", Code.Internal, undefined, undefined, new TypeError("Failed to fetch"));
  for (const failure of [wrapped, new TypeError("NetworkError when attempting to fetch resource.")]) {
    assert.equal(explain(failure).code, "UNAVAILABLE");
  }
});

test("statuses have the names that gRPC gives them", () => {
  const names = [Code.Canceled, Code.DeadlineExceeded, Code.Unimplemented, Code.DataLoss].map(codeName);
  assert.deepEqual(names, ["CANCELLED", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "DATA_LOSS"]);
});

test("only a definite no is a refusal", () => {
  assert.ok(isRefusal(new ConnectError("", Code.FailedPrecondition)));
  for (const code of [Code.Unavailable, Code.Internal, Code.Unknown, Code.DeadlineExceeded]) {
    assert.ok(!isRefusal(new ConnectError("", code)), Code[code]);
  }
});

/** Follows streams that each end as `ends` says; returns what was seen. */
async function followed(streams: ReadonlyArray<{ messages: number[]; end?: unknown }>, endsByItself = true) {
  const seen: Array<Following | number> = [];
  const controller = new AbortController();
  let tries = 0;
  await follow<number>(
    {
      async *open() {
        const stream = streams[tries];
        tries += 1;
        if (stream === undefined) {
          controller.abort();
          return;
        }
        yield* stream.messages;
        if (stream.end !== undefined) {
          throw stream.end;
        }
      },
      onMessage: (message) => seen.push(message),
      onState: (state) => seen.push(state),
      endsByItself,
      backoff: new Backoff(() => 0, 1),
    },
    controller.signal,
  );
  return seen;
}

test("a stream that breaks is opened again, and ends when it ends cleanly", async () => {
  const lost = new ConnectError("connection lost", Code.Unavailable);
  assert.deepEqual(await followed([{ messages: [1], end: lost }, { messages: [1, 2] }]), [
    ...["connecting", "live", 1, "waiting"],
    ...["connecting", "live", 1, 2, "ended"],
  ]);
});

test("a stream that is refused is not opened again", async () => {
  const refused = new ConnectError("no order", Code.NotFound);
  assert.deepEqual(await followed([{ messages: [], end: refused }, { messages: [1] }]), ["connecting", "ended"]);
});

test("a stream without an end of its own is opened again after a clean one", async () => {
  const seen = await followed([{ messages: [1] }], false);
  assert.deepEqual(seen, ["connecting", "live", 1, "waiting", "connecting"]);
});

test("a silent stream counts as lost", async () => {
  const states: Following[] = [];
  const controller = new AbortController();
  await follow<number>(
    {
      async *open(signal) {
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
      },
      onMessage: () => assert.fail("nothing was sent"),
      onState: (state, failure) => {
        states.push(state);
        if (state === "waiting") {
          assert.equal(explain(failure).detail, "The stream fell silent.");
          controller.abort();
        }
      },
      endsByItself: true,
      maxSilenceMillis: 5,
      backoff: new Backoff(() => 0, 1),
    },
    controller.signal,
  );
  assert.deepEqual(states, ["connecting", "waiting"]);
});
