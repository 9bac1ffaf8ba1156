"""The interop cases of compression with Python's grpcio.

    compression.py server       serves, and prints where
    compression.py PORT CASE    makes the calls of one case

grpcio does not tell whether a message came compressed: that is for the other side to say.
"""

import os
import sys
import tempfile
from concurrent import futures
from pathlib import Path

import grpc
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[1] / "peers/proto"
GZIP = grpc.Compression.Gzip
# Longer messages than grpcio takes by itself are none of these cases.
OPTIONS = [("grpc.enable_retries", 0)]


def stubs():
    out = tempfile.mkdtemp(prefix="sampan-interop-stubs-")
    includes = [f"-I{PROTO}", f"-I{Path(protoc.__file__).parent / '_proto'}"]
    if protoc.main(["protoc", *includes, f"--python_out={out}", f"--grpc_python_out={out}", "grpc/testing/test.proto"]):
        sys.exit("protoc failed")
    sys.path.insert(0, out)
    # Beside grpcio's own package of that name.
    grpc.__path__.append(os.path.join(out, "grpc"))
    from grpc.testing import test_pb2, test_pb2_grpc

    return test_pb2, test_pb2_grpc


pb, rpc = stubs()


class TestService(rpc.TestServiceServicer):
    def UnaryCall(self, request, context):
        if request.response_compressed.value:
            context.set_compression(GZIP)
        return pb.SimpleResponse(payload=pb.Payload(body=bytes(request.response_size)))

    def StreamingOutputCall(self, request, context):
        context.set_compression(GZIP)
        for wanted in request.response_parameters:
            if not wanted.compressed.value:
                context.disable_next_message_compression()
            yield pb.StreamingOutputCallResponse(payload=pb.Payload(body=bytes(wanted.size)))

    def StreamingInputCall(self, requests, context):
        total = sum(len(request.payload.body) for request in requests)
        return pb.StreamingInputCallResponse(aggregated_payload_size=total)


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(4))
    rpc.add_TestServiceServicer_to_server(TestService(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


def same(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {found} instead of {wanted}")


def refused(call):
    try:
        call()
    except grpc.RpcError as error:
        same("code", error.code(), grpc.StatusCode.INVALID_ARGUMENT)
    else:
        sys.exit("the probe was not refused")


def client_compressed_unary(stub):
    def request(expected):
        body = pb.Payload(body=bytes(271828))
        return pb.SimpleRequest(response_size=314159, payload=body, expect_compressed={"value": expected})

    refused(lambda: stub.UnaryCall(request(True)))
    for expected, how in ((True, GZIP), (False, grpc.Compression.NoCompression)):
        answer = stub.UnaryCall(request(expected), compression=how)
        same("payload", len(answer.payload.body), 314159)


def server_compressed_unary(stub):
    for wanted in (True, False):
        request = pb.SimpleRequest(response_size=314159, response_compressed={"value": wanted})
        same("payload", len(stub.UnaryCall(request).payload.body), 314159)


def client_compressed_streaming(stub):
    def request(body, expected):
        return pb.StreamingInputCallRequest(payload=pb.Payload(body=body), expect_compressed={"value": expected})

    refused(lambda: stub.StreamingInputCall(iter([request(bytes(27182), True)])))
    # grpcio sends a message as it is that does not shrink.
    requests = [request(bytes(27182), True), request(os.urandom(45904), False)]
    answer = stub.StreamingInputCall(iter(requests), compression=GZIP)
    same("sum of payloads", answer.aggregated_payload_size, 73086)


def server_compressed_streaming(stub):
    sizes = [31415, 92653]
    parameters = [
        pb.ResponseParameters(size=size, compressed={"value": compressed})
        for size, compressed in zip(sizes, (True, False))
    ]
    answers = stub.StreamingOutputCall(pb.StreamingOutputCallRequest(response_parameters=parameters))
    same("payloads", [len(answer.payload.body) for answer in answers], sizes)


CASES = {
    case.__name__: case
    for case in (
        client_compressed_unary,
        server_compressed_unary,
        client_compressed_streaming,
        server_compressed_streaming,
    )
}

if __name__ == "__main__":
    if sys.argv[1:] == ["server"]:
        serve()
    else:
        port, case = sys.argv[1:]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
            CASES[case](rpc.TestServiceStub(channel))
