// What the runner started, and how stock clients reach it.

import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";

/** Reads a setting of the runner. */
export function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; start these tests by tests/clients/run`);
  return value;
}

/** `host:port` of the echo service. */
export const echoAddress = setting("ECHO_TCP");
/** Path of the echo service's Unix socket. */
export const echoSocket = setting("ECHO_UNIX").replace(/^unix:/, "");
/** The gateway in front of it. */
export const gatewayUrl = setting("GATEWAY_URL");

const gateway = { baseUrl: gatewayUrl };

/** Every way of connect-node to the echo service. */
export const ROUTES = [
  {
    name: "gRPC straight to the service",
    transport: createGrpcTransport({ baseUrl: `http://${echoAddress}` }),
    streamsRequests: true,
  },
  { name: "gRPC through the gateway", transport: createGrpcTransport(gateway), streamsRequests: true },
  ...["1.1", "2"].flatMap((httpVersion) =>
    [true, false].flatMap((useBinaryFormat) => {
      const codec = useBinaryFormat ? "protobuf" : "JSON";
      const options = { ...gateway, httpVersion, useBinaryFormat };
      return [
        { name: `gRPC-Web, ${codec}, HTTP/${httpVersion}`, transport: createGrpcWebTransport(options) },
        { name: `Connect, ${codec}, HTTP/${httpVersion}`, transport: createConnectTransport(options) },
      ];
    }),
  ),
];
