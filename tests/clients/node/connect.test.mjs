// @connectrpc/connect-node: gRPC, gRPC-Web and Connect, in both codecs and HTTP versions.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Code, ConnectError, createClient, decodeBinaryHeader, encodeBinaryHeader } from "@connectrpc/connect";
import { gatewayUrl, ROUTES } from "./endpoints.mjs";
import { Echo } from "./gen/sampan/testing/v1/echo_pb.js";

const LIMIT = { timeoutMs: 20_000 };
const MEBIBYTE = 1024 * 1024;
const millis = (count) => ({ seconds: 0n, nanos: count * 1_000_000 });

/** The error a call ends with. */
async function failure(call) {
  try {
    await call;
  } catch (error) {
    assert.ok(error instanceof ConnectError, String(error));
    return error;
  }
  assert.fail("the call did not fail");
}

async function* each(values) {
  yield* values;
}

for (const { name, transport, streamsRequests = false } of ROUTES) {
  suite(name, () => {
    const echo = createClient(Echo, transport);

    test("unary answers what was sent", async () => {
      const payload = Uint8Array.from({ length: 256 }, (_, index) => index);
      const answer = await echo.unary({ text: "grüß dich", payload }, LIMIT);
      assert.deepEqual([answer.text, [...answer.payload]], ["grüß dich", [...payload]]);
    });

    test("a server stream arrives as it happens", async () => {
      const arrivals = [];
      for await (const { index } of echo.serverStream({ text: "tick", count: 4, interval: millis(150) }, LIMIT)) {
        arrivals.push([index, performance.now()]);
      }
      assert.deepEqual(arrivals.map(([index]) => index), [0, 1, 2, 3]);
      for (const [place, [index, at]] of arrivals.slice(1).entries()) {
        const gap = at - arrivals[place][1];
        assert.ok(gap > 50, `message ${index} came ${gap} ms after the one before`);
      }
    });

    test("metadata comes back", async () => {
      const blob = Uint8Array.of(0, 255, 127);
      const headers = { "echo-text": "one", "echo-blob-bin": encodeBinaryHeader(blob) };
      const seen = {};
      await echo.unary({ text: "x" }, { ...LIMIT, headers, onHeader: (head) => (seen.head = head) });
      assert.equal(seen.head.get("echo-text"), "one");
      assert.deepEqual([...decodeBinaryHeader(seen.head.get("echo-blob-bin"))], [...blob]);
    });

    test("every status arrives with its message", async () => {
      for (let code = 1; code <= 16; code += 1) {
        const message = `${Code[code]}: 100 % größer, „so“`;
        const error = await failure(echo.fail({ code, message }, LIMIT));
        assert.deepEqual([error.code, error.rawMessage], [code, message]);
      }
    });

    test("a stream that fails gives its messages first", async () => {
      const seen = [];
      const read = async () => {
        for await (const { index } of echo.serverStream({ text: "x", count: 3, finalCode: Code.DataLoss }, LIMIT)) {
          seen.push(index);
        }
      };
      const error = await failure(read());
      assert.deepEqual([seen, error.code], [[0, 1, 2], Code.DataLoss]);
    });

    test("a deadline ends the call in time", async () => {
      const start = performance.now();
      const error = await failure(echo.unary({ delay: { seconds: 10n, nanos: 0 } }, { timeoutMs: 300 }));
      assert.equal(error.code, Code.DeadlineExceeded);
      assert.ok(performance.now() - start < 3_000);
    });

    test("a panic is internal, and the next call is answered", async () => {
      const error = await failure(echo.fail({ message: "on purpose", panic: true }, LIMIT));
      assert.equal(error.code, Code.Internal);
      assert.equal((await echo.unary({ text: "still there" }, LIMIT)).text, "still there");
    });

    test("a message over 4 MiB is refused, one below is taken", async () => {
      const fits = await echo.unary({ payload: new Uint8Array(2 * MEBIBYTE) }, LIMIT);
      assert.equal(fits.payload.length, 2 * MEBIBYTE);
      const error = await failure(echo.unary({ payload: new Uint8Array(4 * MEBIBYTE + 1) }, LIMIT));
      assert.equal(error.code, Code.ResourceExhausted);
    });

    test("a cancelled stream troubles no other call", async () => {
      const abort = new AbortController();
      const read = async () => {
        const options = { ...LIMIT, signal: abort.signal };
        for await (const _ of echo.serverStream({ text: "x", count: 10_000, interval: millis(10) }, options)) {
          abort.abort();
        }
      };
      assert.equal((await failure(read())).code, Code.Canceled);
      assert.equal((await echo.unary({ text: "still there" }, LIMIT)).text, "still there");
    });

    test("many calls at once are each answered", async () => {
      const texts = Array.from({ length: 100 }, (_, index) => `${index}`);
      const answers = await Promise.all(texts.map((text) => echo.unary({ text, delay: millis(20) }, LIMIT)));
      assert.deepEqual(answers.map(({ text }) => text), texts);
    });

    if (streamsRequests) {
      test("a client stream is answered once", async () => {
        const answer = await echo.clientStream(each([{ text: "one" }, { text: "two" }]), LIMIT);
        assert.equal(answer.text, "one two");
      });

      test("a bidirectional stream answers each request before the next", async () => {
        // The next request leaves only after the answer to the last one.
        let answered = () => {};
        async function* turns() {
          for (let index = 0; index < 5; index += 1) {
            const answer = new Promise((resolve) => (answered = resolve));
            yield { text: `turn ${index}` };
            await answer;
          }
        }
        const seen = [];
        for await (const { text } of echo.bidi(turns(), LIMIT)) {
          seen.push(text);
          answered();
        }
        assert.deepEqual(seen, ["turn 0", "turn 1", "turn 2", "turn 3", "turn 4"]);
      });
    }
  });
}

suite("Connect on the wire", () => {
  const post = (path, body, type = "application/json") =>
    fetch(`${gatewayUrl}/${path}`, {
      method: "POST",
      headers: { "content-type": type, "connect-protocol-version": "1" },
      body,
    });

  test("an error has the HTTP status of its code", async () => {
    const statuses = { 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 12: 501, 14: 503, 16: 401, 13: 500 };
    for (const [code, status] of Object.entries(statuses)) {
      const answer = await post("sampan.testing.v1.Echo/Fail", JSON.stringify({ code: Number(code), message: "so" }));
      const { message } = await answer.json();
      assert.deepEqual([answer.status, message], [status, "so"]);
    }
  });

  test("JSON that makes no sense is an invalid argument", async () => {
    for (const body of ["{", '{"text": 7}', '{"no_such_field": 1}', "[]"]) {
      const answer = await post("sampan.testing.v1.Echo/Unary", body);
      assert.deepEqual([answer.status, (await answer.json()).code], [400, "invalid_argument"], body);
    }
  });

  test("an unknown service is unimplemented, with what was meant", async () => {
    const answer = await post("sampan.testing.v1.Ecko/Unary", "{}");
    const { code, message } = await answer.json();
    assert.equal(code, "unimplemented");
    assert.match(message, /sampan\.testing\.v1\.Echo/);
  });

  test("an unknown content type is 415", async () => {
    assert.equal((await post("sampan.testing.v1.Echo/Unary", "x", "text/plain")).status, 415);
  });
});
