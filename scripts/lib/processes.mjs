// Starts programs, waits until they are ready, and ends them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

export const HOST = "127.0.0.1";

const READY_WITHIN_MILLIS = 30_000;
const POLL_MILLIS = 50;
// Over the drain of a service, which ends by itself after 25 s.
const STOP_WITHIN_MILLIS = 35_000;
const KEPT_OUTPUT = 20_000;

// === ports ===

// Below those that the system gives to outgoing connections: one of these could
// take the port of a service while it is down.
const FIRST_PORT = 20_000;
const PORTS = 10_000;
const given = new Set();

/** A port on loopback that nobody listens on, nor on the one `apart` above it. */
export async function freePort(apart = 0) {
  for (let tries = 0; tries < 200; tries += 1) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    const both = [port, port + apart];
    if (both.some((one) => given.has(one))) continue;
    // Kept from others before the first wait.
    both.forEach((one) => given.add(one));
    const free = await Promise.all(both.slice(apart > 0 ? 0 : 1).map((one) => listenOnce(one).catch(() => undefined)));
    if (free.every((one) => one !== undefined)) return port;
  }
  throw new Error(`no free port on ${HOST}`);
}

/** Listens for a moment; gives the port, or rejects when it cannot be had. */
export async function listenOnce(port) {
  const server = createServer();
  server.listen(port, HOST);
  await once(server, "listening");
  const bound = server.address().port;
  server.close();
  await once(server, "close");
  return bound;
}

// === programs ===

/** Programs that belong together. */
export class Processes {
  #all = [];
  #stopping = false;
  #hear;
  #ended;

  /** `hear(name, line)` gets each line that a program writes, `ended(name, how)` is told when one ends by itself. */
  constructor({ hear = () => {}, ended = () => {} } = {}) {
    this.#hear = hear;
    this.#ended = ended;
  }

  /** Starts a program that sees only `env` beside PATH and HOME. */
  start(name, program, args = [], env = {}) {
    if (this.#stopping) throw new Error(`${name} is not started any more`);
    const { PATH, HOME } = process.env;
    const child = spawn(program, args, {
      env: { PATH, HOME, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      // A session of its own: Ctrl-C reaches us alone, and we end them in order.
      detached: true,
    });
    const started = { name, child, output: "", how: undefined };
    started.end = new Promise((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(signal ?? `exit ${code}`));
    }).then((how) => {
      started.how = how;
      if (!this.#stopping) this.#ended(name, how);
    });
    this.#listen(started);
    this.#all.push(started);
    return started;
  }

  #listen(started) {
    for (const stream of [started.child.stdout, started.child.stderr]) {
      let unfinished = "";
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        started.output = (started.output + text).slice(-KEPT_OUTPUT);
        const lines = (unfinished + text).split("\n");
        unfinished = lines.pop().slice(-KEPT_OUTPUT);
        for (const line of lines) this.#hear(started.name, line);
      });
    }
  }

  /** Waits until `check` says yes; throws when the program ends before, or nothing is there in time. */
  async ready(started, check) {
    const end = Date.now() + READY_WITHIN_MILLIS;
    let last = "no answer";
    while (Date.now() < end) {
      if (started.how !== undefined) {
        throw new Error(`${started.name} ended (${started.how}) before it was ready:\n${started.output}`);
      }
      try {
        if (await check()) {
          started.isReady = true;
          return;
        }
      } catch (error) {
        last = error.cause?.message ?? error.message;
      }
      await pause(POLL_MILLIS);
    }
    throw new Error(`${started.name} is not ready after ${READY_WITHIN_MILLIS} ms: ${last}\n${started.output}`);
  }

  /** What the programs wrote, for a failed run. */
  output() {
    return this.#all.map(({ name, output }) => `--- ${name}\n${output}`).join("\n");
  }

  /** Ends them, the last started first; names those that did not end well. */
  async stop() {
    this.#stopping = true;
    const stubborn = [];
    for (const started of this.#all.reverse()) {
      if (started.how !== undefined) continue;
      started.child.kill("SIGTERM");
      const timer = setTimeout(() => killGroup(started), STOP_WITHIN_MILLIS);
      await started.end;
      clearTimeout(timer);
      // One that had not begun to serve has nothing to drain: the signal may find no handler yet.
      const wasStarting = !started.isReady && started.how === "SIGTERM";
      if (started.how !== "exit 0" && !wasStarting) stubborn.push(`${started.name} (${started.how})`);
    }
    return stubborn;
  }

  /** Ends one program as `kill -9` does, and forgets it. */
  async crash(started) {
    this.#all.splice(this.#all.indexOf(started), 1);
    killGroup(started);
    await started.end;
  }

  /** Ends at once what still runs; `stop` then has nothing to wait for. */
  kill() {
    this.#all.filter(({ how }) => how === undefined).forEach(killGroup);
  }
}

/** The program and what it started. */
function killGroup({ child }) {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It ended in this moment.
  }
}

/** Whether `url` answers 200 within two seconds. */
export async function answers(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  return response.ok;
}
