"""The runtime: nodes on real sockets in one loop, what is said when something is in the way, and hostile bytes."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvloop

from marmoset.codec.channel import Channel
from marmoset.codec.keyring import Key, Keyring, key_line
from marmoset.codec.operations import SetAdd
from marmoset.config import Config, load
from marmoset.errors import PeerError, UsageError
from marmoset.logs import LOGGER
from marmoset.replication.report import CHANGED, Row
from marmoset.runtime import ListenError, Runtime, core, links, listen, port_of
from marmoset.runtime.links import SLICE_S, Link

QUICK: dict[str, object] = {
    "port": 0,
    "gossip_port": 0,
    "gossip_interval": "20ms",
    "unreachable_after": "600ms",
    "reconnect_min": "20ms",
    "reconnect_max": "200ms",
    "leave_timeout": "3s",
}
LIMIT_S = 10.0


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run one asynchronous test on uvloop, with a limit."""

    async def limited() -> None:
        await asyncio.wait_for(test(), 60)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(limited())


def quick(name: str, **more: object) -> Config:
    return load({**QUICK, "name": name, **more})


@asynccontextmanager
async def node(name: str, *join: Runtime, **more: object) -> AsyncIterator[Runtime]:
    """One node, serving."""
    joins = {"join": [other.config.address for other in join]} if join else {}
    runtime = Runtime(quick(name, **joins, **more))
    runtime.open()
    try:
        await runtime.start()
        await asyncio.wait_for(runtime.serving.wait(), LIMIT_S)
        yield runtime
    finally:
        await runtime.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(LIMIT_S):
        while not holds():
            await asyncio.sleep(0.005)


def add(runtime: Runtime, *elements: str) -> None:
    """Write as a client would: submit, and ask for the end of the turn."""
    with runtime.lock:
        for element in elements:
            runtime.node.replica.submit(SetAdd(b"s", [element.encode()]))
        runtime.want_turn()


def seen(runtime: Runtime) -> set[object]:
    return set(runtime.node.replica.keyspace.get(b"s") or ())  # type: ignore[arg-type]


@pytest.mark.parametrize(("first", "second"), [("::1", "::1"), ("::", "127.0.0.1")])
def test_nodes_find_each_other_alive_by_datagrams_over_ipv6_and_over_both_families(first: str, second: str) -> None:
    async def test() -> None:
        advertised = {"advertise": "127.0.0.1"} if first == "::" else {}
        async with node("a", bind=first, new_group=True, **advertised) as a, node("b", a, bind=second) as b:
            for one in (a, b):
                await until(lambda one=one: one.node.membership.counters["packets_in"] > 10)  # type: ignore[misc]
                counters = one.node.membership.counters
                assert counters["probes"] > 3 and not counters["probes_by_link"]
                assert {row["state"] for row in one.node.members()} == {"alive"}

    try:
        listen(first, 0, "a test").close()
    except ListenError as problem:
        pytest.skip(f"IPv6 IS NOT TESTED: {problem}")
    run(test)


def test_three_nodes_converge_and_come_to_rest() -> None:
    async def test() -> None:
        async with node("a") as a, node("b", a) as b, node("c", a, b) as c:
            nodes = [a, b, c]
            await until(lambda: all(len(n.node.replica.roster.present()) == 3 for n in nodes))
            for n in nodes:
                add(n, n.config.name, n.config.name * 2)
            wanted = {b"a", b"aa", b"b", b"bb", b"c", b"cc"}
            await until(lambda: all(seen(n) == wanted for n in nodes))
            await until(lambda: all(n.node.status()["log_batches"] == 0 for n in nodes))
            assert [n.node.status()["window_entries"] for n in nodes] == [0, 0, 0]
            for n in nodes:
                n.node._check()

    run(test)


def test_leaving_is_confirmed_and_the_others_forget() -> None:
    async def test() -> None:
        async with node("a") as a, node("b", a) as b:
            add(b, "x")
            end = await b.leave()
            assert (end.code, b.exited.done()) == (0, True)
            await b.close()
            await until(lambda: len(a.node.replica.roster.members) == 1)
            assert seen(a) == {b"x"}

    run(test)


def test_a_lost_link_is_opened_again() -> None:
    async def test() -> None:
        async with node("a") as a, node("b", a) as b:
            for turn in range(3):
                await until(lambda: len(a.node.linked) == len(b.node.linked) == 1)
                before = [link.number for link in a.node.linked.values()]
                for link in list(a._links.values()):
                    link.abort()
                add(a, f"{turn}")
                await until(lambda before=before: [n.number for n in a.node.linked.values()] not in ([], before))  # type: ignore[misc]
            await until(lambda: seen(b) == {b"0", b"1", b"2"})

    run(test)


def test_a_large_batch_crosses_in_frames() -> None:
    async def test() -> None:
        more: dict[str, object] = {"frame_bytes_max": "16kb", "link_buffer_max": "64kb"}
        async with node("a", **more) as a, node("b", a, **more) as b:
            elements = [f"{i:0100d}" for i in range(20_000)]
            with a.lock:
                a.node.replica.submit(SetAdd(b"s", [e.encode() for e in elements]))
                a.want_turn()
            await until(lambda: len(seen(b)) == len(elements))
            await until(lambda: a.node.status()["log_batches"] == 0)

    run(test)


def test_bytes_that_no_node_sends_end_their_link_and_nothing_else() -> None:
    async def test() -> None:
        async with node("a") as a, node("b", a) as b:
            for junk in (
                b"\xff" * 100,
                b"GET / HTTP/1.1\r\n\r\n",
                b"\x00\x00\x00\x05\x01junk",
                b"\x00\x00\x00\x00",
                b"\x00",
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", a.config.gossip_port)
                writer.write(junk)
                if junk != b"\x00":  # half a header is no mistake yet: it is only never finished
                    await asyncio.wait_for(reader.read(), LIMIT_S)
                writer.close()
            add(a, "alive")
            await until(lambda: seen(b) == {b"alive"})

    run(test)


def test_a_join_address_that_does_not_answer_is_said_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        placeholder = listen("127.0.0.1", 0, "a test")
        port = port_of(placeholder)
        placeholder.close()
        late = Runtime(quick("late", join=[f"127.0.0.1:{port}"]))
        late.open()
        await late.start()
        await until(lambda: late._link_last >= 3)
        assert sum("does not answer" in r.getMessage() for r in caplog.records) == 1, "said once a minute"
        assert late.node.state == "waiting"
        assert "LOADING" in str(late.node.refusal(False))
        first = Runtime(quick("first", gossip_port=port))
        first.open()
        await first.start()
        await asyncio.wait_for(late.serving.wait(), LIMIT_S)
        await late.close()
        await first.close()

    run(test)


def test_a_port_in_use_is_named() -> None:
    taken = listen("127.0.0.1", 0, "a test")
    try:
        with pytest.raises(ListenError, match=f"clients on 127.0.0.1:{port_of(taken)}: the port is in use"):
            listen("127.0.0.1", port_of(taken), "clients")
    finally:
        taken.close()


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ListenError, match="this machine has no such address"):
        listen("192.0.2.1", 0, "clients")


def test_beginning_a_group_for_others_has_to_be_asked_for() -> None:
    async def test() -> None:
        runtime = Runtime(quick("a", bind="0.0.0.0", advertise="127.0.0.1"))
        runtime.open()
        try:
            with pytest.raises(UsageError, match="--new-group"):
                await runtime.start()
        finally:
            await runtime.close()

    run(test)


class Recorder:
    """An owner of links that writes down what it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def link_opened(self, link: Link) -> None:
        self.heard.append("opened")

    def link_message(self, link: Link, payload: bytes) -> None:
        self.heard.append(payload)

    def link_paused(self, link: Link, paused: bool) -> None:
        self.heard.append("paused" if paused else "resumed")

    def link_broken(self, link: Link, problem: PeerError) -> None:
        self.heard.append(f"broken: {problem}")

    def link_closed(self, link: Link) -> None:
        self.heard.append("closed")


def plain() -> Channel:
    return Channel(None, "marmoset", False, b"", 1000)


def test_a_link_hands_on_everything_in_order_before_it_is_closed() -> None:
    async def test() -> None:
        recorder = Recorder()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: Link(recorder, 1, "", plain(), 1000), sock=ours)
        payloads = [b"%d" % i for i in range(5000)]
        await loop.sock_sendall(theirs, b"".join(len(p).to_bytes(4, "big") + p for p in payloads))
        theirs.close()
        await until(lambda: recorder.heard[-1] == "closed")
        assert recorder.heard == ["opened", *payloads, "closed"]

    run(test)


class SlowRecorder(Recorder):
    """One that works on each message for most of a slice."""

    def link_message(self, link: Link, payload: bytes) -> None:
        super().link_message(link, payload)
        until = time.perf_counter() + 0.75 * SLICE_S
        while time.perf_counter() < until:
            pass


def test_the_loop_has_its_turn_before_a_message_that_would_take_too_long() -> None:
    async def test() -> None:
        recorder = SlowRecorder()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        link = Link(recorder, 1, "", plain(), 1000)
        await loop.create_connection(lambda: link, sock=ours)
        await loop.sock_sendall(theirs, (b"\0\0\0\1" + b"m") * 8)

        def turn() -> None:
            recorder.heard.append("turn")
            if recorder.heard.count(b"m") < 8:
                loop.call_soon(turn)

        loop.call_soon(turn)
        await until(lambda: recorder.heard.count(b"m") == 8)
        heard = recorder.heard[:]
        link.abort()
        theirs.close()
        await until(lambda: recorder.heard[-1] == "closed")
        assert (b"m", b"m") not in set(pairwise(heard))

    run(test)


def test_a_link_that_is_not_read_says_so_and_is_seen_to_stall() -> None:
    async def test() -> None:
        recorder = Recorder()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        link = Link(recorder, 1, "", plain(), 100_000)
        await loop.create_connection(lambda: link, sock=ours)
        link.write(b"x" * 10_000_000)
        assert recorder.heard == ["opened", "paused"]
        assert link.stalled_s(1.0) == 0.0
        assert link.stalled_s(3.0) == 2.0
        while "resumed" not in recorder.heard:
            await loop.sock_recv(theirs, 1_000_000)
        assert link.stalled_s(4.0) == 0.0
        link.abort()
        theirs.close()
        await until(lambda: recorder.heard[-1] == "closed")

    run(test)


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring"
    path.touch(mode=0o600)
    path.write_text(key_line(bytes(32)))
    return path


def test_nodes_with_a_keyring_converge(ring: Path) -> None:
    async def test() -> None:
        async with node("a", keyring=str(ring)) as a, node("b", a, keyring=str(ring)) as b:
            add(a, *(f"{i:05}" * 100 for i in range(3000)))  # several records
            await until(lambda: len(seen(b)) == 3000)
            await until(lambda: a.node.status()["log_batches"] == 0)
            for runtime in (a, b):
                (link,) = runtime._links.values()
                assert link.channel.key_id == Key(bytes(32)).id
                assert runtime.node.counters["frames_bad"] == runtime.node.counters["handshakes_failed"] == 0

    run(test)


def test_a_changed_record_ends_its_link_is_counted_and_nothing_is_lost(ring: Path) -> None:
    async def test() -> None:
        async with node("a", keyring=str(ring)) as a, node("b", a, keyring=str(ring)) as b:
            await until(lambda: len(a.node.linked) == len(b.node.linked) == 1)
            (link,) = a._links.values()
            assert link.transport is not None
            link.transport.write(b"\x00\x00\x00\x20" + bytes(32))
            add(a, "x")
            await until(lambda: b.node.counters["frames_bad"] == 1)
            await until(lambda: seen(b) == {b"x"})

    run(test)


def test_who_does_not_come_to_the_end_of_a_handshake_is_given_up(
    ring: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(links, "HANDSHAKE_S", 0.1)

    async def test() -> None:
        async with node("a", keyring=str(ring)) as a:
            for said in (b"", Channel(Keyring([Key(bytes(32))]), "marmoset", True, bytes(32), 1000).first):
                reader, writer = await asyncio.open_connection("127.0.0.1", a.config.gossip_port)
                writer.write(said)
                answer = await asyncio.wait_for(reader.read(), LIMIT_S)
                assert len(answer) == (73 if said else 0), "at most a choice"
                writer.close()
            assert a.node.links == {}, "the node has heard of neither"
            await until(lambda: not a._shaking and not a._lingering)
            assert a.node.counters["handshakes_failed"] == 2
        silent = socket.create_server(("127.0.0.1", 0))
        waiting = Runtime(quick("b", join=[f"127.0.0.1:{silent.getsockname()[1]}"], keyring=str(ring)))
        waiting.open()
        await waiting.start()
        await until(lambda: "no handshake within" in waiting.last_problem)
        await until(lambda: waiting.node.counters["handshakes_failed"] >= 2)  # it tries again
        await waiting.close()
        silent.close()

    run(test)
    told = [record for record in caplog.records if "no handshake" in record.getMessage()]
    refused = [record for record in told if record.getMessage().startswith("link refused")]
    assert len(refused) == 2, "the same is not told again and again"


def test_a_node_that_ends_does_not_wait_for_handshakes(ring: Path) -> None:
    async def test() -> None:
        silent = socket.create_server(("127.0.0.1", 0))
        runtime = Runtime(quick("b", join=[f"127.0.0.1:{silent.getsockname()[1]}"], keyring=str(ring)))
        runtime.open()
        await runtime.start()
        await until(lambda: bool(runtime._shaking))
        began = asyncio.get_running_loop().time()
        await runtime.close()
        assert asyncio.get_running_loop().time() - began < 0.9
        silent.close()

    run(test)


def test_a_ring_that_is_read_again_ends_the_links_whose_key_is_gone_and_no_others(ring: Path) -> None:
    async def test() -> None:
        async with node("a", keyring=str(ring)) as a, node("b", a, keyring=str(ring)) as b:
            await until(lambda: len(a.node.linked) == len(b.node.linked) == 1)
            keys_a, keys_b = a.node.keyring, b.node.keyring
            assert keys_a is not None and keys_b is not None
            number = next(iter(a.node.links))
            for text in (
                f"{key_line(bytes(32))}\n{key_line(bytes(16))}",
                f"{key_line(bytes(16))}\n{key_line(bytes(32))}",
            ):
                ring.write_text(text)
                keys_a.reload()
                keys_b.reload()
            await asyncio.sleep(0.1)
            assert list(a.node.links) == [number], "both keys are there: the link stays"
            assert [row["seals"] for row in keys_a.rows()] == [1, 0]
            assert [row["links"] for row in keys_a.rows()] == [0, 1]
            ring.write_text(key_line(bytes(16)))
            keys_a.reload()
            keys_b.reload()
            await until(lambda: len(a.node.linked) == len(b.node.linked) == 1 and number not in a.node.links)
            assert [row["links"] for row in keys_a.rows()] == [1]
            add(b, "still")
            await until(lambda: seen(a) == {b"still"})

    run(test)


def test_a_ring_that_changes_in_mid_handshake_does_not_leave_a_link_with_an_old_key(ring: Path) -> None:
    async def test() -> None:
        async with node("a", keyring=str(ring)) as a:
            reader, writer = await asyncio.open_connection("127.0.0.1", a.config.gossip_port)
            writer.write(Channel(Keyring([Key(bytes(32))]), "marmoset", True, bytes(32), 1000).first)
            await asyncio.wait_for(reader.readexactly(73), LIMIT_S)
            ring.write_text(key_line(bytes(16)))
            assert a.node.keyring is not None
            assert len(a._shaking) == 1
            a.node.keyring.reload()
            assert not a._shaking
            assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
            writer.close()

    run(test)


def test_a_program_whose_log_breaks_does_not_break_the_node() -> None:
    """What was to be carried out behind a line would be lost: timers, and parts of streams."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError("no room on the disk")

    async def test() -> None:
        LOGGER.addHandler(broken)
        async with node("a") as a, node("b", a) as b, node("c", b) as c:
            add(a, "x")
            await until(lambda: seen(b) == seen(c) == {b"x"})
            add(c, "y")
            await until(lambda: all(each.node.replica.is_at_rest and seen(each) == {b"x", b"y"} for each in (a, b, c)))

    broken, level = Broken(), LOGGER.level
    LOGGER.setLevel(logging.DEBUG)
    try:
        run(test)
    finally:
        LOGGER.setLevel(level)
        LOGGER.removeHandler(broken)


@pytest.mark.interpreted
def test_a_node_that_is_stopped_while_it_cannot_submit_says_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "LEAVE_GRACE_S", 0.1)

    async def test() -> None:
        async with node("a", leave_timeout="0") as a:
            batch = SimpleNamespace(width=2)
            a.node.rehabilitating._exiles.append(SimpleNamespace(own=[batch], held=[]))  # type: ignore[arg-type]
            a.node.state = "rehabilitating"
            a.node.rehabilitating.report.put(Row((7, 1), SetAdd(b"k", [b"z"]), 1, CHANGED, "a", None))  # type: ignore[arg-type]
            told: list[str] = []
            monkeypatch.setattr(core, "log", lambda level, event, fields, *error: told.append(event))
            exit = await a.leave()
            assert told == ["not submitted"], "what its report holds ends with it"
            assert exit.code == 1 and "nor could it submit 2 operations that only this node had" in exit.why

    run(test)
