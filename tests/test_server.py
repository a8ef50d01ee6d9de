"""The Redis server's connections, with sessions of our own: slices, slow readers, limits, and closing."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
import uvloop

from marmoset.config import load
from marmoset.resp.conversation import Conversation
from marmoset.runtime import Runtime, listen, port_of
from marmoset.server import (
    OUTPUT_HIGH,
    QUIET_S,
    SLICE_BYTES_FIRST,
    SLICE_BYTES_MAX,
    RedisServer,
    redis_server,
)

LIMIT_S = 10.0


class Session(Conversation):
    """Answers each line: `big` with 100 kB, `slow` after 1 ms of work, `quit` with a good-bye, `break` with a fault,
    else with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.waits = False
        self.pieces: list[int] = []
        self._rest = b""

    @property
    def is_blocked(self) -> bool:
        return self.waits

    def receive(self, data: bytes) -> bytes:
        self.pieces.append(len(data))
        *lines, self._rest = (self._rest + data).split(b"\n")
        answers = []
        for line in lines:
            if line == b"big":
                answers.append(b"x" * 100_000)
            elif line == b"slow":
                until = time.perf_counter() + 0.001
                while time.perf_counter() < until:
                    pass
            elif line == b"later":
                self.delay_ms = 300
                answers.append(b"slowed\n")
            elif line == b"wait":
                self.waits = True
            elif line == b"break":
                raise MemoryError("a test")
            elif line == b"quit":
                self.closing = True
                answers.append(b"bye\n")
                break
            else:
                answers.append(line + b"\n")
        return b"".join(answers)

    def resume(self) -> bytes:
        self.delay_ms = 0
        waited, self.waits = self.waits, False
        return b"waited\n" if waited else b""

    def close(self) -> None:
        self.closed = True


class Served:
    """A server on a node of its own, and the sessions that it made."""

    def __init__(self, server: RedisServer, port: int) -> None:
        self.server = server
        self.port = port
        self.sessions: list[Session] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[Served]:
    runtime = Runtime(load({"gossip_port": 0, "port": 0, **settings}))
    runtime.open()
    listener = listen("127.0.0.1", 0, "clients")

    def new_session(number: int, peer: str) -> Session:
        assert number > 0 and peer.startswith("127.0.0.1:")
        served.sessions.append(Session())
        return served.sessions[-1]

    server = RedisServer(runtime, new_session)
    served = Served(server, port_of(listener))
    try:
        await server.start(listener)
        await runtime.start()
        yield served
    finally:
        server.close()
        listener.close()
        await runtime.close()


def run(test: Callable[[], Coroutine[object, object, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(test(), 60))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not holds():
            await asyncio.sleep(0.005)


def test_requests_are_answered_in_order_however_they_are_cut() -> None:
    async def test() -> None:
        async with serving() as served:
            reader, writer = await served.connect()
            lines = [b"%d" % i for i in range(100_000)]
            writer.write(b"\n".join(lines) + b"\n")
            for line in lines:
                assert await reader.readline() == line + b"\n"
            for byte in b"last\n":
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            assert await reader.readline() == b"last\n"
            assert max(served.sessions[0].pieces) <= SLICE_BYTES_MAX
            writer.close()
            await until(lambda: served.sessions[0].closed and not served.server.clients)

    run(test)


def test_a_long_pipeline_and_half_a_request_hold_nobody_else_up() -> None:
    async def test() -> None:
        async with serving() as served:
            _, half = await served.connect()
            half.write(b"half a req")
            busy_reader, busy = await served.connect()
            busy.write(b"slow\n" * 20_000 + b"done\n")  # 20 s of work, if it were run
            reader, writer = await served.connect()
            waits: list[float] = []
            for _ in range(10):
                began = time.perf_counter()
                writer.write(b"hello\n")
                assert await reader.readline() == b"hello\n"
                waits.append(time.perf_counter() - began)
            assert sorted(waits)[5] < 2  # a few slices of 12 requests each, not 20 s, however loaded the machine is
            assert not busy_reader.at_eof()
            for each in (half, busy, writer):
                each.close()

    run(test)


def test_a_deferred_answer_holds_up_its_own_client_alone_and_keeps_the_order() -> None:
    async def test() -> None:
        async with serving() as served:
            reader, writer = await served.connect()
            writer.write(b"first\nwait\n")
            assert await reader.readline() == b"first\n"
            writer.write(b"behind\n" + b"and more\n" * 20_000)
            other_reader, other = await served.connect()
            other.write(b"hello\n")
            assert await other_reader.readline() == b"hello\n"
            await asyncio.sleep(0.1)
            assert sum(served.sessions[0].pieces) == len(b"first\nwait\n"), "nothing runs meanwhile"
            served.sessions[0].on_ready()
            assert await reader.readline() == b"waited\n"
            assert await reader.readline() == b"behind\n"
            for _ in range(20_000):
                assert await reader.readline() == b"and more\n"
            writer.write(b"wait\n")
            await until(lambda: served.sessions[0].is_blocked)
            writer.close()
            await until(lambda: served.sessions[0].closed)
            served.sessions[0].on_ready()
            await asyncio.sleep(0.05)
            other.close()

    run(test)


def test_answers_that_are_held_back_come_later_and_nothing_overtakes_them() -> None:
    async def test() -> None:
        async with serving() as served:
            reader, writer = await served.connect()
            began = time.perf_counter()
            writer.write(b"later\n")
            await asyncio.sleep(0.05)
            writer.write(b"behind\nquit\n")
            other_reader, other = await served.connect()
            other.write(b"hello\n")
            assert await other_reader.readline() == b"hello\n"
            assert time.perf_counter() - began < 0.28
            assert await reader.readline() == b"slowed\n"
            assert time.perf_counter() - began >= 0.29
            assert await reader.readline() == b"behind\n"
            assert await reader.readline() == b"bye\n" and await reader.read() == b""
            writer.close()
            other.close()

    run(test)


def test_a_client_that_does_not_read_is_no_longer_read_from() -> None:
    async def test() -> None:
        async with serving() as served:
            loop = asyncio.get_running_loop()
            client = socket.create_connection(("127.0.0.1", served.port))
            client.setblocking(False)
            sender = loop.create_task(loop.sock_sendall(client, b"big\n" * 5000 + b"end\n"))
            await until(lambda: bool(served.sessions) and sum(served.sessions[0].pieces) > 0)
            await asyncio.sleep(0.2)
            connection = next(iter(served.server.clients.values()))
            transport = connection._transport
            assert transport is not None
            assert transport.get_write_buffer_size() <= OUTPUT_HIGH + SLICE_BYTES_FIRST // 4 * 100_000
            assert not transport.is_reading()
            received = 0
            tail = b""
            while not tail.endswith(b"end\n"):
                data = await loop.sock_recv(client, 1 << 20)
                received += len(data)
                tail = (tail + data)[-4:]
            assert received == 5000 * 100_000 + 4
            await sender
            client.close()

    run(test)


@pytest.mark.parametrize(("limit", "high"), [(64 * 1024, 64 * 1024), (16 * OUTPUT_HIGH, OUTPUT_HIGH)])
def test_unread_answers_are_looked_at_from_the_limit_on_where_that_is_low(limit: int, high: int) -> None:
    async def test() -> None:
        async with serving(client_output_bytes_max=limit) as served:
            _, writer = await served.connect()
            await until(lambda: bool(served.server.clients))
            transport = next(iter(served.server.clients.values()))._transport
            assert transport is not None
            assert transport.get_write_buffer_limits()[1] == high
            writer.close()

    run(test)


def test_answers_above_the_limit_end_the_connection() -> None:
    async def test() -> None:
        async with serving(client_output_bytes_max="64kb") as served:
            client = socket.create_connection(("127.0.0.1", served.port))
            client.sendall(b"big\n" * 200)
            await until(lambda: bool(served.sessions) and served.sessions[0].closed)
            assert not served.server.clients
            client.close()

    run(test)


def test_more_clients_than_allowed_are_told() -> None:
    async def test() -> None:
        async with serving(maxclients=2) as served:
            kept = [await served.connect() for _ in range(2)]
            for reader, writer in kept:
                writer.write(b"a\n")
                assert await reader.readline() == b"a\n"
            reader, writer = await served.connect()
            assert await reader.read() == b"-ERR max number of clients reached\r\n"
            writer.close()
            kept[0][1].close()
            await until(lambda: len(served.server.clients) == 1)
            reader, writer = await served.connect()
            writer.write(b"b\n")
            assert await reader.readline() == b"b\n"
            for each in (kept[1][1], writer):
                each.close()

    run(test)


def test_clients_that_are_refused_are_counted_in_info_and_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refused(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b"-ERR max number of clients reached\r\n"
        writer.close()

    async def test() -> None:
        runtime = Runtime(load({"gossip_port": 0, "port": 0, "maxclients": 1}))
        runtime.open()
        listener = listen("127.0.0.1", 0, "clients")
        server = redis_server(runtime)
        await server.start(listener)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(listener))
        writer.write(b"PING\r\n")
        assert (await reader.readline()).startswith((b"+", b"-"))
        for _ in range(2):
            await refused(port_of(listener))
        server._told_s -= QUIET_S  # a minute later
        await refused(port_of(listener))
        writer.write(b"INFO stats\r\n")
        assert b"rejected_connections:3\r\n" in await reader.readuntil(b"rejected_connections:3\r\n")
        writer.close()
        server.close()
        listener.close()
        await runtime.close()

    run(test)
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("too many clients")]
    assert told == ["too many clients maxclients=1 refused=1", "too many clients maxclients=1 refused=3"]


def test_the_last_answer_is_sent_before_a_session_closes() -> None:
    async def test() -> None:
        async with serving() as served:
            reader, writer = await served.connect()
            writer.write(b"a\nquit\nb\n" + b"c\n" * 100_000)
            assert await reader.readline() == b"a\n" and await reader.readline() == b"bye\n"
            await until(lambda: served.sessions[0].closed)
            writer.close()

    run(test)


def test_many_idle_connections() -> None:
    async def test() -> None:
        async with serving() as served:
            address = ("127.0.0.1", served.port)
            idle = [socket.create_connection(address) for _ in range(1000)]  # all before the loop accepts one
            await until(lambda: len(served.server.clients) == 1000)
            reader, writer = await served.connect()
            writer.write(b"a\n")
            assert await reader.readline() == b"a\n"
            for each in idle:
                each.close()
            await until(lambda: len(served.server.clients) == 1)
            writer.close()

    run(test)
