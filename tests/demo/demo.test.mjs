// scripts/demo: what it says, what it starts and what it leaves behind. The programs are those of target/debug, so
// that this needs no second build; the flags are tested on the script itself.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort, HOST, listenOnce } from "../../scripts/lib/processes.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const programs = resolve(process.env.SHOP_BIN_DIR ?? join(root, "target/debug"));
const page = join(root, "examples/shop/page/dist");

/** A command whose words are kept; `says` waits for one of them, `ends` for its exit. */
function launch(command, ...args) {
  const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
      child.emit("words");
    });
  }
  const closed = once(child, "close");
  return {
    child,
    async says(pattern) {
      const signal = AbortSignal.timeout(60_000);
      while (!pattern.test(output)) {
        assert.equal(child.exitCode, null, output);
        await once(child, "words", { signal });
      }
      return output.match(pattern);
    },
    async ends() {
      const [code] = await closed;
      return { code, output };
    },
  };
}

const script = (...args) => launch(join(root, "scripts/demo"), ...args);

function demo(port, ...args) {
  const lib = join(root, "scripts/lib/demo.mjs");
  const options = ["--port", `${port}`, "--programs", programs, "--page", page];
  return launch(process.execPath, lib, "run", ...options, ...args);
}

const isRunning = (pid) => existsSync(`/proc/${pid}`);

test("an unknown flag ends with 64 and says what was meant", async () => {
  const { code, output } = await script("--no-browsr").ends();
  assert.equal(code, 64);
  assert.match(output, /did you mean --no-browser\?/);
});

test("a port that is no number ends with 64", async () => {
  assert.equal((await script("--port", "http").ends()).code, 64);
  assert.equal((await script("--port", "70000").ends()).code, 64);
});

test("a port that is taken is named before anything is built", async () => {
  const port = await freePort();
  const holder = launch(process.execPath, "-e", `net.createServer().listen(${port}, "${HOST}", () => console.log("up"))`);
  await holder.says(/up/);
  const { code, output } = await script("--port", `${port}`).ends();
  holder.child.kill();
  assert.equal(code, 1);
  assert.match(output, new RegExp(`127\\.0\\.0\\.1:${port} is taken`));
  assert.doesNotMatch(output, /Building/);
});

test("Ctrl-C drains all eight processes and leaves nothing behind", async () => {
  const port = await freePort();
  const shop = demo(port);
  const [, address] = await shop.says(/The shop is open: (\S+)/);
  const answer = await fetch(address);
  assert.equal(answer.status, 200);
  assert.match(await answer.text(), /<script/);
  shop.child.kill("SIGINT");
  const { code, output } = await shop.ends();
  assert.equal(code, 0, output);
  assert.match(output, /Drained in/);
  const pids = [...output.matchAll(/ pid (\d+)$/gm)].map(([, pid]) => pid);
  assert.equal(pids.length, 8, output);
  assert.deepEqual(pids.filter(isRunning), []);
  assert.equal(await listenOnce(port), port);
});

test("--for ends the shop by itself", async () => {
  const { code, output } = await demo(await freePort(), "--for", "1").ends();
  assert.equal(code, 0, output);
  assert.match(output, /Draining after 1 s/);
});

test("a stop while the shop still starts leaves nothing behind", async () => {
  const shop = demo(await freePort());
  const [, pid] = await shop.says(/ pid (\d+)/);
  shop.child.kill("SIGTERM");
  const { code, output } = await shop.ends();
  assert.equal(code, 0, output);
  assert.equal(isRunning(pid), false);
});

test("a service that dies is reported and ends the demo with an error", async () => {
  const shop = demo(await freePort());
  const [, pid] = await shop.says(/payments .* pid (\d+)/);
  await shop.says(/The shop is open/);
  process.kill(Number(pid), "SIGKILL");
  const { code, output } = await shop.ends();
  assert.equal(code, 1, output);
  assert.match(output, /payments ended by itself \(SIGKILL\)/);
  assert.match(output, /Drained in/);
});
