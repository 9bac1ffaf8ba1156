// Runs the shop's processes for scripts/demo: starts them in the order of who
// needs whom, waits until each says it is ready, drains them in reverse.
//
//   shop.mjs check-port N
//   shop.mjs run --port N --programs DIR --page DIR [--browser] [--for SECONDS]

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

const READY_LIMIT_MS = 30_000;
// Over the drain of a service, which ends by itself after 25 s.
const DRAIN_LIMIT_MS = 30_000;
// What the catalog's keeper listens on lies this far above its replica's port.
const KEEPER_OFFSET = 100;
const HOST = "127.0.0.1";

// === ports ===

/** Listens once to see whether the port is free; gives the port. */
function tryPort(port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ host: HOST, port }, () => {
      const { port: bound } = server.address();
      server.close(() => resolve(bound));
    });
  });
}

const taken = new Set();

async function freePort() {
  for (let tries = 0; tries < 100; tries++) {
    const port = await tryPort(0);
    if (!taken.has(port)) return taken.add(port), port;
  }
  throw new Error("no free port on this machine");
}

/** A free port whose keeper's port is free too. */
async function freePortWithKeeper() {
  for (let tries = 0; tries < 100; tries++) {
    const port = await freePort();
    const keeper = port + KEEPER_OFFSET;
    if (keeper > 65535 || taken.has(keeper)) continue;
    try {
      taken.add(await tryPort(keeper));
      return port;
    } catch {
      // Another process has it: the next port.
    }
  }
  throw new Error("no two free ports in the keeper's distance on this machine");
}

async function checkPort(port) {
  try {
    await tryPort(port);
  } catch (error) {
    const reason = error.code === "EADDRINUSE" ? "is taken" : `cannot be used (${error.code})`;
    console.error(`error: ${HOST}:${port} ${reason}`);
    console.error(" hint: end what listens there, or choose another: --port N");
    process.exit(1);
  }
}

// === processes ===

class Shop {
  constructor(programs, folder) {
    this.programs = programs;
    this.folder = folder;
    this.processes = [];
    this.draining = false;
  }

  /** Starts one service and waits until it says that it is ready. */
  async start(service, name, environment) {
    const program = path.resolve(this.programs, `shop-${service}`);
    const env = {
      ...inherited(),
      SAMPAN_HOST: HOST,
      SAMPAN_PROBE_PORT: String(await freePort()),
      // Nobody balances over these processes from outside: no need to linger.
      SAMPAN_LAME_DUCK: "0s",
      SAMPAN_LOG: process.env.SAMPAN_LOG ?? "warn",
      ...environment,
    };
    if (this.draining) throw new Error(`${name} was not started any more`);
    // In a session of its own, so that Ctrl-C reaches this process alone and
    // the drain keeps its order.
    const child = spawn(program, { env, cwd: this.folder, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const entry = { name, child, ended: false };
    entry.end = new Promise((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(signal ?? code));
    }).then((how) => {
      entry.ended = true;
      if (!this.draining) this.unexpected(entry, how);
      return how;
    });
    prefixed(child.stdout, name);
    prefixed(child.stderr, name);
    this.processes.push(entry);

    const limit = performance.now() + READY_LIMIT_MS;
    while (!(await this.saysReady(program, env))) {
      if (entry.ended) throw new Error(`${name} ended before it was ready`);
      if (performance.now() > limit) throw new Error(`${name} was not ready within ${READY_LIMIT_MS / 1000} s`);
      if (this.draining) return;
      await new Promise((wake) => setTimeout(wake, 50));
    }
    console.log(`  ${name.padEnd(10)} pid ${String(child.pid).padEnd(8)} ${HOST}:${environment.PORT}`);
  }

  async saysReady(program, env) {
    const [code] = await once(spawn(program, ["health"], { env, stdio: "ignore" }), "exit").catch(() => [1]);
    return code === 0;
  }

  unexpected({ name }, how) {
    console.error(`error: ${name} ended by itself (${how})`);
    process.exitCode = 1;
  }

  /** Ends everything, who calls before who is called, and waits for it. */
  async drain() {
    this.draining = true;
    const start = performance.now();
    let hard = 0;
    for (const wave of waves(this.processes.filter(({ ended }) => !ended).reverse())) {
      hard += (await Promise.all(wave.map(endOne))).filter((ended) => !ended).length;
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(hard ? `${hard} processes had to be killed.` : `All processes drained in ${seconds} s.`);
    if (hard) process.exitCode = 1;
  }

  kill() {
    for (const { child, ended } of this.processes) if (!ended) signal(child, "SIGKILL");
  }
}

/** Our environment without the settings of compose.yaml, which no service knows. */
function inherited() {
  const { SHOP_BIND, SHOP_PORT, SHOP_TAG, ...rest } = process.env;
  return rest;
}

/** Processes of one service end together. */
function waves(processes) {
  const groups = new Map();
  for (const entry of processes) {
    const service = entry.name.replace(/-\d+$/, "");
    groups.set(service, [...(groups.get(service) ?? []), entry]);
  }
  return groups.values();
}

async function endOne({ name, child, end }) {
  child.kill("SIGTERM");
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, DRAIN_LIMIT_MS, "late")));
  const how = await Promise.race([end, late]);
  clearTimeout(timer);
  if (how === 0) return true;
  console.error(`error: ${name} ${how === "late" ? "did not drain" : `ended with ${how}`}`);
  if (how === "late") signal(child, "SIGKILL");
  await end;
  return false;
}

/** To the child and what it started. */
function signal(child, name) {
  try {
    process.kill(-child.pid, name);
  } catch {
    // It ended in this moment.
  }
}

function prefixed(stream, name) {
  let line = "";
  stream.setEncoding("utf8").on("data", (text) => {
    const lines = (line + text).split("\n");
    line = lines.pop();
    for (const whole of lines) console.log(`[${name}] ${whole}`);
  });
  stream.on("end", () => line && console.log(`[${name}] ${line}`));
}

function openBrowser(address) {
  if (process.platform !== "darwin" && !process.env.DISPLAY && !process.env.WAYLAND_DISPLAY) return;
  const opener = spawn(process.platform === "darwin" ? "open" : "xdg-open", [address], {
    stdio: "ignore",
    detached: true,
  });
  // Without an opener the printed address has to do.
  opener.once("error", () => {});
  opener.unref();
}

// === the shop ===

async function run({ port, programs, page, browser, seconds }) {
  await checkPort(port);
  const folder = await mkdtemp(path.join(tmpdir(), "sampan-shop-"));
  const shop = new Shop(path.resolve(programs), folder);

  let signals = 0;
  let stop;
  const stopped = new Promise((resolve) => (stop = resolve));
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(name, () => {
      if (++signals > 1) shop.kill();
      else console.log(`\nDraining (${name}; again to kill) …`);
      stop();
    });
  }
  shop.unexpected = (entry, how) => {
    Shop.prototype.unexpected(entry, how);
    stop();
  };

  try {
    console.log("Starting the shop:");
    await Promise.race([start(shop, port, path.resolve(page)), stopped]);
    if (!signals && !process.exitCode) {
      const address = `http://${HOST}:${port}/`;
      console.log(`\nThe shop is open: ${address}\nCtrl-C drains and ends it.`);
      if (browser) openBrowser(address);
      if (seconds) {
        setTimeout(() => {
          console.log(`\nDraining after ${seconds} s …`);
          stop();
        }, seconds * 1000).unref();
      }
      await stopped;
    }
  } catch (error) {
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
  }
  await shop.drain();
  await rm(folder, { recursive: true, force: true });
}

async function start(shop, port, page) {
  const replicas = await Promise.all(["catalog-1", "catalog-2", "catalog-3"].map(async (name) => {
    const replica = await freePortWithKeeper();
    return { name, port: replica };
  }));
  const target = (one) => `${HOST}:${one}`;
  const ports = {};
  for (const service of ["orders", "payments", "tracking", "support"]) ports[service] = await freePort();
  const CATALOG_ADDR = `static:///${replicas.map((replica) => target(replica.port)).join(",")}`;
  const ORDERS_ADDR = target(ports.orders);

  await Promise.all(replicas.map(({ name, port: replica }) =>
    shop.start("catalog", name, {
      PORT: String(replica),
      SHOP_KEEPER_PORT: String(replica + KEEPER_OFFSET),
    }),
  ));
  const service = (name, environment) => shop.start(name, name, { PORT: String(ports[name]), ...environment });
  await service("orders", { CATALOG_ADDR, DATABASE_URL: `sqlite:${path.join(shop.folder, "orders.db")}` });
  await Promise.all([
    service("payments", { ORDERS_ADDR }),
    service("tracking", { ORDERS_ADDR }),
    service("support", {}),
  ]);
  await shop.start("gateway", "gateway", {
    PORT: String(port),
    CATALOG_ADDR,
    ORDERS_ADDR,
    PAYMENTS_ADDR: target(ports.payments),
    TRACKING_ADDR: target(ports.tracking),
    SUPPORT_ADDR: target(ports.support),
    SHOP_PAGE: page,
  });
}

const [command, ...rest] = process.argv.slice(2);
if (command === "check-port") {
  await checkPort(Number(rest[0]));
} else {
  const { values } = parseArgs({
    args: rest,
    options: {
      port: { type: "string" },
      programs: { type: "string" },
      page: { type: "string" },
      browser: { type: "boolean" },
      for: { type: "string" },
    },
  });
  await run({ ...values, port: Number(values.port), seconds: Number(values.for ?? 0) });
}
