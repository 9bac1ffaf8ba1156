// @protobuf-ts/grpcweb-transport: gRPC-Web, binary and as base64 text.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { GrpcWebFetchTransport } from "@protobuf-ts/grpcweb-transport";
import { gatewayUrl } from "./endpoints.mjs";
import { EchoClient } from "./gen/protobuf-ts/echo.client.js";

const LIMIT_MILLIS = 20_000;
const millis = (count) => ({ seconds: "0", nanos: count * 1_000_000 });
const request = (fields) => ({ text: "", payload: new Uint8Array(), answerBytes: 0, ...fields });

for (const format of ["binary", "text"]) {
  suite(`gRPC-Web of protobuf-ts, ${format}`, () => {
    const echo = new EchoClient(new GrpcWebFetchTransport({ baseUrl: gatewayUrl, format, timeout: LIMIT_MILLIS }));

    test("unary answers what was sent", async () => {
      // Lengths that need no, one and two signs of padding in base64.
      for (const length of [0, 1, 2, 3, 70_000]) {
        const payload = Uint8Array.from({ length }, (_, index) => index % 251);
        const { response } = await echo.unary(request({ text: "grüß dich", payload }));
        assert.equal(response.text, "grüß dich");
        assert.deepEqual(response.payload, payload);
      }
    });

    test("a server stream arrives as it happens", async () => {
      const arrivals = [];
      const stream = echo.serverStream({ text: "tick", count: 4, interval: millis(150), finalCode: 0 });
      for await (const { index } of stream.responses) arrivals.push([index, performance.now()]);
      assert.deepEqual(arrivals.map(([index]) => index), [0, 1, 2, 3]);
      for (const [place, [index, at]] of arrivals.slice(1).entries()) {
        const gap = at - arrivals[place][1];
        assert.ok(gap > 50, `message ${index} came ${gap} ms after the one before`);
      }
      assert.equal((await stream.status).code, "OK");
    });

    test("a status arrives with its message", async () => {
      // Plain ASCII: this client shows a message as it is on the wire.
      const message = "no such thing";
      await assert.rejects(echo.fail({ code: 5, message, panic: false }).response, { code: "NOT_FOUND", message });
    });

    test("a stream that fails gives its messages first", async () => {
      const seen = [];
      const read = async () => {
        const { responses } = echo.serverStream({ text: "x", count: 3, finalCode: 15 });
        for await (const { index } of responses) seen.push(index);
      };
      await assert.rejects(read(), { code: "DATA_LOSS" });
      assert.deepEqual(seen, [0, 1, 2]);
    });
  });
}
