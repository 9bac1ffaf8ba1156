// @grpc/grpc-js against a Sampan server, over TCP and a Unix socket.

import assert from "node:assert/strict";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { after, suite, test } from "node:test";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { echoAddress, echoSocket } from "./endpoints.mjs";

const folder = (path) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const definition = loadSync("sampan/testing/v1/echo.proto", {
  includeDirs: [folder("crates/sampan-testing/proto"), folder("proto")],
  defaults: true,
});
const { Echo } = grpc.loadPackageDefinition(definition).sampan.testing.v1;
const within = () => ({ deadline: Date.now() + 20_000 });

async function collect(answers) {
  const all = [];
  for await (const answer of answers) all.push(answer);
  return all;
}

for (const [name, target] of [
  ["grpc-js over TCP", echoAddress],
  ["grpc-js over a Unix socket", `unix:${echoSocket}`],
]) {
  suite(name, () => {
    const client = new Echo(target, grpc.credentials.createInsecure());
    after(() => client.close());

    test("unary is answered, with its metadata", async () => {
      const metadata = new grpc.Metadata();
      metadata.add("echo-note", "as sent");
      metadata.add("echo-raw-bin", Buffer.from([0, 255, 1]));
      let head;
      const answer = await new Promise((resolve, reject) => {
        const call = client.unary({ text: "grüß dich", payload: Buffer.alloc(100_000, 7) }, metadata, within(), (error, found) =>
          error ? reject(error) : resolve(found),
        );
        call.on("metadata", (found) => (head = found));
      });
      assert.equal(answer.text, "grüß dich");
      assert.deepEqual(answer.payload, Buffer.alloc(100_000, 7));
      assert.deepEqual(head.get("echo-note"), ["as sent"]);
      assert.deepEqual(head.get("echo-raw-bin"), [Buffer.from([0, 255, 1])]);
    });

    test("a server stream is answered to its end", async () => {
      const answers = await collect(client.serverStream({ text: "tick", count: 100 }, within()));
      assert.deepEqual(answers.map(({ index }) => index), [...Array(100).keys()]);
    });

    test("a server stream ends with its status", async () => {
      const answers = [];
      const call = client.serverStream({ count: 2, finalCode: grpc.status.ABORTED }, within());
      call.on("data", (answer) => answers.push(answer));
      const [error] = await once(call, "error");
      assert.equal(error.code, grpc.status.ABORTED);
      assert.equal(answers.length, 2);
    });

    test("a client stream is answered once", async () => {
      const answer = await new Promise((resolve, reject) => {
        const call = client.clientStream(within(), (error, found) => (error ? reject(error) : resolve(found)));
        for (let n = 0; n < 50; n += 1) call.write({ text: `part ${n}` });
        call.end();
      });
      assert.equal(answer.index, 50);
    });

    test("a bidirectional stream answers each request before the next", async () => {
      const call = client.bidi(within());
      for (const text of ["one", "two", "three"]) {
        call.write({ text });
        const [answer] = await once(call, "data");
        assert.equal(answer.text, text);
      }
      call.end();
      const [status] = await once(call.resume(), "status");
      assert.equal(status.code, grpc.status.OK);
    });

    test("a failure has its code and its message", async () => {
      const fail = promisify(client.fail.bind(client));
      await assert.rejects(fail({ code: grpc.status.NOT_FOUND, message: "größer ☺" }), {
        code: grpc.status.NOT_FOUND,
        details: "größer ☺",
      });
    });

    test("a deadline ends a call", async () => {
      const slow = promisify((request, done) => client.unary(request, { deadline: Date.now() + 100 }, done));
      await assert.rejects(slow({ delay: { seconds: 10 } }), { code: grpc.status.DEADLINE_EXCEEDED });
    });

    test("a cancelled stream ends, and the connection serves on", async () => {
      const call = client.serverStream({ count: 1_000_000, interval: { nanos: 1_000_000 } }, within());
      await once(call, "data");
      call.cancel();
      const [error] = await once(call, "error");
      assert.equal(error.code, grpc.status.CANCELLED);
      const unary = promisify((request, done) => client.unary(request, within(), done));
      assert.equal((await unary({ text: "still there" })).text, "still there");
    });
  });
}
