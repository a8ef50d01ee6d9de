"""Operations in bytes: round trips, and bytes that are none."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec import wire
from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Increment,
    Inside,
    Join,
    MapAssign,
    MapIncrement,
    Operation,
    ScoreAssign,
    SequenceInsert,
    SetAdd,
    SetRemove,
)
from marmoset.codec.runs import Pushes, Run
from marmoset.codec.wire import RUNS, SHAPES, decode_parts
from marmoset.errors import PeerError
from marmoset.ids import Dot
from tests.codec.strategies import OPERATIONS, any_operation, batch_operations, operation

raw = msgspec.msgpack.encode
ORIGIN, FIRST = 7, 40


def encode_operations(operations: list[AnyOperation]) -> bytes:
    """As a batch of `ORIGIN` has them, from `FIRST` on."""
    return wire.encode_operations(operations, ORIGIN, FIRST)


def decode_operations(encoded: bytes) -> list[AnyOperation]:
    return wire.decode_operations(encoded, ORIGIN, FIRST)


@given(batch_operations)
def test_operations_come_back_as_they_were_and_have_one_form_of_bytes(operations: list[object]) -> None:
    encoded = encode_operations(operations)  # type: ignore[arg-type]
    decoded = decode_operations(encoded)
    assert decoded == operations
    assert encode_operations(decoded) == encoded


runs = st.sampled_from([Assign, Increment, SetAdd, MapAssign, ScoreAssign, MapIncrement]).flatmap(
    lambda cls: st.lists(operation(cls), min_size=2, max_size=5)
)


@given(st.lists(runs | batch_operations, min_size=1, max_size=3))
def test_neighbours_of_one_kind_come_back_as_they_were_and_in_their_order(stretches: list[list[object]]) -> None:
    operations = [each for stretch in stretches for each in stretch]
    encoded = encode_operations(operations)  # type: ignore[arg-type]
    decoded = decode_operations(encoded)
    assert decoded == operations
    assert encode_operations(decoded) == encoded


def test_a_run_is_written_in_columns() -> None:
    written = encode_operations([Assign(b"k", b"v"), Assign(b"l", 7), Increment(b"n", 1), Assign(b"k", b"w")])
    assert msgspec.msgpack.decode(written) == [[64, [b"k", b"l"], [b"v", 7]], [3, b"n", 1], [2, b"k", b"w", False]]
    assert msgspec.msgpack.decode(encode_operations([Increment(b"k", 1), Increment(b"l", -2)])) == [
        [65, [b"k", b"l"], [1, -2]]
    ]
    assert msgspec.msgpack.decode(encode_operations([SetAdd(b"k", [b"x"]), SetAdd(b"l", [b"y"])])) == [
        [66, [b"k", b"l"], [b"x", b"y"]]
    ]
    for cls, tag in ((MapAssign, 67), (ScoreAssign, 68)):
        assert msgspec.msgpack.decode(encode_operations([cls(b"k", [b"f", 1]), cls(b"l", [b"g", b"2"])])) == [
            [tag, [b"k", b"l"], [b"f", b"g"], [1, b"2"]]
        ]


def test_one_key_of_all_is_written_once() -> None:
    operations: list[AnyOperation] = [SetAdd(b"k", [b"%d" % number]) for number in range(3)]
    assert msgspec.msgpack.decode(encode_operations(operations)) == [[66, [b"k"], [b"0", b"1", b"2"]]]
    assert msgspec.msgpack.decode(encode_operations([*operations, SetAdd(b"l", [b"3"])])) == [
        [66, [b"k", b"k", b"k", b"l"], [b"0", b"1", b"2", b"3"]]
    ]


RUNS_OF_ONE: list[list[Any]] = [
    [64, [b"k"], [1, b"2"]],
    [65, [b"k"], [1, 2]],
    [66, [b"k"], [b"e", b"f"]],
    [67, [b"k"], [b"f", b"g"], [1, 2]],
    [68, [b"k"], [b"m", b"n"], [1, b"0.5"]],
]


@pytest.mark.parametrize("run", RUNS_OF_ONE)
def test_a_run_of_one_key_has_two_operations_and_more_and_columns_of_one_length(run: list[Any]) -> None:
    assert msgspec.msgpack.decode(encode_operations(decode_operations(msgspec.msgpack.encode([run])))) == [run]
    tag, keys, *columns = run
    wrong = [
        [tag, keys, *[column[:1] for column in columns]],
        [tag, [], *columns],
        [tag, [b"k"] * 3, *columns],
    ]
    if columns[1:]:
        wrong += [[tag, keys, columns[0], columns[1] * 2], [tag, keys, columns[0] * 2, columns[1]]]
    for each in wrong:
        with pytest.raises(PeerError):
            decode_operations(msgspec.msgpack.encode([each]))


def pushed(key: bytes, first: int, left: Dot | None, right: Dot | None, front: bool, count: int) -> list[AnyOperation]:
    """Insertions of one value each, each beside the one before; the first has the seq `first`."""
    made: list[AnyOperation] = [SequenceInsert(key, left, right, [0])]
    for at in range(1, count):
        before = (ORIGIN, first + at - 1)
        made.append(SequenceInsert(key, left if front else before, before if front else right, [at]))
    return made


neighbours = st.none() | st.tuples(st.just(ORIGIN) | st.integers(1, 9), st.integers(1, FIRST - 1))
stretches_of_pushes = st.tuples(
    st.sampled_from([b"k", b"l"]), neighbours, neighbours, st.booleans(), st.integers(1, 5), st.booleans()
)


@given(st.lists(stretches_of_pushes, min_size=1, max_size=4))
def test_pushes_come_back_as_they_were_and_stand_together(stretches: list[Any]) -> None:
    operations: list[AnyOperation] = []
    for key, left, right, front, count, goes_on in stretches:
        seq = FIRST + len(operations)
        if goes_on and operations:  # beside the last one of the stretch before
            left, right = (left, (ORIGIN, seq - 1)) if front else ((ORIGIN, seq - 1), right)
        operations += pushed(key, seq, left, right, front, count)
    assert decode_operations(encode_operations(operations)) == operations
    [part] = decode_parts(encode_operations(pushed(b"k", FIRST, None, (3, 1), True, 9)), ORIGIN, FIRST)
    assert isinstance(part, Pushes) and part.dot == (ORIGIN, FIRST) and len(part.values) == 9
    [run] = decode_parts(encode_operations([SetAdd(b"k", [b"x"])] * 3), ORIGIN, FIRST)
    assert isinstance(run, Run) and run.count == 3 and run.keys == [b"k"]


def test_every_operation_has_a_tag_of_its_own() -> None:
    assert set(SHAPES) == set(OPERATIONS)
    tags = [tag for tag, _ in SHAPES.values()] + list(RUNS)
    assert len(set(tags)) == len(tags)


def test_tags_are_part_of_the_format() -> None:
    assert bytes(encode_operations([SetAdd(b"k", [b"e"])])) == b"\x91\x93\x04\xc4\x01k\x91\xc4\x01e"
    assert bytes(encode_operations([Join(7, "n", "h:1")]))[:3] == b"\x91\x94\x20"


@given(st.binary(max_size=60))
def test_any_bytes_are_operations_or_a_fault_of_the_peer(data: bytes) -> None:
    try:
        operations = decode_operations(data)
    except PeerError:
        return
    assert operations


@given(batch_operations, st.data())
def test_cut_or_changed_bytes_are_operations_or_a_fault_of_the_peer(
    operations: list[object], data: st.DataObject
) -> None:
    encoded = bytearray(encode_operations(operations))  # type: ignore[arg-type]
    at = data.draw(st.integers(0, len(encoded) - 1))
    if data.draw(st.booleans()):
        with pytest.raises(PeerError):
            decode_operations(bytes(encoded[:at]))
    encoded[at] = data.draw(st.integers(0, 255))
    try:
        decode_operations(bytes(encoded))
    except PeerError as problem:
        assert not problem.changed


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ([], "no operations"),
        ([[4, b"k", []]], "a set without elements"),
        ([[5, b"k", []]], "a removal of nothing"),
        ([[6, b"k", [b"f"]]], "a field without a value"),
        ([[6, b"k", [1, 2]]], "a field that is a number"),
        ([[6, b"k", [b"f", b"v", b"g"]]], "three of two"),
        ([[9, b"k", None, None, []]], "an insertion of nothing"),
        ([[9, b"k", [1, 0], None, [b"v"]]], "a neighbour with seq zero"),
        ([[9, b"k", [0, 1], None, [b"v"]]], "a neighbour of replica zero"),
        ([[9, b"k", [1 << 60, 1], None, [b"v"]]], "a replica above every id"),
        ([[10, b"k", [[1, 1, 0]]]], "a range of nothing"),
        ([[10, b"k", [[1, -1, 1]]]], "a range that begins below"),
        ([[10, b"k", [[1, 1 << 60, 1]]]], "a seq above every seq"),
        ([[2, b"k", "text"]], "a value that is text"),
        ([[2, b"k", 1.5]], "a value that is a double"),
        ([[2, b"k", None]], "a value that is none"),
        ([[3, b"k", b"1"]], "an amount of bytes"),
        ([[99, b"k"]], "an unknown tag"),
        ([[2, b"k", b"v", b"more"]], "a field too many"),
        ([[2, b"k"]], "a field too few"),
        ([[35, 0]], "a burial of nobody"),
        ([[32, 1, "n" * 513, "a"]], "a name without end"),
        ([[64, [], []]], "a run of nothing"),
        ([[64, [b"k"], [b"v"]]], "a run of one"),
        ([[64, [b"k", b"l"], [b"v"]]], "a run whose last assignment has no value"),
        ([[64, [b"k", b"l"], [b"v", b"w", b"x"]]], "a run with a value too many"),
        ([[64, [1, b"k"], [b"v", b"v"]]], "a key that is a number, in a run"),
        ([[64, [b"k", b"l"], ["text", b"v"]]], "a value that is text, in a run"),
        ([[65, [b"k", b"l"], [b"1", 1]]], "an amount of bytes, in a run"),
        ([[66, [b"k", b"l"], [1, b"e"]]], "an element that is a number, in a run"),
        ([[66, [b"k", b"l"], [b"e"]]], "an element too few"),
        ([[67, [b"k", b"l"], [b"f"], [1, 2]]], "a field too few"),
        ([[67, [b"k", b"l"], [b"f", b"g"], [1]]], "a field without a value, in a run"),
        ([[67, [b"k", b"l"], [1, b"g"], [1, 2]]], "a field that is a number, in a run"),
        ([[68, [b"k", b"l"], [b"m", b"n"], [1]]], "a run of scores that is not whole"),
        ([[69, b"k", None, None, True, [b"v"]]], "one push"),
        ([[69, b"k", None, None, 1, [b"v", b"w"]]], "pushes to nowhere"),
        ([[69, b"k", [1, 0], None, True, [b"v", b"w"]]], "a neighbour with seq zero, of pushes"),
        ([[64, [b"k", b"l"], [b"v", b"w"], 1]], "a run with a field too many"),
        ({"1": 2}, "a table"),
        (7, "a number"),
    ],
)
def test_what_is_no_operation_is_a_fault_of_the_peer(written: object, why: str) -> None:
    with pytest.raises(PeerError):
        decode_operations(raw(written))


def test_deep_nesting_is_a_fault_of_the_peer() -> None:
    with pytest.raises(PeerError):
        decode_operations(b"\x91" * 100_000 + b"\x01")


def test_only_an_insertion_takes_as_many_dots_as_it_has_values() -> None:
    assert SequenceInsert(b"k", None, None, [b"a", b"b", 3]).width == 3
    assert SetRemove(b"k", [b"a", b"b"]).width == 1
    assert Increment(b"k", "0.5").width == 1


@given(any_operation, any_operation)
def test_operations_are_equal_that_say_the_same(one: Operation, other: Operation) -> None:
    [again] = decode_operations(encode_operations([one]))  # type: ignore[list-item]
    assert again == one
    assert hash(again) == hash(one)
    assert (one == other) == (type(one) is type(other) and one.content() == other.content())
    assert one != one.content()


def test_the_check_names_what_is_wrong() -> None:
    with pytest.raises(PeerError, match="pairs"):
        decode_operations(encode_operations([MapAssign(b"k", [b"f", b"v", b"g"])]))
    inner = MapAssign(b"", [b"f", b"v", b"g"])
    with pytest.raises(PeerError, match="pairs"):
        decode_operations(encode_operations([Inside(b"k", [b"f"], inner)]))


@pytest.mark.parametrize("number", [1 << 64, -(1 << 63) - 1, 10**40])
def test_whole_numbers_beyond_what_a_number_holds_travel_as_their_digits(number: int) -> None:
    digits = b"%d" % number
    written: list[AnyOperation] = [
        Increment(b"k", number),
        Assign(b"k", number),
        MapAssign(b"k", [b"f", number, b"g", 5]),
        SequenceInsert(b"k", None, None, [number, b"v"]),
    ]
    assert decode_operations(encode_operations(written)) == [
        Increment(b"k", str(number)),
        Assign(b"k", digits),
        MapAssign(b"k", [b"f", digits, b"g", 5]),
        SequenceInsert(b"k", None, None, [digits, b"v"]),
    ]
