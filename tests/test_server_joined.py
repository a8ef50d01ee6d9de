"""Short requests of many clients are parsed together, and run and answered as each client's by themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.config import load
from marmoset.resp.conversation import Conversation
from marmoset.resp.parser import JoinedParser
from marmoset.runtime import Runtime
from marmoset.server import JOINED_BYTES_MAX, ClientConnection, RedisServer, redis_server
from tests.commands.beside_redis import request
from tests.test_server import run
from tests.test_server_turns import Transport, next_turn


class Told(Conversation):
    """Notes what it is told to run, and answers with how many requests it was."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[object] = []
        self.is_between = True

    @property
    def is_between_requests(self) -> bool:
        return self.is_between

    def receive(self, data: bytes) -> bytes:
        self.told.append(data)
        return b"(alone)"

    def receive_whole(self, requests: list[list[bytes]], size: int) -> bytes:
        self.told.append((requests, size))
        return b"(%d)" % len(requests)


@asynccontextmanager
async def serving(*, is_of_use: bool, sessions: list[Told] | None = None) -> AsyncIterator[RedisServer]:
    runtime = Runtime(load({"gossip_port": 0, "port": 0}))
    runtime.open()
    server = redis_server(runtime)
    if sessions is not None:
        server = RedisServer(runtime, lambda number, _: sessions[number - 1])
    server.joined = JoinedParser(is_of_use=is_of_use)
    await runtime.start()
    await runtime.serving.wait()
    try:
        yield server
    finally:
        server.close()
        await runtime.close()


def connected(server: RedisServer) -> tuple[ClientConnection, Transport]:
    client, transport = ClientConnection(server), Transport()
    client.connection_made(cast("asyncio.BaseTransport", transport))
    return client, transport


PING = request("PING")


def test_what_is_whole_and_short_is_run_without_another_look_at_its_bytes() -> None:
    async def test() -> None:
        sessions = [Told() for _ in range(6)]
        sessions[2].is_between = False
        long = request("ECHO", b"x" * JOINED_BYTES_MAX)
        sent = [PING, PING * 2 + request("GET", "k"), PING, PING + b"*1", long, PING]
        async with serving(is_of_use=True, sessions=sessions) as server:
            clients = [connected(server) for _ in sessions]
            for (client, _), data in zip(clients, sent, strict=True):
                client._slice = len(long)
                client.data_received(data)
            await next_turn()
        assert [session.told for session in sessions] == [
            [([[b"PING"]], len(PING))],
            [([[b"PING"], [b"PING"], [b"GET", b"k"]], len(sent[1]))],
            [PING],
            [PING + b"*1"],
            [long],
            [([[b"PING"]], len(PING))],
        ]
        written = [transport.written[0] for _, transport in clients]
        assert written == [b"(1)", b"(3)", b"(alone)", b"(alone)", b"(alone)", b"(1)"]

    run(test)


@pytest.mark.parametrize("how", ["close", "abort", "lost"])
def test_a_client_that_another_one_ends_in_the_same_turn_runs_at_most_once(how: str) -> None:
    class Ending(Told):
        def receive_whole(self, requests: list[list[bytes]], size: int) -> bytes:
            (other,) = ended
            if how == "lost":
                other.connection_lost(None)
            else:
                (other.close if how == "close" else other.abort)()
            return super().receive_whole(requests, size)

    async def test() -> None:
        sessions = [Ending(), Told(), Told()]
        async with serving(is_of_use=True, sessions=sessions) as server:
            (one, _), (other, to_other), (third, to_third) = (connected(server) for _ in sessions)
            ended.append(other)
            for client in (one, other, third):
                client.data_received(PING)
            await next_turn()
        assert sessions[1].told == ([] if how == "abort" else [PING])
        assert sessions[2].told == [([[b"PING"]], len(PING))] and to_third.written[0] == b"(1)"
        assert to_other.written[:1] == {"close": [b"(alone)"], "abort": [b"(aborted)"], "lost": []}[how]

    ended: list[ClientConnection] = []
    run(test)


@pytest.mark.parametrize(
    ("begun", "rest", "answer"),
    [(request("SET", "k", PING)[: -len(PING) - 2], b"\r\n", b"+OK\r\n"), (b"PING ", b"", b"$2\r\n*1\r\n")],
)
def test_what_goes_on_with_a_request_is_no_request_of_its_own(begun: bytes, rest: bytes, answer: bytes) -> None:
    async def test() -> None:
        async with serving(is_of_use=True) as server:
            client, transport = connected(server)
            for data in (begun, PING, rest):
                client.data_received(data)
                await next_turn()
            assert b"".join(transport.written).startswith(answer)

    run(test)


def test_answers_of_a_connection_that_is_ended_at_once_are_dropped() -> None:
    async def test() -> None:
        async with serving(is_of_use=True) as server:
            client, transport = connected(server)
            client.data_received(PING)
            client.data_received(PING)  # has the first one run
            client.abort()
            await next_turn()
            assert transport.written == [b"(aborted)"]

    run(test)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(request("QUIT"), b"+OK\r\n"), (b"*1\r\n!\r\n", b"-ERR Protocol error: expected '$', got '!'\r\n")],
)
def test_nothing_runs_behind_the_end_of_a_conversation(sent: bytes, answer: bytes) -> None:
    async def test() -> None:
        async with serving(is_of_use=True) as server:
            (client, transport), (_, to_other) = connected(server), connected(server)
            for data in (sent, request("SET", "k", "v"), PING):
                client.data_received(data)
            await next_turn()
            assert transport.written == [answer, b"(closed)"] and not to_other.written
            assert b"k" not in server.runtime.node.replica.keyspace

    run(test)


def test_a_turn_that_fails_is_not_the_last_one() -> None:
    async def test() -> None:
        async with serving(is_of_use=True) as server:
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            (client, transport), runtime = connected(server), server.runtime
            run_arrived, runtime.before_turn_end = runtime.before_turn_end, fail
            client.data_received(PING)
            await next_turn()
            runtime.before_turn_end = run_arrived
            client.data_received(PING)
            await next_turn()
            assert b"".join(transport.written) == b"+PONG\r\n" * 2

    def fail() -> None:
        raise MemoryError

    run(test)


words = st.sampled_from([b"", b"v", b"12", b"\r\n", b"*1\r\n", b"x" * 200, b"y" * 1500])
keys = st.sampled_from([b"a", b"b"])
requests = st.one_of(
    st.builds(lambda key, word: request("SET", key, word), keys, words),
    st.builds(lambda key: request("INCR", key), keys),
    st.builds(lambda key: request("GET", key), keys),
    st.builds(lambda key: request("EXPIRE", key, "0"), keys),
    st.sampled_from([PING, PING * 3, request("MULTI"), request("EXEC"), request("NOSUCH"), request("SET", "a")]),
    st.sampled_from(
        [b"PING\r\n", b"\r\n", b"*0\r\n", b"ECHO 'a b'\r\n", request("HELLO", "3"), request("WAIT", "0", "0")]
    ),
    st.sampled_from([request("QUIT"), b"*1\r\n$-5\r\n", b"*1\r\n!\r\n", b"POST / HTTP/1.1\r\n", request("RESET")]),
)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """What one client sends, turn by turn."""
    data = b"".join(draw(st.lists(requests, max_size=6)))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def answers(sent: list[list[bytes]], *, is_of_use: bool) -> list[bytes]:
    async with serving(is_of_use=is_of_use) as server:
        clients = [connected(server) for _ in sent]
        for turn in range(max(map(len, sent))):
            for (client, transport), stream in zip(clients, sent, strict=True):
                if turn < len(stream) and stream[turn] and not transport.is_closing():
                    client.data_received(stream[turn])
            await next_turn()
        await next_turn()
        return [b"".join(transport.written) for _, transport in clients]


@settings(deadline=None, max_examples=60)
@given(st.lists(streams(), min_size=1, max_size=4))
def test_every_client_is_answered_as_if_it_were_parsed_by_itself(sent: list[list[bytes]]) -> None:
    together = asyncio.run(answers(sent, is_of_use=True))
    assert together == asyncio.run(answers(sent, is_of_use=False))
