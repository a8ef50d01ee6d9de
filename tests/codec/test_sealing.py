"""Sealed datagrams: what opens, what does not and is counted, and nonces that never come twice."""

import copy
import pickle
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec import sealing
from marmoset.codec.keyring import KEY_ID_BYTES, Key, Keyring
from marmoset.codec.sealing import (
    FORGED,
    MALFORMED,
    NO_KEY,
    NO_KEYRING,
    NOT_SEALED,
    REASONS,
    SEALED_OVERHEAD,
    PacketSealer,
    SealError,
)

A, B, C = (Key(bytes([n]) * size) for n, size in ((1, 16), (2, 24), (3, 32)))
PACKET = b"ada is alive at 10.0.0.1"


def sealer(*keys: Key, cluster: str = "marmoset", seed: int = 0) -> PacketSealer:
    return PacketSealer(Keyring(keys) if keys else None, cluster, Random(seed).randbytes)


def refusal(opener: PacketSealer, data: bytes) -> str:
    with pytest.raises(SealError) as caught:
        opener.open(data)
    assert str(caught.value) == REASONS[caught.value.reason] and not caught.value.changed
    assert sum(opener.refused.values()) == opener.refused[caught.value.reason] == 1
    return caught.value.reason


@given(st.binary(max_size=2000), st.sampled_from([A, B, C]))
def test_a_packet_comes_back_and_is_longer_by_the_overhead(packet: bytes, key: Key) -> None:
    for one in (sealer(), sealer(key)):
        data = one.seal(packet)
        assert len(data) == len(packet) + one.overhead
        assert one.open(data) == packet
    assert sealer(key).overhead == SEALED_OVERHEAD and sealer().overhead == 1


def test_nothing_of_a_packet_is_seen() -> None:
    data = sealer(C).seal(PACKET * 9)
    assert b"ada" not in data and b"alive" not in data


def test_equal_packets_are_sealed_differently_and_the_same_seed_gives_the_same_bytes() -> None:
    one = sealer(C)
    first, second = one.seal(PACKET), one.seal(PACKET)
    assert first != second
    assert [first, second] == [again.seal(PACKET) for again in [sealer(C)] for _ in range(2)]


def test_every_key_of_the_ring_opens_and_the_first_one_seals() -> None:
    old, middle, new = sealer(A), sealer(A, B), sealer(B, A)
    assert middle.open(new.seal(PACKET)) == PACKET
    assert new.open(old.seal(PACKET)) == PACKET
    assert old.open(middle.seal(PACKET)) == PACKET
    assert refusal(old, new.seal(PACKET)) == NO_KEY
    new.use(Keyring([B]))
    assert refusal(new, old.seal(PACKET)) == NO_KEY


def test_who_is_refused() -> None:
    data = sealer(A).seal(PACKET)
    assert refusal(sealer(), data) == NO_KEYRING
    assert refusal(sealer(A), sealer().seal(PACKET)) == NOT_SEALED
    assert refusal(sealer(A, cluster="another"), data) == FORGED
    for bad in (b"", b"\x02" + PACKET, data[: SEALED_OVERHEAD - 1], b"\x01"):
        assert refusal(sealer(A), bad) == MALFORMED


@given(st.data())
def test_any_change_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(sealer(A, B).seal(PACKET))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    expected = (NOT_SEALED, MALFORMED) if at == 0 else (NO_KEY,) if at <= KEY_ID_BYTES else (FORGED,)
    assert refusal(sealer(A, B), bytes(sealed)) in expected


def test_nonces_do_not_come_twice_also_behind_the_end_of_the_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "COUNTER_END", 5)
    one = sealer(A)
    nonces = [one.seal(b"")[1 + KEY_ID_BYTES :][:12] for _ in range(23)]
    assert len(set(nonces)) == 23
    assert len({nonce[:8] for nonce in nonces}) == 5


def test_another_ring_does_not_begin_the_nonces_again() -> None:
    one = sealer(A)
    first = one.seal(PACKET)
    one.use(Keyring([B, A]))
    one.use(Keyring([A]))
    assert one.seal(PACKET) != first


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_counts_nonces_is_not_copied(copied: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="one nonce"):
        copied(sealer(A))
