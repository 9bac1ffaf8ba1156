// The shop as compose.yaml runs it: through its one published port, and from
// below through the engine. `run` builds the images and gives the environment.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { stream, unary } from "../../scripts/lib/connect.mjs";
import { compose, containers, docker, nameOf, serviceOf, up } from "./docker.mjs";

const SERVICES = ["catalog", "gateway", "orders", "payments", "support", "tracking"];
const IMAGE_LIMIT = 20_000_000;
const STOP_GRACE = 30_000;

let base;

const findGateway = async () => {
  base = `http://${await compose("port", "gateway", "8080")}`;
};
const call = (method, message, options) => unary(base, `shop.v1.${method}`, message, options);
const watch = (method, message, options) => stream(base, `shop.v1.${method}`, message, options);

const products = async () => (await call("Catalog/ListProducts", {})).products;

async function placeOrder(idempotencyKey = randomUUID()) {
  const [product] = await products();
  return call("Orders/PlaceOrder", {
    idempotencyKey,
    items: [{ productId: product.id, quantity: 2 }],
  });
}

/** Dashboard snapshots until one satisfies `wanted`. */
async function snapshotWhere(wanted) {
  const signal = AbortSignal.timeout(30_000);
  let last;
  try {
    for await (const snapshot of watch("Dashboard/Watch", {}, { signal })) {
      last = snapshot;
      if (wanted(snapshot)) return snapshot;
    }
  } catch (error) {
    throw new Error(`no such snapshot; the last was ${JSON.stringify(last)}`, { cause: error });
  }
}

/** What `ask` gives once it does not fail; for what may take a reconnect. */
async function eventually(ask) {
  const end = performance.now() + 20_000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((wake) => setTimeout(wake, 100));
    }
  }
}

const ready = (snapshot) => (snapshot.replicas ?? []).filter(({ state }) => state === "READY");

describe("the set", () => {
  before(async () => {
    await up();
    await findGateway();
  });

  test("each service's image is at most 20 MB", async (t) => {
    for (const container of await containers()) {
      const size = Number(await docker("image", "inspect", "--format", "{{.Size}}", container.Image));
      t.diagnostic(`${container.Config.Image} ${(size / 1e6).toFixed(2)} MB`);
      assert.ok(size <= IMAGE_LIMIT, `${container.Config.Image} has ${size} bytes`);
    }
  });

  test("three catalog replicas and one of each other service run", async () => {
    const running = (await containers()).filter(({ State }) => State.Health.Status === "healthy");
    const expected = [...SERVICES, "catalog", "catalog"].sort();
    assert.deepEqual(running.map(serviceOf).sort(), expected);
  });

  test("the page and its script come from the published port", async () => {
    const page = await fetch(`${base}/`);
    assert.equal(page.status, 200);
    const html = await page.text();
    const script = html.match(/<script[^>]+src="([^"]+)"/)?.[1];
    assert.ok(script, `no script in ${html}`);
    const answer = await fetch(new URL(script, `${base}/`));
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get("content-type"), /javascript/);
  });

  test("an order is placed, paid and followed until it is delivered", async () => {
    const order = await placeOrder();
    assert.equal(order.stage, "STAGE_PLACED");

    const arrivals = [];
    const followed = (async () => {
      for await (const event of watch("Tracking/Track", { orderId: order.id })) {
        arrivals.push({ stage: event.stage, at: performance.now() });
      }
    })();
    const payment = await call("Payments/Pay", {
      idempotencyKey: randomUUID(),
      orderId: order.id,
      cardNumber: "4242424242424242",
    });
    assert.equal(payment.amountCents, order.totalCents);
    await followed;

    const stages = [...new Set(arrivals.map(({ stage }) => stage))];
    assert.deepEqual(stages, [
      "STAGE_PLACED",
      "STAGE_PAID",
      "STAGE_PACKED",
      "STAGE_ON_THE_WAY",
      "STAGE_DELIVERED",
    ]);
    const spread = arrivals.at(-1).at - arrivals[0].at;
    assert.ok(spread > 500, `all events came within ${spread.toFixed(0)} ms: they were held back`);
  });

  test("the same idempotency key gives the same order", async () => {
    const key = randomUUID();
    assert.deepEqual(await placeOrder(key), await placeOrder(key));
  });

  test("the dashboard sees three replicas that are READY", async () => {
    await products();
    const snapshot = await snapshotWhere((candidate) => ready(candidate).length === 3);
    assert.equal(snapshot.replicas.length, 3);
  });

  test("no call fails when a replica is killed under load, and it comes back", async (t) => {
    const before = await snapshotWhere((candidate) => ready(candidate).length === 3);
    const { address } = before.replicas[0];
    const end = performance.now() + 5_000;
    let calls = 0;
    const failures = [];
    const load = Array.from({ length: 16 }, async () => {
      while (performance.now() < end) {
        calls += 1;
        await products().catch((error) => failures.push(error.message));
      }
    });
    await call("Dashboard/KillReplica", { address });
    await snapshotWhere((candidate) => ready(candidate).length === 2);
    await Promise.all(load);
    t.diagnostic(`${calls} calls while ${address} was killed, ${failures.length} failed`);
    assert.deepEqual(failures, []);
    assert.ok(calls > 100, `only ${calls} calls were made`);

    await call("Dashboard/StartReplica", { address });
    await snapshotWhere((candidate) => ready(candidate).length === 3);
  });

  test("an acknowledged order outlives kill -9 of orders", async () => {
    const order = await placeOrder();
    const [orders] = await containers("orders");
    await docker("kill", "--signal", "KILL", orders.Id);
    await up();
    assert.deepEqual(await eventually(() => call("Orders/GetOrder", { id: order.id })), order);
  });

  test("only the gateway publishes a port, and on loopback", async () => {
    for (const container of await containers()) {
      const published = Object.values(container.NetworkSettings.Ports).flatMap((all) => all ?? []);
      const expected = serviceOf(container) === "gateway" ? ["127.0.0.1"] : [];
      assert.deepEqual(published.map(({ HostIp }) => HostIp), expected, nameOf(container));
    }
  });

  test("services cannot be reached from the edge network", async () => {
    const set = await containers();
    const address = (container) =>
      Object.entries(container.NetworkSettings.Networks).find(([name]) => name.endsWith("_internal"))[1]
        .IPAddress;
    const targets = set.filter((container) => serviceOf(container) !== "gateway").map(address);
    const [gateway] = set.filter((container) => serviceOf(container) === "gateway");
    const [edge, internal] = ["_edge", "_internal"].map((end) =>
      Object.keys(gateway.NetworkSettings.Networks).find((name) => name.endsWith(end)),
    );
    // The same probe from inside shows that it can succeed.
    assert.deepEqual(await reachable(internal, targets), targets);
    assert.deepEqual(await reachable(edge, targets), []);
    assert.equal(await docker("network", "inspect", "--format", "{{.Internal}}", internal), "true");
  });

  test("each process has no root, no capability, no new privileges, no writable root", async () => {
    for (const container of await containers()) {
      const name = nameOf(container);
      const { HostConfig } = container;
      assert.equal(container.Config.User, "65532:65532", name);
      assert.equal(HostConfig.ReadonlyRootfs, true, name);
      assert.deepEqual(HostConfig.CapDrop, ["ALL"], name);
      assert.ok(HostConfig.SecurityOpt.includes("no-new-privileges:true"), name);
      assert.ok(HostConfig.NanoCpus > 0 && HostConfig.NanoCpus <= 2e9, name);
      assert.ok(HostConfig.Memory >= 128 << 20 && HostConfig.Memory <= 512 << 20, name);
      const status = await inProcessSpace(container, "cat", "/proc/1/status");
      assert.match(status, /^Uid:\t65532\t65532\t65532\t65532$/m, name);
      assert.match(status, /^CapEff:\t0+$/m, name);
      assert.match(status, /^CapBnd:\t0+$/m, name);
      assert.match(status, /^NoNewPrivs:\t1$/m, name);
      const mounts = await inProcessSpace(container, "cat", "/proc/1/mounts");
      assert.match(mounts, /^\S+ \/ \S+ ro,/m, name);
    }
  });

  test("the set stops by itself within the grace, each process with exit 0", async (t) => {
    const start = performance.now();
    await compose("stop");
    t.diagnostic(`stopped in ${((performance.now() - start) / 1000).toFixed(1)} s`);
    for (const container of await containers()) {
      const { ExitCode, FinishedAt, OOMKilled } = container.State;
      assert.equal(ExitCode, 0, `${nameOf(container)} ended ${ExitCode} at ${FinishedAt}`);
      assert.equal(OOMKilled, false, nameOf(container));
    }
    assert.ok(performance.now() - start < 4 * STOP_GRACE);
  });

  after(() => compose("down", "--volumes", "--timeout", "5"));
});

describe("the set with the profile postgres", () => {
  const url = "postgres://shop:shop@postgres:5432/shop";

  before(async () => {
    process.env.COMPOSE_PROFILES = "postgres";
    process.env.DATABASE_URL = url;
    await up();
    await findGateway();
  });

  test("orders are kept in Postgres", async () => {
    await eventually(placeOrder);
    const rows = await compose(
      ...["exec", "-T", "postgres", "psql", "--username=shop", "--dbname=shop", "--tuples-only"],
      ...["--no-align", "--command", "select count(*) from orders"],
    );
    assert.equal(rows, "1");
  });

  test("an order outlives the containers of orders and of the database", async () => {
    const order = await placeOrder();
    await compose("rm", "--stop", "--force", "orders", "postgres");
    await up();
    assert.deepEqual(await eventually(() => call("Orders/GetOrder", { id: order.id })), order);
  });

  test("the database cannot be reached from the edge network and has no capability", async () => {
    const [database] = await containers("postgres");
    const [[network, { IPAddress }], ...others] = Object.entries(database.NetworkSettings.Networks);
    assert.deepEqual(others, []);
    const edge = network.replace(/_internal$/, "_edge");
    assert.deepEqual(await reachable(network, [IPAddress], 5432), [IPAddress]);
    assert.deepEqual(await reachable(edge, [IPAddress], 5432), []);
    assert.match(await inProcessSpace(database, "cat", "/proc/1/status"), /^CapEff:\t0+$/m);
  });

  after(() => compose("down", "--volumes", "--timeout", "5"));
});

// === probes ===

/** Those of `targets` that accept a connection from a container in `network`. */
async function reachable(network, targets, port = 50051) {
  const script = `for ip in ${targets.join(" ")}; do
    timeout 2 bash -c "exec 3<>/dev/tcp/$ip/${port}" 2>/dev/null && echo $ip &
  done; wait`;
  const found = await docker("run", "--rm", "--network", network, ...probe("bash", "-c", script));
  return targets.filter((target) => found.split("\n").includes(target));
}

/** What a command says that sees the container's processes. */
function inProcessSpace(container, ...command) {
  return docker("run", "--rm", "--network", "none", "--pid", `container:${container.Id}`, ...probe(...command));
}

const probe = (entrypoint, ...args) => ["--entrypoint", entrypoint, process.env.PROBE_IMAGE, ...args];
