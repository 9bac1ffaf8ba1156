"""Answers gRPC's UnaryCall while it misbehaves on the level of HTTP/2, one way for each case.

Source: gRPC's "Negative HTTP/2 Interop Test Case Descriptions". Prints where it listens; at
SIGTERM it says what the client did wrong and ends with 1, or with 0.
"""

import argparse
import asyncio
import signal

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    PingAckReceived,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

RESPONSE_BYTES = 314_159
CASES = ("goaway", "rst_after_header", "rst_during_data", "rst_after_data", "ping", "max_streams")
# Long enough for calls that are not held back to overlap.
WORK_SECONDS = 0.02


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def answer():
    """SimpleResponse { payload: Payload { body: zeros } } behind its prefix."""
    body = bytes(RESPONSE_BYTES)
    payload = b"\x12" + varint(len(body)) + body
    message = b"\x0a" + varint(len(payload)) + payload
    return b"\0" + len(message).to_bytes(4, "big") + message


class Connection(asyncio.Protocol):
    """One connection of the client."""

    all = []

    def __init__(self, case, faults):
        self.case = case
        self.faults = faults
        self.http2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.calls = 0
        self.open = set()
        self.limit_is_known = False
        self.pings = 0
        self.is_leaving = False
        self.windows = asyncio.Event()
        self.tasks = set()
        Connection.all.append(self)

    def connection_made(self, transport):
        self.transport = transport
        self.http2.initiate_connection()
        if self.case == "max_streams":
            self.http2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        self.write()

    def connection_lost(self, _):
        if self.pings:
            self.faults.append(f"{self.pings} pings were not answered")

    def write(self):
        if not self.transport.is_closing():
            self.transport.write(self.http2.data_to_send())

    def data_received(self, data):
        try:
            events = self.http2.receive_data(data)
        except ProtocolError as error:
            self.faults.append(f"broke the protocol: {error!r}")
            self.write()
            self.transport.close()
            return
        for event in events:
            self.on(event)
        self.windows.set()
        self.write()

    def on(self, event):
        if isinstance(event, SettingsAcknowledged):
            changed = event.changed_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)
            self.limit_is_known |= changed is not None
        elif isinstance(event, RequestReceived):
            self.open.add(event.stream_id)
            if self.is_leaving:
                self.faults.append(f"stream {event.stream_id} began after GOAWAY was answered to")
            if self.limit_is_known and len(self.open) > 1:
                self.faults.append(f"{len(self.open)} streams at once")
        elif isinstance(event, DataReceived):
            self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.calls += 1
            task = asyncio.ensure_future(self.reply(event.stream_id))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif isinstance(event, StreamReset):
            self.open.discard(event.stream_id)
        elif isinstance(event, PingAckReceived):
            self.pings -= 1

    async def reply(self, stream):
        if self.case == "max_streams":
            await asyncio.sleep(WORK_SECONDS)
        if self.case == "goaway" and len(Connection.all) == 1:
            # Not h2's own goodbye, after which it takes nothing more.
            goaway = stream.to_bytes(4, "big") + bytes(4)
            self.write()
            self.transport.write(b"\0\0\x08\x07\0\0\0\0\0" + goaway)
        self.ping()
        self.http2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self.ping()
        if self.case == "rst_after_header":
            return self.reset(stream)
        message = answer()
        half = len(message) // 2
        await self.send(stream, message[:half])
        if self.case == "rst_during_data":
            return self.reset(stream)
        await self.send(stream, message[half:])
        if self.case == "rst_after_data":
            return self.reset(stream)
        self.ping()
        self.http2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        self.open.discard(stream)
        self.is_leaving = self.case == "goaway" and len(Connection.all) == 1
        self.write()

    async def send(self, stream, data):
        while data:
            room = min(
                self.http2.local_flow_control_window(stream), self.http2.max_outbound_frame_size
            )
            if room == 0:
                self.windows.clear()
                self.write()
                await self.windows.wait()
                continue
            self.http2.send_data(stream, data[:room])
            data = data[room:]
        self.write()

    def reset(self, stream):
        self.http2.reset_stream(stream, ErrorCodes.NO_ERROR)
        self.open.discard(stream)
        self.write()

    def ping(self):
        if self.case == "ping":
            self.http2.ping(b"negative")
            self.pings += 1
            self.write()


def judge(case, faults):
    """What the client must have done, whatever it says itself."""
    calls = [connection.calls for connection in Connection.all]
    if case == "max_streams":
        # More connections are as good as waiting (gRFC A105).
        if sum(calls) != 11:
            faults.append(f"made {sum(calls)} calls instead of 11")
    elif calls != (wanted := [1, 1] if case == "goaway" else [1]):
        faults.append(f"made {calls} calls on its connections instead of {wanted}")
    if case == "max_streams" and not any(c.limit_is_known for c in Connection.all):
        faults.append("did not acknowledge the limit")
    if any(connection.pings for connection in Connection.all):
        faults.append("left pings unanswered")


async def serve(case):
    faults = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(case, faults), "127.0.0.1", 0)
    end = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await end.wait()
    judge(case, faults)
    for fault in faults:
        print(f"the client {fault}", flush=True)
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--test_case", choices=CASES, required=True)
    asyncio.run(serve(arguments.parse_args().test_case))
