// The shop under faults and load: replicas of the catalog are killed through the dashboard, orders is killed with
// SIGKILL, again and again. Afterwards no catalog call may have failed, and each acknowledged order is there, once.
//
//   node tests/faults/shop.mjs [MINUTES]   (1)

import { randomUUID } from "node:crypto";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { stream, unary } from "../../scripts/lib/connect.mjs";
import { Shop } from "../../scripts/lib/shop.mjs";

const BROWSERS = 8;
const BUYERS = 4;
/** How long a buyer tries again with the same key before it counts as failed. */
const PATIENCE_MILLIS = 30_000;
const AT_ONCE = 100;

const root = fileURLToPath(new URL("../..", import.meta.url));
const minutes = Number(process.argv[2] ?? 1);
const shop = new Shop({
  binDir: resolve(process.env.SHOP_BIN_DIR ?? join(root, "target/debug")),
  pageDir: join(root, "examples/shop/page/dist"),
  env: { SAMPAN_LOG: "error" },
  hear: (name, line) => console.log(`[${name}] ${line}`),
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => void shop.stop().then(() => process.exit(1)));

let url;
const call = (method, message) => unary(url, `shop.v1.${method}`, message);
const order = (idempotencyKey) =>
  call("Orders/PlaceOrder", { idempotencyKey, items: [{ productId: product.id, quantity: 1 }] });

async function eventually(ask) {
  const end = performance.now() + PATIENCE_MILLIS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > end) throw error;
      await pause(50);
    }
  }
}

async function replicas() {
  for await (const snapshot of stream(url, "shop.v1.Dashboard/Watch", {})) return snapshot.replicas;
}

async function allReady() {
  const states = (await replicas()).map(({ state }) => state);
  if (states.some((state) => state !== "READY")) throw new Error(`replicas are ${states}`);
}

// === load and faults, until `open` is false ===

let open = true;
let product;
let calls = 0;
const failedCalls = [];
const orders = new Map();
const lost = [];
const faults = { replicas: 0, orders: 0 };

async function browse() {
  while (open) {
    calls += 1;
    await call("Catalog/ListProducts", {}).catch((error) => failedCalls.push(error.message));
  }
}

async function buy() {
  while (open) {
    const key = randomUUID();
    try {
      orders.set(key, (await eventually(() => order(key))).id);
    } catch (error) {
      lost.push(`${key} was never answered: ${error.message}`);
    }
  }
}

async function killReplicas() {
  for (let turn = 0; open; turn += 1) {
    const { address } = (await replicas())[turn % 3];
    await call("Dashboard/KillReplica", { address });
    faults.replicas += 1;
    await pause(1_000);
    await call("Dashboard/StartReplica", { address });
    await eventually(allReady);
  }
}

async function killOrders() {
  while (open) {
    await pause(2_000);
    await shop.crash("orders");
    faults.orders += 1;
    await shop.revive("orders");
  }
}

// === judged ===

async function checkOrders() {
  const ids = [...orders.values()];
  if (new Set(ids).size !== ids.length) lost.push("two keys gave one order");
  const known = new Set(ids);
  const newest = await eventually(() => call("Orders/ListOrders", { limit: 100 }));
  for (const { id } of newest.orders ?? []) if (!known.has(id)) lost.push(`order ${id} was placed twice`);
  const entries = [...orders];
  while (entries.length > 0) {
    await Promise.all(
      entries.splice(0, AT_ONCE).map(async ([key, id]) => {
        const found = await eventually(() => call("Orders/GetOrder", { id })).catch(() => undefined);
        if (found?.id !== id) lost.push(`order ${id} is gone`);
        const again = await eventually(() => order(key));
        if (again.id !== id) lost.push(`key ${key} gave ${id}, then ${again.id}`);
      }),
    );
  }
}

let judged = [];
try {
  url = await shop.start();
  [product] = (await eventually(() => call("Catalog/ListProducts", {}))).products;
  await eventually(allReady);
  setTimeout(() => {
    open = false;
  }, minutes * 60_000);
  const load = [...Array.from({ length: BROWSERS }, browse), ...Array.from({ length: BUYERS }, buy)];
  await Promise.all([...load, killReplicas(), killOrders()]);
  await checkOrders();
  judged = [
    [`${calls} catalog calls while replicas were killed ${faults.replicas} times`, failedCalls],
    [`${orders.size} orders while orders was killed ${faults.orders} times`, lost],
  ];
} finally {
  judged.push(["the shop drains", await shop.stop()]);
}
for (const [what, wrong] of judged) {
  console.log(`${wrong.length === 0 ? "ok" : "FAILED"}: ${what}`);
  for (const line of wrong.slice(0, 10)) console.log(`  ${line}`);
}
const failed = judged.filter(([, wrong]) => wrong.length > 0).length;
console.log(`${judged.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
