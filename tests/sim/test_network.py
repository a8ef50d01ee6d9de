"""The simulated network: order within a link, cuts, breaks, crashes and pauses."""

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from marmoset.sim.network import CLOSED, PAUSED, RESUMED, Conditions, Network, Wire
from marmoset.sim.trace import Trace
from marmoset.sim.world import World


class End(SimpleNamespace):
    """As much of a host as the network sees."""

    def receive(self, wire: Wire, side: int, data: bytes) -> None:
        self.data += data

    def tell(self, wire: Wire, side: int, what: str) -> None:
        self.told.append(what)
        if what == CLOSED:
            wire.open[side] = False


def pair(**conditions: Any) -> tuple[World, Network, End, End, Wire]:
    world = World()
    network = Network(world, Random(1), Conditions(**conditions), Trace())
    ends = [End(name=n, data=b"", told=[], is_stopped=False, lag_us=0) for n in ("a", "b")]
    return world, network, ends[0], ends[1], Wire((ends[0], ends[1]), (1, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_bytes_arrive_in_order_whatever_the_latencies(seed: int) -> None:
    world, network, _, b, wire = pair(
        latency_us_max=90_000, loss_share=0.3, split_share=0.5, slow_share=0.5, slow_us_max=9
    )
    network.rng.seed(seed)
    sent = b""
    for i in range(50):
        piece = b"%d," % i
        sent += piece
        network.send(wire, 0, piece)
        world.run_until(world.now_us + network.rng.randrange(20_000))
        assert sent.startswith(b.data)
    world.run_until(10**9)
    assert b.data == sent


def test_a_cut_of_one_way_stops_that_way_alone_and_heals() -> None:
    world, network, a, b, wire = pair()
    network.cut([("a", "b")])
    network.send(wire, 0, b"to b")
    network.send(wire, 1, b"to a")
    world.run_until(100_000)
    assert (a.data, b.data) == (b"to a", b"")
    network.heal()
    world.run_until(200_000)
    assert b.data == b"to b"


def test_a_link_that_is_cut_for_too_long_breaks_at_both_ends_and_loses_what_was_under_way() -> None:
    world, network, a, b, wire = pair(break_us=1000)
    network.cut([("a", "b")])
    network.send(wire, 0, b"lost")
    world.run_until(100_000)
    network.heal()
    world.run_until(200_000)
    assert a.told == b.told == [CLOSED] and b.data == b"" and network.breaks == 1


def test_a_host_that_is_stopped_takes_nothing_but_its_link_stays() -> None:
    world, network, a, b, wire = pair(break_us=1000)
    b.is_stopped = True
    network.send(wire, 0, b"later")
    world.run_until(1_000_000)
    b.is_stopped = False
    network.kick()
    world.run_until(2_000_000)
    assert b.data == b"later" and not a.told


def test_what_waited_for_a_stopped_host_is_there_at_once_when_it_goes_on() -> None:
    world, network, a, b, wire = pair(latency_us_min=50_000, latency_us_max=60_000)
    b.is_stopped = True
    network.send(wire, 0, b"to b")
    network.cut([("b", "a")])
    network.send(wire, 1, b"to a")
    world.run_until(100_000)
    assert (a.data, b.data) == (b"", b"")
    b.is_stopped = False
    network.cuts.clear()
    network.kick(b)  # type: ignore[arg-type]
    world.run_until(100_001)
    assert (a.data, b.data) == (b"", b"to b")
    world.run_until(200_000)
    assert a.data == b"to a"


def test_a_sender_is_paused_above_the_window_and_resumed_below() -> None:
    world, network, a, b, wire = pair(window_bytes=10)
    for _ in range(5):
        network.send(wire, 0, b"12345678")
    assert a.told == [PAUSED]
    world.run_until(100_000)
    assert a.told == [PAUSED, RESUMED] and len(b.data) == 40


def test_what_was_sent_before_closing_arrives_before_the_end() -> None:
    world, network, _, b, wire = pair()
    network.send(wire, 0, b"last words")
    network.close(wire, 0)
    world.run_until(100_000)
    assert b.data == b"last words" and b.told == [CLOSED]


@pytest.mark.parametrize("silent", [False, True])
def test_of_a_crash_a_prefix_arrives_or_nothing_at_all(silent: bool) -> None:
    lengths = set()
    for seed in range(40):
        world, network, _, b, wire = pair()
        network.rng.seed(seed)
        for piece in (b"one,", b"two,", b"three,"):
            network.send(wire, 0, piece)
        network.drop(wire, 0, silent)
        world.run_until(10**8)
        assert b"one,two,three,".startswith(b.data) and b.told == [CLOSED]
        lengths.add(len(b.data))
    assert lengths == {0} if silent else len(lengths) > 3


def test_datagrams_are_lost_doubled_overtaken_and_cut() -> None:
    world, network, a, b, _ = pair(latency_us_max=50_000, loss_share=0.2)
    got: list[tuple[str, bytes]] = []
    a.address, b.address = "a:1", "b:1"
    b.receive_datagram = lambda address, data: got.append((address, data))
    network.hosts["b:1"] = b  # type: ignore[assignment]
    sent = [b"%d" % i for i in range(500)]
    for data in sent:
        network.send_datagram(a, "b:1", data)  # type: ignore[arg-type]
    network.send_datagram(a, "nobody:1", b"x")  # type: ignore[arg-type]
    world.run_until(10**6)
    payloads = [data for _, data in got]
    assert {address for address, _ in got} == {"a:1"} and set(payloads) < set(sent)
    assert 330 < len(set(payloads)) < 460, "a fifth is lost"
    assert len(payloads) > len(set(payloads)), "some came twice"
    assert payloads != sorted(payloads, key=sent.index)
    network.cut([("a", "b")])
    network.send_datagram(a, "b:1", b"cut")  # type: ignore[arg-type]
    world.run_until(2 * 10**6)
    assert b"cut" not in [data for _, data in got]
