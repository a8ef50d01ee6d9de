"""What the Redis server does once a turn of the event loop, whatever fails: run short requests, write answers."""

import asyncio
import time
from typing import cast

import pytest

from marmoset.node import Node
from marmoset.server import SLICE_BYTES_FIRST, TURN_S, ClientConnection
from tests.test_server import LIMIT_S, Served, run, serving, until


class Transport:
    """Notes what is written and when it is closed."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.written_s = 0.0

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.written_s = time.perf_counter()

    def close(self) -> None:
        self.written.append(b"(closed)")

    def abort(self) -> None:
        self.written.append(b"(aborted)")

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return "127.0.0.1", 1

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return b"(closed)" in self.written

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        pass


def connected(served: Served) -> tuple[ClientConnection, Transport]:
    client, transport = ClientConnection(served.server), Transport()
    client.connection_made(cast("asyncio.BaseTransport", transport))
    return client, transport


async def next_turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_answers_are_written_once_for_each_client_at_the_end_of_the_turn() -> None:
    async def test() -> None:
        async with serving() as served:
            (one, to_one), (other, to_other) = connected(served), connected(served)
            began = time.perf_counter()
            one.data_received(b"a\n")
            other.data_received(b"b\n" * 1000)
            one.data_received(b"c\n")
            took_s = time.perf_counter() - began
            written = to_one.written + to_other.written
            assert not written or took_s > TURN_S, "the turn did not take long"
            await next_turn()
            assert b"".join(to_one.written) == b"a\nc\n" and b"".join(to_other.written) == b"b\n" * 1000
            assert written or (len(to_one.written) == len(to_other.written) == 1)
            one.data_received(b"d\n")
            await next_turn()
            assert b"".join(to_one.written) == b"a\nc\nd\n" and b"".join(to_other.written) == b"b\n" * 1000

    run(test)


def test_answers_do_not_wait_for_a_turn_that_takes_long() -> None:
    async def test() -> None:
        async with serving() as served:
            (one, to_one), (busy, to_busy) = connected(served), connected(served)
            one.data_received(b"a\n")
            busy.data_received(b"slow\n" * 50 + b"b\n" * 300)
            assert to_one.written == [b"a\n"]
            async with asyncio.timeout(LIMIT_S):
                while b"".join(to_busy.written) != b"b\n" * 300:
                    await asyncio.sleep(0)

    run(test)


def test_the_loop_has_its_turn_between_the_slices_of_a_long_pipeline() -> None:
    async def test() -> None:
        async with serving() as served:
            client, transport = connected(served)
            line = b"b" * (SLICE_BYTES_FIRST - len(b"slow\n\n")) + b"\n"
            client.data_received((b"slow\n" + line) * 20)
            turns = 0
            async with asyncio.timeout(LIMIT_S):
                while b"".join(transport.written).count(line) < 20:
                    turns += 1
                    await asyncio.sleep(0)
            assert turns >= 8, "each slice takes as long as may be"

    run(test)


def test_answers_do_not_wait_for_many_short_requests_that_take_long() -> None:
    async def test() -> None:
        async with serving() as served:
            clients = [connected(served) for _ in range(10)]
            for client, _ in clients:
                client.data_received(b"slow\na\n")
            await next_turn()
            assert [transport.written for _, transport in clients] == [[b"a\n"]] * 10
            assert clients[-1][1].written_s - clients[0][1].written_s > TURN_S, "all at the end"

    run(test)


def test_a_client_that_cannot_be_written_to_keeps_nobody_from_their_answers() -> None:
    class Broken(Transport):
        def write(self, data: bytes) -> None:
            raise MemoryError("a test")

    async def test() -> None:
        async with serving() as served:
            (one, _), (other, to_other) = connected(served), connected(served)
            broken = Broken()
            one.connection_made(cast("asyncio.BaseTransport", broken))
            one.data_received(b"a\n")
            other.data_received(b"b\n")
            await next_turn()
            assert broken.written == [b"(aborted)"] and to_other.written == [b"b\n"]

    run(test)


def test_short_requests_run_in_one_go_at_the_end_of_the_turn_and_before_what_comes_behind_them() -> None:
    async def test() -> None:
        async with serving() as served:
            (one, to_one), (other, to_other) = connected(served), connected(served)
            for client in (one, other):
                client.data_received(b"a\n")
            assert [session.pieces for session in served.sessions] == [[], []]
            one.data_received(b"b\n")
            assert served.sessions[0].pieces == [2], "the first was to run before the second waits"
            other.data_received(b"b" * SLICE_BYTES_FIRST + b"\n")
            assert served.sessions[1].pieces == [2, SLICE_BYTES_FIRST, 1]
            await next_turn()
            assert served.sessions[0].pieces == [2, 2] and b"".join(to_one.written) == b"a\nb\n"
            assert b"".join(to_other.written) == b"a\n" + b"b" * SLICE_BYTES_FIRST + b"\n"

    run(test)


@pytest.mark.parametrize("how", ["turn", "eof", "lost", "close", "pipeline", "resume"])
def test_a_fault_in_a_request_ends_its_client_alone(how: str) -> None:
    async def test() -> None:
        async with serving() as served:
            (one, _), (other, to_other) = connected(served), connected(served)
            fragile, session = Transport(), served.sessions[0]
            one._transport = cast("asyncio.Transport", fragile)
            one.data_received(b"break\n" + b"a\n" * (SLICE_BYTES_FIRST if how == "pipeline" else 0))
            other.data_received(b"b\n")
            if how == "eof":
                one.eof_received()
            elif how == "close":
                one.close()
            elif how == "resume":
                one._arrived = b""
                session.resume = lambda: session.receive(b"break\n")  # type: ignore[method-assign]
                session.on_ready()
            elif how == "lost":
                one.connection_lost(None)
            await next_turn()
            assert fragile.written[:1] == [b"(aborted)"] and to_other.written == [b"b\n"]
            one.connection_lost(None)
            assert session.closed and one not in served.server.clients.values() and len(session.pieces) == 1

    run(test)


def test_nothing_of_a_client_runs_behind_a_fault() -> None:
    async def test() -> None:
        async with serving() as served:
            client, transport = connected(served)
            client.data_received(b"a\n")
            client.fail("write_answers", MemoryError("a test"))
            client.connection_lost(None)
            await next_turn()
            assert transport.written == [b"(aborted)"] and not served.sessions[0].pieces and served.sessions[0].closed

    run(test)


@pytest.mark.parametrize("how", ["pipeline", "resume"])
def test_what_was_written_before_a_fault_has_its_turn(how: str) -> None:
    async def test() -> None:
        async with serving() as served:
            client, _ = connected(served)
            session = served.sessions[0]
            await next_turn()
            assert not served.server.runtime._turn_wanted
            if how == "pipeline":
                client.data_received(b"a\nbreak\n" + b"a\n" * SLICE_BYTES_FIRST)
            else:
                session.resume = lambda: session.receive(b"a\nbreak\n")  # type: ignore[method-assign]
                client._resume()
            assert served.server.runtime._turn_wanted

    run(test)


def test_short_requests_wait_behind_an_answer_that_is_held_back() -> None:
    async def test() -> None:
        async with serving() as served:
            client, transport = connected(served)
            client.data_received(b"later\n")
            await next_turn()
            client.data_received(b"a\n")
            await next_turn()
            assert not transport.written and served.sessions[-1].pieces == [6]
            await until(lambda: b"".join(transport.written) == b"slowed\na\n")

    run(test)


@pytest.mark.interpreted
def test_a_fault_at_the_end_of_a_turn_keeps_nobody_from_their_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(node: Node) -> None:
        raise RuntimeError("a test")

    async def test() -> None:
        async with serving() as served:
            faults: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
            client, transport = connected(served)
            with monkeypatch.context() as patched:
                patched.setattr(Node, "end_turn", fail)
                client.data_received(b"a\n")
                await next_turn()
            assert transport.written == [b"a\n"] and [str(each) for each in faults] == ["a test"]

    run(test)


def test_many_bytes_are_not_kept() -> None:
    async def test() -> None:
        async with serving() as served:
            client, transport = connected(served)
            client.data_received(b"first\n")
            client.data_received(b"big\n" + b"\n" * SLICE_BYTES_FIRST)
            assert transport.written[0].startswith(b"first\n" + b"x" * 100_000), "kept for the end of the turn"
            await next_turn()
            del transport.written[:]
            client.data_received(b"next\n")
            assert not transport.written
            await next_turn()
            assert transport.written == [b"next\n"]

    run(test)


def test_a_client_that_sends_no_more_and_one_that_is_closed_have_their_answers_first() -> None:
    async def test() -> None:
        async with serving() as served:
            for end in (ClientConnection.eof_received, ClientConnection.close):
                client, transport = connected(served)
                client.data_received(b"a\n")
                assert not end(client) and transport.written[0] == b"a\n"
            client, transport = connected(served)
            client.data_received(b"a\nquit\n")
            await next_turn()
            assert transport.written == [b"a\nbye\n", b"(closed)"]
            client, transport = connected(served)
            client.data_received(b"a\n")
            client.connection_lost(None)
            assert served.sessions[-1].pieces == [2], "what came before the end did not run"
            await next_turn()
            assert not transport.written
            client, transport = connected(served)
            client.data_received(b"a\nlater\n")
            client.data_received(b"behind\n")
            await until(lambda: transport.written == [b"a\nslowed\n", b"behind\n"])

    run(test)
