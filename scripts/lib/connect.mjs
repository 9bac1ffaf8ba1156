// The Connect protocol with JSON, as far as fetch alone takes it.

/** One unary call; rejects with the Connect error code in the message. */
export async function unary(base, method, message, { signal } = {}) {
  const response = await fetch(`${base}/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", "connect-protocol-version": "1" },
    body: JSON.stringify(message),
    signal: signal ?? AbortSignal.timeout(10_000),
  });
  const body = await response.text();
  if (!response.ok) throw new Error(`${method}: HTTP ${response.status} ${body}`);
  return JSON.parse(body);
}

/** The messages of a server stream as they arrive; breaking off cancels the call. */
export async function* stream(base, method, message, { signal } = {}) {
  const abort = new AbortController();
  const response = await fetch(`${base}/${method}`, {
    method: "POST",
    headers: { "content-type": "application/connect+json", "connect-protocol-version": "1" },
    body: envelope(JSON.stringify(message)),
    signal: AbortSignal.any([abort.signal, signal ?? AbortSignal.timeout(120_000)]),
  });
  try {
    if (!response.ok) throw new Error(`${method}: HTTP ${response.status} ${await response.text()}`);
    let pending = Buffer.alloc(0);
    for await (const chunk of response.body) {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 5 && pending.length >= 5 + pending.readUInt32BE(1)) {
        const end = 5 + pending.readUInt32BE(1);
        const payload = JSON.parse(pending.subarray(5, end).toString());
        if (pending[0] & 0x02) {
          if (payload.error) throw new Error(`${method}: ${JSON.stringify(payload.error)}`);
          return;
        }
        yield payload;
        pending = pending.subarray(end);
      }
    }
    throw new Error(`${method}: the stream was cut before its end`);
  } finally {
    abort.abort();
  }
}

function envelope(json) {
  const payload = Buffer.from(json);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(payload.length, 1);
  return Buffer.concat([prefix, payload]);
}
