import type { Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

/** The wire a call takes from the page to the gateway; the services behind it see gRPC either way. */
export type Protocol = "connect-json" | "connect-binary" | "grpc-web";

/** Each protocol with the name shown for it. */
export const PROTOCOLS: ReadonlyArray<{ readonly id: Protocol; readonly name: string }> = [
  { id: "connect-json", name: "Connect, JSON" },
  { id: "connect-binary", name: "Connect, binary" },
  { id: "grpc-web", name: "gRPC-Web" },
];

/** Whether `value` names a protocol. */
export function isProtocol(value: unknown): value is Protocol {
  return PROTOCOLS.some(({ id }) => id === value);
}

/** A transport to the gateway that served this page. */
export function createTransport(protocol: Protocol, fetcher: typeof fetch = fetch): Transport {
  const options = { baseUrl: location.origin, fetch: fetcher };
  switch (protocol) {
    case "connect-json":
      return createConnectTransport({ ...options, useBinaryFormat: false });
    case "connect-binary":
      return createConnectTransport({ ...options, useBinaryFormat: true });
    case "grpc-web":
      return createGrpcWebTransport({ ...options, useBinaryFormat: true });
  }
}
