"""Packets: round trips, what fits, and that nothing foreign does any harm."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec.packets import (
    INCARNATION_LIMIT,
    PACKET_BYTES_MAX,
    PACKET_PROTOCOL,
    PACKET_ROOM,
    SEALING_BYTES,
    Ack,
    Announcement,
    AnyBody,
    AnyUpdate,
    Claim,
    Details,
    Gone,
    Nack,
    Packet,
    Ping,
    PingRequest,
    Rumours,
    decode_packet,
    encode_head,
    encode_update,
    join_updates,
    room_after,
)
from marmoset.errors import PeerError

ids = st.integers(1, (1 << 60) - 1)
seqs = st.integers(0, (1 << 32) - 1)
incarnations = st.integers(0, INCARNATION_LIMIT - 1)
names = st.text(st.characters(codec="utf-8"), max_size=64)
bodies: st.SearchStrategy[AnyBody] = st.one_of(
    st.builds(Ping, seqs, ids),
    st.builds(Ack, seqs, ids, incarnations),
    st.builds(Nack, seqs),
    st.builds(PingRequest, seqs, ids),
    st.builds(Gone, seqs, ids),
    st.builds(Rumours),
)
claims = st.builds(Claim, st.integers(0, 3), ids, incarnations, ids)
details = st.builds(Details, names, names, names, names)
updates: st.SearchStrategy[AnyUpdate] = st.one_of(claims, st.builds(Announcement, ids, incarnations, details))


@given(names, ids, incarnations, bodies, st.lists(updates, max_size=20))
def test_a_packet_comes_back_as_it_was(
    cluster: str, sender: int, incarnation: int, body: AnyBody, rumours: list[AnyUpdate]
) -> None:
    head = encode_head(cluster, sender, incarnation, body)
    room, chosen = room_after(head), []
    for update in rumours:
        if len(encode_update(update)) <= room:
            room -= len(encode_update(update))
            chosen.append(update)
    data = join_updates(head, [encode_update(update) for update in chosen])
    assert len(data) <= PACKET_ROOM == PACKET_BYTES_MAX - SEALING_BYTES
    assert decode_packet(data) == Packet(PACKET_PROTOCOL, cluster, sender, incarnation, body, chosen)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 60, 255])
def test_any_number_of_updates_is_counted_rightly(count: int) -> None:
    rumours = [Claim(1, n + 1, 0, 5) for n in range(count)]
    data = join_updates(encode_head("c", 1, 0, Rumours()), [encode_update(update) for update in rumours])
    if len(data) <= PACKET_BYTES_MAX:
        assert decode_packet(data).updates == rumours


GOOD = join_updates(encode_head("c", 1, 0, Ping(1, 2)), [encode_update(Claim(1, 3, 4, 5))])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        GOOD[:-1],
        GOOD + b"\x00",
        b"\x93" * 1399,  # as deep as a packet is long
        join_updates(encode_head("c" * 65, 1, 0, Ping(1, 2)), []),
        join_updates(encode_head("c", 0, 0, Ping(1, 2)), []),
        join_updates(encode_head("c", 1 << 60, 0, Ping(1, 2)), []),
        join_updates(encode_head("c", 1, INCARNATION_LIMIT, Ping(1, 2)), []),
        join_updates(encode_head("c", 1, 0, Ping(1 << 32, 2)), []),
        join_updates(encode_head("c", 1, 0, Ping(1, 2)), [encode_update(Claim(4, 3, 4, 5))]),
        join_updates(encode_head("c", 1, 0, Ping(1, 2)), [encode_update(Claim(1, 3, INCARNATION_LIMIT, 5))]),
    ],
)
def test_what_is_no_packet_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        decode_packet(data)


def test_a_packet_that_is_too_long_is_not_looked_at() -> None:
    many = [encode_update(Claim(1, n + 1, 0, 5)) for n in range(250)]
    data = join_updates(encode_head("c", 1, 0, Rumours()), many)
    assert len(data) > PACKET_BYTES_MAX
    with pytest.raises(PeerError, match="bytes"):
        decode_packet(data)


def test_mutated_packets_are_packets_or_peer_errors() -> None:
    rng = Random(7)
    refused = 0
    for _ in range(20_000):
        data = bytearray(GOOD)
        for _ in range(rng.randint(1, 4)):
            kind, place = rng.randrange(3), rng.randrange(len(data) or 1)
            if kind == 0 and data:
                data[place] = rng.randrange(256)
            elif kind == 1:
                data.insert(place, rng.randrange(256))
            else:
                del data[place : place + rng.randint(1, 3)]
        try:
            decode_packet(bytes(data))
        except PeerError:
            refused += 1
    assert 10_000 < refused < 20_000
