// Load generators against a Sampan server: short, and every call answered with OK.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { promisify } from "node:util";
import { echoAddress, setting } from "./endpoints.mjs";

const CALLS = 20_000;
const METHOD = "sampan.testing.v1.Echo";
const folder = (path) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const run = promisify(execFile);
const limits = { timeout: 120_000, maxBuffer: 64 << 20 };

test("h2load has every call answered", async () => {
  const scratch = await mkdtemp(join(tmpdir(), "sampan-h2load-"));
  try {
    // EchoRequest { text: "hello" } behind its prefix.
    const body = join(scratch, "request");
    await writeFile(body, Buffer.from([0, 0, 0, 0, 7, 0x0a, 5, ...Buffer.from("hello")]));
    const { stdout } = await run(
      "h2load",
      ["-n", `${CALLS}`, "-c", "4", "-m", "16", "-d", body, "-H", "content-type: application/grpc", "-H", "te: trailers",
        `http://${echoAddress}/${METHOD}/Unary`],
      limits,
    );
    assert.match(stdout, new RegExp(`${CALLS} done, ${CALLS} succeeded, 0 failed, 0 errored, 0 timeout`));
    assert.match(stdout, new RegExp(`status codes: ${CALLS} 2xx, 0 3xx, 0 4xx, 0 5xx`));
  } finally {
    await rm(scratch, { recursive: true });
  }
});

for (const [shape, method, data] of [
  ["unary", "Unary", { text: "hello" }],
  ["a server stream", "ServerStream", { text: "hello", count: 10 }],
  ["a client stream", "ClientStream", [{ text: "one" }, { text: "two" }]],
  ["a bidirectional stream", "Bidi", [{ text: "one" }, { text: "two" }]],
]) {
  test(`ghz has every call of ${shape} answered with OK`, async () => {
    const { stdout } = await run(
      setting("GHZ"),
      ["--insecure", "--proto", folder("crates/sampan-testing/proto/sampan/testing/v1/echo.proto"), "-i",
        `${folder("crates/sampan-testing/proto")},${folder("proto")}`, "--call", `${METHOD}.${method}`, "-d",
        JSON.stringify(data), "-n", "4000", "-c", "64", "--connections", "4", "-O", "json", echoAddress],
      limits,
    );
    assert.deepEqual(JSON.parse(stdout).statusCodeDistribution, { OK: 4000 });
  });
}
