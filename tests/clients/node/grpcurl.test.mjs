// grpcurl against a Sampan server: by reflection, by files, over TCP and a Unix socket.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { echoAddress, echoSocket, setting } from "./endpoints.mjs";

const SERVICE = "sampan.testing.v1.Echo";
/** grpcurl ends with this plus the status's number. */
const STATUS_BASE = 64;
const root = fileURLToPath(new URL("../../..", import.meta.url));
const run = promisify(execFile);

for (const [name, address] of [
  ["grpcurl over TCP", echoAddress],
  ["grpcurl over a Unix socket", `unix://${echoSocket}`],
]) {
  // Flags stand before the address.
  const grpcurl = async (flags, ...words) => {
    const line = ["-plaintext", "-max-time", "20", ...flags, address, ...words];
    try {
      const { stdout, stderr } = await run(setting("GRPCURL"), line);
      return { status: 0, stdout, stderr };
    } catch (error) {
      return { status: error.code, stdout: error.stdout, stderr: error.stderr };
    }
  };
  const answered = async (...args) => {
    const { status, stdout, stderr } = await grpcurl(...args);
    assert.equal(status, 0, stderr);
    return stdout;
  };

  suite(name, () => {
    test("list names the services", async () => {
      const services = (await answered([], "list")).trim().split("\n");
      for (const wanted of [SERVICE, "grpc.health.v1.Health"]) assert.ok(services.includes(wanted), services.join());
      assert.match(await answered([], "list", SERVICE), new RegExp(`^${SERVICE}\\.Bidi$`, "m"));
    });

    test("describe shows a service and a message", async () => {
      assert.match(await answered([], "describe", SERVICE), /rpc ServerStream \(.*\) returns \( ?stream /);
      assert.match(await answered([], "describe", "sampan.testing.v1.EchoRequest"), /uint32 answer_bytes = 4/);
    });

    test("a call by reflection is answered, with its metadata", async () => {
      const out = await answered(["-v", "-H", "echo-name: value", "-d", '{"text":"hello"}'], `${SERVICE}/Unary`);
      assert.match(out, /"text": "hello"/);
      assert.match(out, /^echo-name: value$/m);
    });

    test("streams in every direction are answered", async () => {
      const texts = (out) => [...out.matchAll(/"text": "([^"]*)"/g)].map((match) => match[1]);
      const several = '{"text":"one"}{"text":"two"}';
      const down = await answered(["-d", '{"text":"x","count":3}'], `${SERVICE}/ServerStream`);
      assert.deepEqual(texts(down), ["x", "x", "x"]);
      assert.deepEqual(texts(await answered(["-d", several], `${SERVICE}/ClientStream`)), ["one two"]);
      assert.deepEqual(texts(await answered(["-d", several], `${SERVICE}/Bidi`)), ["one", "two"]);
    });

    test("a call by files needs no reflection", async () => {
      const files = ["-import-path", `${root}proto`, "-import-path", `${root}crates/sampan-testing/proto`];
      const flags = ["-use-reflection=false", ...files, "-proto", "sampan/testing/v1/echo.proto"];
      assert.match(await answered([...flags, "-d", '{"text":"hello"}'], `${SERVICE}/Unary`), /"text": "hello"/);
    });

    test("a status is grpcurl's exit code", async () => {
      const { status, stderr } = await grpcurl(["-d", '{"code":5,"message":"no such thing"}'], `${SERVICE}/Fail`);
      assert.equal(status, STATUS_BASE + 5);
      assert.match(stderr, /Code: NotFound\s+Message: no such thing/);
    });

    test("health is told", async () => {
      const out = await answered(["-d", `{"service":"${SERVICE}"}`], "grpc.health.v1.Health/Check");
      assert.match(out, /"status": "SERVING"/);
    });
  });
}
