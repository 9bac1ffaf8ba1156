import assert from "node:assert/strict";
import { test } from "node:test";
import { healthAfter, KEPT, nameOf, perSecond, type Sample, shares, withSample } from "../src/backstage/history";
import { quantile } from "../src/backstage/load";
import { Pacer } from "../src/backstage/pacer";

function sample(at: number, attempts: Record<string, number>, calls = 0): Sample {
  const quiet = { state: "READY", inFlight: 0, failedAttempts: 0, rate: 0, p50Millis: 0, p99Millis: 0, delayMillis: 0 };
  return {
    at,
    calls,
    failedCalls: 0,
    retries: 0,
    replicas: Object.entries(attempts).map(([address, count]) => ({ ...quiet, address, attempts: count })),
  };
}

test("shares are those of the window, not of all time", () => {
  const history = [sample(0, { a: 0, b: 0 }), sample(5_000, { a: 900, b: 0 }), sample(9_000, { a: 910, b: 30 })];
  assert.deepEqual([...shares(history, 4_000)], [["a", 0.25], ["b", 0.75]]);
});

test("without attempts nobody has a share", () => {
  assert.deepEqual([...shares([sample(0, { a: 7 }), sample(500, { a: 7 })], 5_000)], [["a", 0]]);
  assert.equal(shares([], 5_000).size, 0);
});

test("a replica has a name by its place, when it is known", () => {
  const history = [sample(0, { "10.0.0.1:1": 0, "10.0.0.2:1": 0 })];
  assert.deepEqual(["10.0.0.2:1", "elsewhere"].map((address) => nameOf(history, address)), ["Catalog 2", "elsewhere"]);
});

test("a rate is what a counter grew by over the time it took", () => {
  const history = [sample(0, {}, 0), sample(1_000, {}, 10), sample(2_500, {}, 70)];
  assert.equal(perSecond(history, 1_500, ({ calls }) => calls), 40);
  assert.equal(perSecond(history.slice(0, 1), 1_500, ({ calls }) => calls), 0);
});

test("a history is bounded, and starts anew with another gateway", () => {
  let history: readonly Sample[] = [];
  for (let index = 0; index < KEPT + 5; index += 1) {
    history = withSample(history, sample(index, {}, index));
  }
  assert.deepEqual([history.length, history[0]?.at], [KEPT, 5]);
  assert.equal(withSample(history, sample(999, {}, 0)).length, 1);
});

test("a lost replica stays down until it serves again", () => {
  const states = ["IDLE", "CONNECTING", "READY", "CONNECTING", "TRANSIENT_FAILURE", "CONNECTING", "IDLE", "READY", "IDLE"];
  let health: ReturnType<typeof healthAfter> | undefined;
  const seen = states.map((state) => (health = healthAfter(health, state)));
  assert.deepEqual(seen, ["idle", "connecting", "serving", "down", "down", "down", "down", "serving", "idle"]);
});

test("calls come at their rate", () => {
  const pacer = new Pacer(50, 4);
  let started = 0;
  for (let now = 0; now <= 1_000; now += 20) {
    started += pacer.due(now, 0);
  }
  assert.equal(started, 50);
});

test("calls keep to their bound, and what was missed is not caught up", () => {
  const pacer = new Pacer(50, 4);
  pacer.due(0, 0);
  assert.equal(pacer.due(10_000, 4), 0);
  assert.equal(pacer.due(10_000, 1), 3);
  assert.equal(pacer.due(10_000, 0), 1);
  assert.equal(pacer.due(10_000, 0), 0);
});

test("a quantile is a value that was seen", () => {
  assert.equal(quantile([5, 1, 3], 0.5), 3);
  assert.equal(quantile([5, 1, 3], 0.99), 5);
  assert.equal(quantile([], 0.5), 0);
});
