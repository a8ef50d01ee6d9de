"""Messages in bytes: round trips, one form of bytes for one content, and bytes that are none."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec.messages import PROTOCOL_VERSION, Batch, Hello, decode, encode, vector_pairs
from marmoset.codec.operations import Assign, Reset
from marmoset.codec.wire import encode_operations
from marmoset.errors import PeerError
from tests.codec.strategies import MESSAGES, any_message, vectors


@given(any_message)
def test_a_message_comes_back_as_it_was_and_has_one_form_of_bytes(message: object) -> None:
    data = encode(message)  # type: ignore[arg-type]
    decoded = decode(data)
    assert type(decoded) is type(message)
    assert encode(decoded) == data
    if not hasattr(message, "operations") and not hasattr(message, "entries"):
        assert decoded == message


def test_every_message_has_a_tag_of_its_own() -> None:
    tags = [cls.__struct_config__.tag for cls in MESSAGES]  # type: ignore[attr-defined]
    assert sorted(tags) == list(range(1, len(MESSAGES) + 1))


@given(st.dictionaries(st.integers(1, 99), st.integers(0, 99), max_size=9), st.randoms(use_true_random=False))
def test_equal_vectors_are_written_alike_whatever_the_order_in_which_they_came_about(
    vector: dict[int, int], rng: Random
) -> None:
    items = list(vector.items())
    rng.shuffle(items)
    assert vector_pairs(dict(items)) == vector_pairs(vector) == sorted(vector.items())


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_a_fault_of_the_peer(data: bytes) -> None:
    try:
        decode(data)
    except PeerError as problem:
        assert not problem.changed


@given(any_message, st.data())
def test_cut_or_changed_bytes_are_a_message_or_a_fault_of_the_peer(message: object, data: st.DataObject) -> None:
    encoded = bytearray(encode(message))  # type: ignore[arg-type]
    at = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(PeerError):
        decode(bytes(encoded[:at]))
    with pytest.raises(PeerError):
        decode(bytes(encoded) + b"\x00")
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        decode(bytes(encoded))
    except PeerError as problem:
        assert not problem.changed


def batch(**changes: object) -> Batch:
    fields: dict[str, object] = {
        "origin": 1, "first": 1, "count": 1, "stamp": 0, "state": 0, "raised": [], "dropped": [],
        "operations": encode_operations([Reset(b"k")], 1, 1),
    }  # fmt: skip
    return Batch(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": 0},
        {"origin": 1 << 60},
        {"origin": -1},
        {"first": 0},
        {"first": 1 << 60},
        {"count": 0},
        {"count": -5},
        {"stamp": -1},
        {"stamp": 1 << 62},
        {"state": 1 << 63},
        {"raised": [(1, -1)]},
        {"raised": [(0, 1)]},
        {"raised": [(i + 1, 1) for i in range(4097)]},
        {"raised": [(1, 2, 3)]},
        {"dropped": [0]},
        {"dropped": list(range(1, 4098))},
        {"dropped": ["1"]},
    ],
)
def test_numbers_out_of_bounds_are_a_fault_of_the_peer(changes: dict[str, object]) -> None:
    decode(encode(batch()))
    with pytest.raises(PeerError):
        decode(encode(batch(**changes)))


def test_texts_are_bounded() -> None:
    hello = Hello(PROTOCOL_VERSION, "c" * 513, 0, 1, "n", "a", 0, 0, [], [])
    with pytest.raises(PeerError):
        decode(encode(hello))


def test_nesting_without_end_is_a_fault_of_the_peer() -> None:
    for opening in (b"\x91", b"\x81\x01", b"\x98\x03\x01"):
        with pytest.raises(PeerError):
            decode(opening * 100_000)


def test_bytes_that_are_no_utf_8_in_a_text_are_a_fault_of_the_peer() -> None:
    data = encode(Hello(PROTOCOL_VERSION, "cluster", 0, 1, "n", "a", 0, 0, [], []))
    with pytest.raises(PeerError):
        decode(data.replace(b"cluster", b"\xff" * 7))


def test_a_length_that_promises_gigabytes_takes_none() -> None:
    for data in (
        b"\x98\x03\x01\x01\x01\x00\x00\xdd\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x93\x02\xdb\xff\xff\xff\xff",
    ):
        with pytest.raises(PeerError):
            decode(data)


def test_the_last_seq_of_a_batch() -> None:
    assert batch(first=5, count=3, operations=encode_operations([Assign(b"k", b"v")], 1, 5)).last == 7


@given(vectors)
def test_pairs_make_a_vector_again(pairs: list[tuple[int, int]]) -> None:
    assert dict(vector_pairs(dict(pairs))) == dict(pairs)
