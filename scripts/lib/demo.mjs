// What scripts/demo does once everything is built.
//
//   demo.mjs check-port N
//   demo.mjs run --port N --programs DIR --page DIR [--browser] [--for SECONDS]

import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { HOST, listenOnce } from "./processes.mjs";
import { Shop } from "./shop.mjs";

async function checkPort(port) {
  try {
    await listenOnce(port);
  } catch ({ code }) {
    const reason = code === "EADDRINUSE" ? "is taken by another program" : `cannot be used (${code})`;
    console.error(`error: ${HOST}:${port} ${reason}`);
    console.error(" hint: end what listens there, or choose another with --port N");
    process.exit(1);
  }
}

async function run({ port, programs, page, browser, seconds }) {
  await checkPort(port);
  let stop;
  const stopped = new Promise((resolve) => {
    stop = resolve;
  });

  const shop = new Shop({
    port,
    binDir: resolve(programs),
    pageDir: resolve(page),
    env: { SAMPAN_LOG: process.env.SAMPAN_LOG ?? "warn" },
    hear: (name, line) => console.log(`[${name}] ${line}`),
    opened: (name, address, pid) => console.log(`  ${name.padEnd(10)} ${address.padEnd(16)} pid ${pid}`),
    ended: (name, how) => {
      console.error(`error: ${name} ended by itself (${how})`);
      process.exitCode = 1;
      stop("Draining the others");
    },
  });

  let signals = 0;
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(name, () => {
      signals += 1;
      if (signals > 1) shop.kill();
      stop(`Draining (${name}; once more to kill)`);
    });
  }

  console.log("Starting the shop:");
  const opened = shop.start().then((address) => {
    console.log(`\nThe shop is open: ${address}/\nCtrl-C drains and ends it.`);
    if (browser) openBrowser(address);
    // The services keep this process alive until then.
    if (seconds > 0) setTimeout(stop, seconds * 1000, `Draining after ${seconds} s`).unref();
  });
  opened.catch((error) => {
    // What a stop interrupts is not worth a word.
    if (signals === 0) {
      console.error(`error: ${error.message}`);
      process.exitCode = 1;
    }
    stop("Draining what was started");
  });

  console.log(`\n${await stopped} …`);
  const start = performance.now();
  const stubborn = await shop.stop();
  if (stubborn.length > 0) {
    console.error(`error: did not drain: ${stubborn.join(", ")}`);
    process.exitCode = 1;
  } else {
    console.log(`Drained in ${((performance.now() - start) / 1000).toFixed(1)} s.`);
  }
}

function openBrowser(address) {
  const mac = process.platform === "darwin";
  if (!mac && !process.env.DISPLAY && !process.env.WAYLAND_DISPLAY) return;
  const opener = spawn(mac ? "open" : "xdg-open", [address], { stdio: "ignore", detached: true });
  // Without an opener the printed address has to do.
  opener.once("error", () => {});
  opener.unref();
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
