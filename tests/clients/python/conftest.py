"""Stubs of the echo service, and a channel to the server under test."""

import os
import sys
from pathlib import Path

import grpc
import pytest
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[3]
PROTO_ROOTS = [ROOT / "crates/sampan-testing/proto", ROOT / "proto"]
PROTOS = ["sampan/testing/v1/echo.proto", "sampan/v1/options.proto"]

# Where sampan-echo listens, as grpcio writes it: 127.0.0.1:PORT and unix:PATH.
TARGETS = {"tcp": os.environ["ECHO_TCP"], "unix": os.environ["ECHO_UNIX"]}

# grpcio makes the authority of a Unix socket from its path (%2Ftmp%2F…), which HTTP/2 servers
# that check authorities refuse, hyper among them.
AUTHORITY = ("grpc.default_authority", "localhost")


def pytest_configure(config):
    """Generates the stubs by the stock plugin, before any test imports them."""
    out = Path(os.environ["STUBS_DIR"])
    out.mkdir(parents=True, exist_ok=True)
    includes = [f"-I{root}" for root in PROTO_ROOTS] + [f"-I{Path(protoc.__file__).parent / '_proto'}"]
    status = protoc.main(["protoc", *includes, f"--python_out={out}", f"--grpc_python_out={out}", *PROTOS])
    if status != 0:
        pytest.exit("protoc failed", returncode=1)
    sys.path.insert(0, str(out))


@pytest.fixture(params=TARGETS, scope="module")
def target(request):
    return TARGETS[request.param]


@pytest.fixture(scope="session")
def authority():
    return AUTHORITY


@pytest.fixture(scope="module")
def channel(target):
    # No retries of grpcio's own, so that a test sees what the server did; and any answer is taken.
    options = [AUTHORITY, ("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(target, options=options) as opened:
        yield opened


@pytest.fixture(scope="module")
def echo(channel):
    from sampan.testing.v1 import echo_pb2_grpc

    return echo_pb2_grpc.EchoStub(channel)
