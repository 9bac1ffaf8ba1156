// Starts programs for a test, waits until they are ready, and ends them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

const READY_WITHIN_MILLIS = 30_000;
const POLL_MILLIS = 50;
const STOP_WITHIN_MILLIS = 35_000;
const KEPT_OUTPUT = 20_000;

const given = new Set();

/** A port on loopback that nobody listens on, nor on the one `apart` above it. */
export async function freePort(apart = 0) {
  for (let tries = 0; tries < 50; tries += 1) {
    const port = await listenOnce(0);
    if (port === undefined || given.has(port) || given.has(port + apart)) continue;
    if (apart > 0 && (port + apart > 65_535 || (await listenOnce(port + apart)) === undefined)) continue;
    given.add(port).add(port + apart);
    return port;
  }
  throw new Error("no free port on loopback");
}

async function listenOnce(port) {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return server.address().port;
  } catch {
    return undefined;
  } finally {
    server.close();
  }
}

/** The programs of one test run. */
export class Processes {
  #running = [];

  /** Starts a program that sees only `env` beside PATH and HOME. */
  start(name, program, args = [], env = {}) {
    const { PATH, HOME } = process.env;
    const child = spawn(program, args, { env: { PATH, HOME, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    const started = { name, child, output: "", failure: undefined };
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        started.output = (started.output + text).slice(-KEPT_OUTPUT);
      });
    }
    child.on("error", (error) => {
      started.failure = error;
    });
    this.#running.push(started);
    return started;
  }

  /** Waits until `check` says yes; throws when the program ends before, or nothing is there in time. */
  async ready(started, check) {
    const end = Date.now() + READY_WITHIN_MILLIS;
    let last = "no answer";
    while (Date.now() < end) {
      if (started.failure !== undefined) throw new Error(`${started.name}: ${started.failure.message}`);
      if (hasEnded(started.child)) {
        const { exitCode, signalCode } = started.child;
        throw new Error(`${started.name} ended (${signalCode ?? exitCode}) before it was ready:\n${started.output}`);
      }
      try {
        if (await check()) return;
      } catch (error) {
        last = error.cause?.message ?? error.message;
      }
      await pause(POLL_MILLIS);
    }
    throw new Error(`${started.name} is not ready after ${READY_WITHIN_MILLIS} ms: ${last}\n${started.output}`);
  }

  /** What the programs wrote, for a failed run. */
  output() {
    return this.#running.map(({ name, output }) => `--- ${name}\n${output}`).join("\n");
  }

  /** Ends them, the last started first; names those that had to be killed. */
  async stop() {
    const stubborn = [];
    for (const { name, child } of this.#running.reverse()) {
      if (hasEnded(child) || child.pid === undefined) continue;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      const timer = setTimeout(() => {
        stubborn.push(name);
        child.kill("SIGKILL");
      }, STOP_WITHIN_MILLIS);
      await ended;
      clearTimeout(timer);
    }
    this.#running = [];
    return stubborn;
  }
}

function hasEnded(child) {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Whether `url` answers 200 within two seconds. */
export async function answers(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  return response.ok;
}
