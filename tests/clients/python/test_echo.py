"""Python's grpcio against a Sampan server, over TCP and a Unix socket."""

import asyncio
import queue
import time

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from sampan.testing.v1.echo_pb2 import EchoRequest, FailRequest, StreamRequest

SERVICE = "sampan.testing.v1.Echo"
# Longer than any call here takes, so that a hang is a failure.
LIMIT = 20
MEBIBYTE = 1024 * 1024


def millis(count):
    return Duration(nanos=count * 1_000_000)


def failure(call):
    """The error that `call` ends with."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value


def assert_serves(echo):
    assert echo.Unary(EchoRequest(text="still there"), timeout=LIMIT).text == "still there"


def test_unary_answers_what_was_sent(echo):
    answer = echo.Unary(EchoRequest(text="grüß dich", payload=bytes(range(256))), timeout=LIMIT)
    assert (answer.text, answer.payload) == ("grüß dich", bytes(range(256)))


def test_an_empty_message_is_a_message(echo):
    assert echo.Unary(EchoRequest(), timeout=LIMIT).payload == b""


def test_a_server_stream_arrives_as_it_happens(echo):
    start = time.monotonic()
    arrivals = []
    for answer in echo.ServerStream(StreamRequest(text="tick", count=4, interval=millis(150)), timeout=LIMIT):
        arrivals.append((answer.index, time.monotonic() - start))
    assert [index for index, _ in arrivals] == [0, 1, 2, 3]
    gaps = [later - earlier for (_, earlier), (_, later) in zip(arrivals, arrivals[1:])]
    assert all(gap > 0.05 for gap in gaps), gaps


def test_a_client_stream_is_answered_once(echo):
    texts = [f"part {index}" for index in range(50)]
    answer = echo.ClientStream((EchoRequest(text=text) for text in texts), timeout=LIMIT)
    assert answer.text == " ".join(texts)


def test_a_bidirectional_stream_answers_each_request_before_the_next(echo):
    requests = queue.Queue()
    answers = echo.Bidi(iter(requests.get, None), timeout=LIMIT)
    for index in range(5):
        requests.put(EchoRequest(text=f"turn {index}"))
        answer = next(answers)
        assert (answer.text, answer.index) == (f"turn {index}", index)
    requests.put(None)
    assert list(answers) == []
    assert answers.code() is grpc.StatusCode.OK


def test_an_empty_request_stream_ends_cleanly(echo):
    assert list(echo.Bidi(iter(()), timeout=LIMIT)) == []
    assert echo.ClientStream(iter(()), timeout=LIMIT).text in ("", "echo")


def test_metadata_comes_back(echo):
    sent = [("echo-text", "one"), ("echo-text", "two"), ("echo-blob-bin", b"\x00\xff\x7f")]
    _, call = echo.Unary.with_call(EchoRequest(text="x"), metadata=sent, timeout=LIMIT)
    head = list(call.initial_metadata())
    for entry in sent:
        assert entry in head


def test_a_deadline_ends_the_call_in_time_and_nothing_else(echo):
    start = time.monotonic()
    error = failure(lambda: echo.Unary(EchoRequest(delay=Duration(seconds=10)), timeout=0.3))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - start < 3
    assert_serves(echo)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_arrives_with_its_message(echo, code):
    message = f"{code.name}: 100 % größer, „so“\n"
    error = failure(lambda: echo.Fail(FailRequest(code=code.value[0], message=message), timeout=LIMIT))
    assert (error.code(), error.details()) == (code, message)


def test_a_stream_that_fails_gives_its_messages_first(echo):
    request = StreamRequest(text="x", count=3, final_code=grpc.StatusCode.DATA_LOSS.value[0])
    seen = []

    def read_all():
        for answer in echo.ServerStream(request, timeout=LIMIT):
            seen.append(answer.index)

    assert failure(read_all).code() is grpc.StatusCode.DATA_LOSS
    assert seen == [0, 1, 2]


def test_a_panic_is_internal_and_the_connection_lives(echo):
    error = failure(lambda: echo.Fail(FailRequest(message="on purpose", panic=True), timeout=LIMIT))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert_serves(echo)


def test_an_unknown_method_is_unimplemented(channel):
    call = channel.unary_unary(f"/{SERVICE}/Unry")
    error = failure(lambda: call(b"", timeout=LIMIT))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_unknown_service_is_unimplemented_with_what_was_meant(channel):
    call = channel.unary_unary("/sampan.testing.v1.Ecko/Unary")
    error = failure(lambda: call(b"", timeout=LIMIT))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert SERVICE in error.details()


def test_a_request_that_is_no_message_is_refused(channel, echo):
    call = channel.unary_unary(f"/{SERVICE}/Unary")
    error = failure(lambda: call(b"\xff\xff\xff", timeout=LIMIT))
    assert error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)
    assert_serves(echo)


def test_up_to_4_mib_are_taken_and_no_more(echo):
    room = 4 * MEBIBYTE - 1024
    assert len(echo.Unary(EchoRequest(payload=bytes(room)), timeout=LIMIT).payload) == room
    error = failure(lambda: echo.Unary(EchoRequest(payload=bytes(4 * MEBIBYTE + 1)), timeout=LIMIT))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert_serves(echo)


def test_a_large_answer_arrives_whole(echo):
    assert len(echo.Unary(EchoRequest(answer_bytes=8 * MEBIBYTE), timeout=LIMIT).payload) == 8 * MEBIBYTE


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate], ids=lambda which: which.name)
def test_a_compressed_request_is_taken(echo, compression):
    answer = echo.Unary(EchoRequest(text="x" * 5000), compression=compression, timeout=LIMIT)
    assert answer.text == "x" * 5000


def test_a_cancelled_stream_troubles_no_other_call(echo):
    answers = echo.ServerStream(StreamRequest(text="x", count=10_000, interval=millis(10)), timeout=LIMIT)
    next(answers)
    answers.cancel()
    assert failure(lambda: next(answers)).code() is grpc.StatusCode.CANCELLED
    assert_serves(echo)


def test_more_calls_at_once_than_one_connection_has_streams(echo):
    calls = [echo.Unary.future(EchoRequest(text=str(index), delay=millis(20)), timeout=LIMIT) for index in range(600)]
    assert [call.result().text for call in calls] == [str(index) for index in range(600)]


def test_asyncio_calls_in_both_directions(target, authority):
    from sampan.testing.v1 import echo_pb2_grpc

    async def talk():
        async with grpc.aio.insecure_channel(target, options=[authority]) as channel:
            stream = echo_pb2_grpc.EchoStub(channel).Bidi(timeout=LIMIT)
            seen = []
            for text in ("one", "two"):
                await stream.write(EchoRequest(text=text))
                seen.append((await stream.read()).text)
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            return seen, await stream.code()

    assert asyncio.run(talk()) == (["one", "two"], grpc.StatusCode.OK)


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_is_told(channel, service):
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service_is_not_found(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    error = failure(lambda: stub.Check(health_pb2.HealthCheckRequest(service="no.Such"), timeout=LIMIT))
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_health_can_be_watched(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=LIMIT)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


def test_reflection_describes_the_service(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert SERVICE in database.get_services()
    described = database.FindFileContainingSymbol(SERVICE)
    assert described.name == "sampan/testing/v1/echo.proto"
    assert {method.name for method in described.service[0].method} >= {"Unary", "ServerStream", "ClientStream", "Bidi"}
