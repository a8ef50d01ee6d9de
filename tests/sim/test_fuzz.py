"""The fuzzer: a short run, what it covers, and that it finds what is broken on purpose."""

from collections import Counter
from random import Random

import msgspec
import pytest

from marmoset.codec import channel, frames
from marmoset.codec.messages import Batch, decode
from marmoset.codec.packets import PACKET_BYTES_MAX, PACKET_PROTOCOL, Packet, decode_packet
from marmoset.codec.sealing import PacketSealer
from marmoset.codec.wire import STRUCTURES, decode_operations
from marmoset.errors import PeerError
from marmoset.membership.states import STATES as MEMBER_STATES
from marmoset.node.links import STATES
from marmoset.replication.exchange import Stream
from marmoset.sim import fuzz
from marmoset.sim.fuzz import Fuzzer
from marmoset.sim.mutation import BODIES, BOMBS, MESSAGES, UPDATES, Maker
from marmoset.sim.packet_fuzz import SIZES

PIECES = 10_000
SEED = 1


def test_a_short_run_with_a_fresh_seed_leaves_everything_standing() -> None:
    fuzzer = Fuzzer(Random().randrange(1 << 30))
    try:
        assert fuzzer.run(PIECES) >= PIECES
    except Exception as fault:
        raise AssertionError(f"seed {fuzzer.seed}, round {fuzzer._rounds}, piece {fuzzer.last.hex()}") from fault


def test_a_short_run_meets_every_state() -> None:
    fuzzer = Fuzzer(SEED)
    fuzzer.run(2 * PIECES)
    counts, states = fuzzer.counts, fuzzer.states
    assert {f"link {state}" for state in STATES} <= set(states)
    assert {"node waiting", "node joining", "node serving", "node leaving"} <= set(states)
    assert {f"member {state}" for state in MEMBER_STATES} <= set(states)
    assert {f"packet {body.__name__} to {size} members" for body in BODIES for size in SIZES} <= set(states)
    datagrams = ("packets: not opened", "packets: refused", "packets: read", "packets: answers and probes")
    for name in (*datagrams, "packets_in", "packets_bad", "packets_ignored"):
        assert counts[name] > 10, counts
    refused = ("codec: refused", "frames_bad", "said: bad message", "sealed: handshakes refused")
    for name in (*refused, "sealed: packets refused", "sealed: records refused", "codec: read"):
        assert counts[name] > 10, counts
    assert counts["said: serving"] > 10, "nodes still join"


def test_the_same_seed_spoils_the_same_pieces() -> None:
    runs = [Fuzzer(3) for _ in range(2)]
    for fuzzer in runs:
        fuzzer.run(2000)
    assert runs[0].counts == runs[1].counts and runs[0].states == runs[1].states and runs[0].last == runs[1].last


def test_the_command_says_what_became_of_the_pieces(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--count", "3000", "--seed", "4"]) == 0
    assert "nothing fell over" in capsys.readouterr().out


def test_messages_and_operations_of_every_type_are_made_and_can_be_read() -> None:
    maker = Maker(Random(1))
    seen: Counter[type] = Counter()
    for _ in range(3000):
        message = decode(maker.message())
        seen[type(message)] += 1
        if isinstance(message, Batch):
            operations = decode_operations(message.operations, message.origin, message.first)
            seen.update(type(operation) for operation in operations)
        seen[type(maker.operation())] += 1
    assert {*MESSAGES, *STRUCTURES, *STRUCTURES.values()} <= set(seen)


def test_packets_of_every_kind_are_made_that_can_be_read_and_most_spoilt_fields_can() -> None:
    maker = Maker(Random(1))
    maker.replicas = [7, 1 << 59]
    seen: Counter[type] = Counter()
    changed, longest, waited = 0, 0, 0
    for _ in range(1000):
        data = maker.packet(PACKET_PROTOCOL, "c", 7, [123_456])
        packet, longest = decode_packet(data), max(longest, len(data))
        seen.update([type(packet.body), *map(type, packet.updates)])
        waited += getattr(packet.body, "seq", 0) == 123_456
        spoilt = maker.spoil_packet(data)
        try:
            decode_packet(spoilt)
            changed += spoilt != data
        except PeerError:
            pass
    assert {*BODIES, *UPDATES} == set(seen)
    assert changed > 400 and waited > 300 and PACKET_BYTES_MAX - 100 < longest <= PACKET_BYTES_MAX


def test_spoilt_fields_still_pass_the_decoder_mostly() -> None:
    maker = Maker(Random(1))
    changed = 0
    for _ in range(1000):
        message = maker.message()
        spoilt = maker.spoil_fields(message)
        try:
            decode(spoilt)
            changed += spoilt != message
        except PeerError:
            pass
    assert changed > 400


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_before_they_take_memory(bomb: bytes) -> None:
    for data in (bomb, b"\x9f" + bomb, b"\x98\xff\x03" + bomb):
        with pytest.raises(PeerError):
            decode(data)


def _raise(*_: object, **__: object) -> None:
    raise KeyError("on purpose")


@pytest.mark.interpreted
def test_a_fault_is_printed_with_its_piece_and_the_way_to_play_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Stream, "receive", _raise)
    assert fuzz.main(["--count", "20000", "--seed", "1"]) == 1
    error = capsys.readouterr().err
    assert "KeyError" in error and "--seed 1 --count 20000" in error and "behind the piece" in error


def _whole(self: channel.Channel, data: bytes) -> list[bytes]:
    return [data[4:]] if data else []


def _decode_bare(data: bytes) -> object:
    return frames.HEADER.unpack(data)


def _open_uncounted(self: PacketSealer, data: bytes) -> bytes:
    return self._open(data)


_bare = msgspec.msgpack.Decoder(Packet)


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("place", "name", "broken"),
    [
        ("marmoset.membership.swim", "decode_packet", _bare.decode),
        ("marmoset.membership.swim", "room_after", lambda head: 5000),
        ("marmoset.codec.sealing.PacketSealer", "open", _open_uncounted),
        ("marmoset.node.liveness.Liveness", "handle_packet", lambda self, address, data: None),
        ("marmoset.sim.fuzz", "decode", _decode_bare),
        ("marmoset.node.node.Node", "break_off", _raise),
        ("marmoset.node.node", "decode", _decode_bare),
        ("marmoset.codec.frames.MessageReader", "feed", _whole),
        ("marmoset.node.node.Node", "_dropped", lambda self, link: None),
        ("marmoset.replication.replica", "check_batch", lambda *_: None),
    ],
)
def test_what_is_broken_on_purpose_is_found(
    place: str, name: str, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{place}.{name}", broken)
    fuzzer = Fuzzer(21 if name == "check_batch" else 1)  # it takes 1 to more than 100 rounds, by the seed
    if name == "check_batch":
        for _ in range(100):
            if not any(said.startswith("unsound") for said in fuzzer.counts):
                fuzzer._rounds += 1
                fuzzer._play("nodes", 500)
        assert any(said.startswith("unsound") for said in fuzzer.counts)
        return
    with pytest.raises(Exception):  # noqa: B017  # whatever it is
        fuzzer.run(20_000)
