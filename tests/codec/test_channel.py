"""Channels: two ends that agree on a key, what a meddler tries, and what each side is told."""

import copy
import pickle
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec import channel as channels
from marmoset.codec.channel import BROKEN, CHOICE, OFFER, OPEN, RECORD_BYTES, STATES, Channel
from marmoset.codec.frames import FrameReader, frame, frames
from marmoset.codec.keyring import Key, Keyring
from marmoset.codec.messages import Refuse, decode
from marmoset.codec.sealing import FORGED, MALFORMED, NO_KEY, NO_KEYRING, NOT_SEALED, SealError
from marmoset.errors import PeerError

A, B, C = (Key(bytes([n]) * size) for n, size in ((1, 16), (2, 24), (3, 32)))
HELLO = frames(b"ada of cluster marmoset says hello", 1 << 20)
FRAME_MAX = 1 << 20


def end(*keys: Key, dialled: bool, seed: int, cluster: str = "marmoset") -> Channel:
    ring = Keyring(keys) if keys else None
    return Channel(ring, cluster, dialled, Random(seed).randbytes(32), FRAME_MAX)


def pair(ours: tuple[Key, ...], theirs: tuple[Key, ...], seed: int = 1, **more: str) -> tuple[Channel, Channel]:
    return end(*ours, dialled=True, seed=seed), end(*theirs, dialled=False, seed=seed + 1000, **more)


def shake(dialler: Channel, acceptor: Channel) -> None:
    """The handshake, as two shells would carry it out."""
    assert acceptor.feed(dialler.first) == []
    assert not acceptor.is_open
    assert dialler.feed(acceptor.take_reply()) == []
    assert dialler.is_open and not acceptor.is_open, "the acceptor has seen no proof yet"
    assert acceptor.feed(dialler.seal(HELLO)) == [b"\x01ada of cluster marmoset says hello"]
    assert acceptor.is_open and acceptor.key_id == dialler.key_id


def opened(*ours: Key, seed: int = 1) -> tuple[Channel, Channel]:
    dialler, acceptor = pair(ours or (C,), ours or (C,), seed)
    shake(dialler, acceptor)
    return dialler, acceptor


def refusal(at: Channel, data: bytes) -> str:
    with pytest.raises(SealError) as caught:
        at.feed(data)
    assert at.state == BROKEN and at.feed(data) == [], "nothing is taken any more"
    return caught.value.reason


def test_every_state_can_be_reached_and_what_is_not_in_the_table_is_our_own_bug() -> None:
    assert {state for after in STATES.values() for state in after} | {
        end(A, dialled=dialled, seed=1).state for dialled in (True, False)
    } == set(STATES)
    with pytest.raises(AssertionError):
        end(A, dialled=True, seed=1)._become("awaiting proof")


# -- two that agree


@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=300)), max_size=20), st.integers(1, 40))
def test_what_is_sealed_on_one_side_comes_out_on_the_other_however_it_is_cut(
    said: list[tuple[bool, bytes]], step: int
) -> None:
    ends = opened()
    heard: tuple[list[bytes], list[bytes]] = ([], [])
    for from_dialler, message in said:
        data = ends[0 if from_dialler else 1].seal(frames(message, 50))
        for at in range(0, len(data), step):
            heard[from_dialler].extend(ends[1 if from_dialler else 0].feed(data[at : at + step]))
    for side in (True, False):
        expected = b"".join(frames(message, 50) for whose, message in said if whose is side)
        assert heard[side] == FrameReader(50).feed(expected)
    assert ends[0].held_bytes == ends[1].held_bytes == 0


def test_a_large_message_crosses_in_several_records() -> None:
    dialler, acceptor = opened()
    message = Random(0).randbytes(3 * RECORD_BYTES + 77)
    payloads = acceptor.feed(dialler.seal(frames(message, FRAME_MAX)))
    assert payloads == [b"\x01" + message]


def test_nothing_of_what_is_said_is_seen() -> None:
    dialler, acceptor = pair((C,), (C,))
    seen = dialler.first
    acceptor.feed(dialler.first)
    reply = acceptor.take_reply()
    dialler.feed(reply)
    seen += reply + dialler.seal(HELLO)
    assert b"ada" not in seen and b"marmoset" not in seen and C.secret[:8] not in seen
    assert C.id in seen


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ((A,), (A, B), A),
        ((A, B), (B, A), A),
        ((B, A), (A, B), B),
        ((B, A), (A,), A),
        ((C, B), (A, B), B),
    ],
)
def test_the_key_is_the_first_of_the_dialler_that_the_acceptor_has(
    ours: tuple[Key, ...], theirs: tuple[Key, ...], expected: Key
) -> None:
    dialler, acceptor = pair(ours, theirs)
    shake(dialler, acceptor)
    assert dialler.key_id == expected.id


def test_session_keys_are_replaced_while_the_link_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "REKEY_RECORDS", 4)
    dialler, acceptor = opened()
    sealing = dialler._sealing
    assert sealing is not None
    secrets = set()
    for number in range(30):
        assert acceptor.feed(dialler.seal(frame(b"%d" % number))) == [b"%d" % number]
        assert dialler.feed(acceptor.seal(frame(b"%d" % number))) == [b"%d" % number]
        secrets.add(sealing._secret)
    assert len(secrets) == 8


def test_no_two_session_keys_are_alike() -> None:
    secrets = []
    for seed in range(3):
        dialler, acceptor = opened(seed=seed)
        for direction in (dialler._sealing, dialler._opening):
            assert direction is not None
            secrets.append(direction._secret)
        assert acceptor._sealing is not None and acceptor._sealing._secret == secrets[-1]
    assert len(set(secrets)) == 6


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
def test_an_end_is_not_copied_since_it_counts_nonces(copied: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="one nonce"):
        copied(opened()[0])


# -- two that do not


def test_without_a_key_in_common_both_sides_are_told() -> None:
    dialler, acceptor = pair((A,), (B,))
    assert refusal(acceptor, dialler.first) == NO_KEY
    assert refusal(dialler, acceptor.take_reply()) == NO_KEY


def test_a_plain_node_that_is_dialled_says_that_it_has_no_keyring() -> None:
    dialler, acceptor = pair((A,), ())
    assert acceptor.is_open
    assert refusal(acceptor, dialler.first) == NO_KEYRING
    assert refusal(dialler, acceptor.take_reply()) == NOT_SEALED
    dialler = end(A, dialled=True, seed=1)
    assert refusal(dialler, HELLO) == NOT_SEALED, "its Hello comes first"


def test_a_plain_node_that_dials_is_refused_in_its_own_language() -> None:
    dialler, acceptor = pair((), (A,))
    assert refusal(acceptor, HELLO) == NOT_SEALED
    (payload,) = dialler.feed(acceptor.take_reply())
    told = decode(payload[1:])
    assert isinstance(told, Refuse) and told.code == "encryption" and "no keyring" in told.reason


def test_two_plain_ends_pass_on_what_there_is() -> None:
    dialler, acceptor = pair((), ())
    assert dialler.first == b"" and dialler.seal(HELLO) == HELLO and dialler.is_open
    assert acceptor.feed(HELLO) == FrameReader(FRAME_MAX).feed(HELLO)
    assert acceptor.feed(frame(bytes([OFFER]))) == [bytes([OFFER])], "only what comes first is an offer"


def test_another_cluster_with_the_same_key_is_foreign() -> None:
    dialler, acceptor = pair((A,), (A,), cluster="another")
    acceptor.feed(dialler.first)
    assert refusal(dialler, acceptor.take_reply()) == FORGED


# -- a meddler


def test_records_that_are_replayed_reordered_left_out_or_reflected_do_not_open() -> None:
    for name in ("replayed", "reordered", "left out", "reflected", "of another link"):
        dialler, acceptor = opened()
        one, two = dialler.seal(frame(b"one")), dialler.seal(frame(b"two"))
        if name == "replayed":
            assert acceptor.feed(one) == [b"one"]
            assert refusal(acceptor, one) == FORGED, name
        elif name == "reordered" or name == "left out":
            assert refusal(acceptor, two) == FORGED, name
        elif name == "reflected":
            assert refusal(dialler, one) == FORGED, name
        else:
            assert refusal(opened(seed=2)[1], one) == FORGED, name


@given(st.data())
def test_any_change_to_a_record_is_noticed(data: st.DataObject) -> None:
    dialler, acceptor = opened()
    record = bytearray(dialler.seal(frame(b"a value")))
    at = data.draw(st.integers(4, len(record) - 1))
    record[at] ^= data.draw(st.integers(1, 255))
    assert refusal(acceptor, bytes(record)) == FORGED


@given(st.data())
def test_any_change_to_the_handshake_is_noticed_by_one_side_before_anything_is_said(data: st.DataObject) -> None:
    dialler, acceptor = pair((A, B), (B, C))
    steps = [dialler.first, b""]
    changed = data.draw(st.integers(0, 1))

    def meddle(part: bytes) -> bytes:
        at = data.draw(st.integers(4, len(part) - 1))
        altered = bytearray(part)
        altered[at] ^= data.draw(st.integers(1, 255))
        return bytes(altered)

    with pytest.raises(PeerError):
        acceptor.feed(meddle(steps[0]) if changed == 0 else steps[0])
        reply = acceptor.take_reply()
        dialler.feed(meddle(reply) if changed == 1 else reply)
    assert not dialler.is_open and not acceptor.is_open


def test_nobody_can_shorten_the_dialler_s_list_to_an_older_key() -> None:
    dialler, acceptor = pair((B, A), (A, B))
    offer = dialler.first[4:-8] + A.id
    acceptor.feed(frame(offer))
    assert refusal(dialler, acceptor.take_reply()) == FORGED


def test_a_whole_recorded_connection_opens_with_nobody() -> None:
    dialler, acceptor = pair((C,), (C,))
    acceptor.feed(dialler.first)
    reply = acceptor.take_reply()
    dialler.feed(reply)
    said = dialler.seal(HELLO)
    answered = acceptor.feed(said) and acceptor.seal(HELLO)
    again = end(C, dialled=False, seed=77)  # the dialler's side is played again
    assert again.feed(dialler.first) == []
    assert refusal(again, said) == FORGED and not again.is_open
    again = end(C, dialled=True, seed=78)  # the acceptor's side is
    assert refusal(again, reply) == FORGED
    assert answered


def test_the_same_randomness_on_one_side_is_no_harm_as_long_as_the_other_s_is_fresh() -> None:
    dialler, acceptor = end(C, dialled=True, seed=1), end(C, dialled=False, seed=2)
    shake(dialler, acceptor)
    other_dialler, other = end(C, dialled=True, seed=1), end(C, dialled=False, seed=3)
    shake(other_dialler, other)
    assert dialler._sealing is not None and other_dialler._sealing is not None
    assert dialler._sealing._secret != other_dialler._sealing._secret


@pytest.mark.parametrize(
    "offer",
    [
        bytes([OFFER]),
        bytes([OFFER, 1]) + bytes(32),
        bytes([OFFER, 1]) + bytes(32) + b"abc",
        bytes([OFFER, 1]) + bytes(32) + b"abcd" * 17,
        bytes([OFFER, 2]) + bytes(32) + A.id,
        bytes([CHOICE]) + bytes(68),
        b"\xff",
    ],
)
def test_what_is_no_offer_is_refused_without_an_answer(offer: bytes) -> None:
    acceptor = end(A, dialled=False, seed=1)
    assert refusal(acceptor, frame(offer)) == MALFORMED
    assert acceptor.take_reply() == b""


@pytest.mark.parametrize(
    "choice", [bytes([CHOICE]), bytes([CHOICE]) + bytes(68), b"\x04", b"\x04\x09", b"\x04\x00\x00"]
)
def test_what_is_no_choice_is_refused(choice: bytes) -> None:
    assert refusal(end(A, dialled=True, seed=1), frame(choice)) == MALFORMED


@pytest.mark.parametrize("record", [b"x", b"x" * 15, b"x" * 16, b"x" * 100])
def test_records_that_are_none(record: bytes) -> None:
    assert refusal(opened()[1], frame(record)) == FORGED


def test_a_length_that_lies_ends_the_link_and_holds_nothing() -> None:
    acceptor = end(A, dialled=False, seed=1)
    with pytest.raises(PeerError, match="a frame of"):
        acceptor.feed(b"GET / HTTP/1.1\r\n\r\n")
    acceptor = end(A, dialled=False, seed=1)
    assert acceptor.feed((RECORD_BYTES + 16).to_bytes(4, "big") + bytes(RECORD_BYTES)) == []
    assert acceptor.held_bytes <= RECORD_BYTES + 20
    assert opened()[0].state == OPEN
