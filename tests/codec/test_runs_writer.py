"""A batch that is written operation by operation: what goes on with a run is written as if it had been added."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Increment,
    MapAssign,
    Reset,
    Scalar,
    ScoreAssign,
    SequenceInsert,
    SetAdd,
)
from marmoset.codec.runs import (
    ASSIGN_RUN,
    INCREMENT_RUN,
    MAP_RUN,
    SCORE_RUN,
    SET_RUN,
    BatchWriter,
    write_batch,
)
from marmoset.codec.wire import decode_operations, encode_batch, encode_operations
from marmoset.errors import PeerError
from marmoset.ids import Dot

ORIGIN, FIRST = 7, 5
KEYS = (b"k", b"l")
KINDS = ("assign", "keep", "increment", "exact", "add", "add two", "field", "two fields", "score", "front", "back")
OTHERS = ("two", "within", "reset")
PUSHES = ("front", "front", "front", "back", "back", "back", "within", "two")
NUMBERS = st.sampled_from((1, 1, 1, 2)) | st.integers(0, 1 << 40)
Step = tuple[str, bytes, int]


def steps_of(*kinds: str, keys: tuple[bytes, ...] = KEYS) -> st.SearchStrategy[list[Step]]:
    step = st.tuples(st.sampled_from(kinds), st.sampled_from(keys), NUMBERS)
    return st.lists(step, min_size=1, max_size=6)


# Few kinds for a while, else hardly anything goes on.
STRETCHES = st.one_of(
    steps_of(*KINDS, *OTHERS),
    steps_of(*PUSHES, keys=KEYS[:1]),
    steps_of("within", "within", "front", "back", keys=KEYS[:1]),
    steps_of("front", "front", "back", "back", keys=KEYS[1:]),
    st.just([("reset", KEYS[1], 0)]),
    steps_of("front", "back"),
    *(steps_of(kind) for kind in KINDS),
)
STEPS = st.lists(STRETCHES, max_size=8).map(lambda stretches: [step for stretch in stretches for step in stretch])


class Lists:
    """The ids in the list of each key, to know what an insertion stands between."""

    def __init__(self) -> None:
        self.of: dict[bytes, list[Dot]] = {KEYS[0]: [(1, 1), (1, 2)], KEYS[1]: []}

    def insert(self, key: bytes, at: int, seq: int, values: list[bytes | int]) -> SequenceInsert:
        ids: list[Dot | None] = [None, *self.of[key], None]
        self.of[key][at:at] = [(ORIGIN, seq + i) for i in range(len(values))]
        return SequenceInsert(key, ids[at], ids[at + 1], values)


def operation_of(what: str, key: bytes, number: int, lists: Lists, seq: int) -> AnyOperation:
    if what in ("assign", "keep"):
        return Assign(key, number, what == "keep")
    if what in ("increment", "exact"):
        return Increment(key, number if what == "increment" else "0.5")
    if what in ("add", "add two"):
        return SetAdd(key, [b"x"] if what == "add" else [b"x", b"y"])
    if what in ("field", "two fields"):
        return MapAssign(key, [b"f", number] if what == "field" else [b"f", number, b"g", 1])
    if what == "score":
        return ScoreAssign(key, [b"m", number])
    if what == "reset":
        lists.of[key] = []
        return Reset(key)
    length = len(lists.of[key])
    at = {"front": 0, "back": length, "two": 0}.get(what, min(1, length))
    return lists.insert(key, at, seq, [number, 0] if what == "two" else [number])


def goes_on(writer: BatchWriter, operation: AnyOperation, what: str) -> bool:
    """Have an operation written without itself, as whoever knows what it is does."""
    if isinstance(operation, Assign) and not operation.keep_deadline:
        return writer.extend(ASSIGN_RUN, operation.key, b"", operation.value)
    if isinstance(operation, Increment) and isinstance(operation.amount, int):
        return writer.extend(INCREMENT_RUN, operation.key, b"", operation.amount)
    if isinstance(operation, SetAdd) and len(operation.elements) == 1:
        return writer.extend(SET_RUN, operation.key, operation.elements[0], b"")
    if isinstance(operation, (MapAssign, ScoreAssign)) and len(operation.pairs) == 2:
        name, value = operation.pairs
        assert isinstance(name, bytes)
        return writer.extend(MAP_RUN if isinstance(operation, MapAssign) else SCORE_RUN, operation.key, name, value)
    if isinstance(operation, SequenceInsert) and what in ("front", "back"):
        return writer.extend_pushes(operation.key, operation.values, what == "front")
    return False


@given(STEPS)
def test_what_goes_on_is_written_as_what_is_added(steps: list[Step]) -> None:
    lists, writer = Lists(), BatchWriter(ORIGIN, FIRST)
    operations: list[AnyOperation] = []
    for what, key, number in steps:
        operation = operation_of(what, key, number, lists, writer.next_seq)
        operations.append(operation)
        if not goes_on(writer, operation, what):
            writer.add(operation)
        added = write_batch(operations, ORIGIN, FIRST)
        assert (writer.rows, writer.count, writer.next_seq) == (added.rows, added.count, added.next_seq)
    assert writer.count == len(operations)
    assert writer.operations() == operations
    if operations:
        raw, is_exact = encode_batch(writer)
        assert is_exact and decode_operations(raw, ORIGIN, FIRST) == operations


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=8))
def test_pushes_go_on_several_at_once(pushes: list[tuple[int, bool]]) -> None:
    lists, writer = Lists(), BatchWriter(ORIGIN, FIRST)
    operations: list[AnyOperation] = []
    for count, is_front in pushes:
        what = "front" if is_front else "back"
        made = [operation_of(what, b"l", at, lists, writer.next_seq + at) for at in range(count)]
        operations += made
        values: list[Scalar] = list(range(count))
        if not writer.extend_pushes(b"l", values, is_front):
            for each in made:
                writer.add(each)
        added = write_batch(operations, ORIGIN, FIRST)
        assert (writer.rows, writer.count, writer.next_seq) == (added.rows, added.count, added.next_seq)


def test_a_push_at_another_place_does_not_go_on() -> None:
    for first, then, key in (("front", "back", b"l"), ("back", "front", b"l"), ("within", "front", b"k")):
        lists, writer = Lists(), BatchWriter(ORIGIN, FIRST)
        for number in range(2):
            writer.add(operation_of(first, key, number, lists, writer.next_seq))
        assert len(writer.rows) == 1
        assert not goes_on(writer, operation_of(then, key, 2, lists, writer.next_seq), then)


def test_what_is_of_one_kind_needs_no_operation_from_the_third_on() -> None:
    lists = Lists()
    for what in ("assign", "increment", "add", "field", "score", "front", "back"):
        writer = BatchWriter(ORIGIN, FIRST)
        for number in range(5):
            operation = operation_of(what, b"k", number, lists, writer.next_seq)
            assert goes_on(writer, operation, what) == (number > 1), what
            if number < 2:
                writer.add(operation)
        assert len(writer.rows) == 1 and writer.count == 5 and writer.next_seq == FIRST + 5


def test_by_what_several_keys_are_incremented_is_written_once_as_long_as_it_is_the_same() -> None:
    rows: list[tuple[bytes, int, list[bytes], list[int]]] = [
        (b"k", 1, [], []),
        (b"l", 1, [b"k", b"l"], [1]),
        (b"k", 1, [b"k", b"l", b"k"], [1]),
        (b"k", 1, [b"k", b"l", b"k", b"k"], [1]),
        (b"l", 2, [b"k", b"l", b"k", b"k", b"l"], [1, 1, 1, 1, 2]),
        (b"l", 2, [b"k", b"l", b"k", b"k", b"l", b"l"], [1, 1, 1, 1, 2, 2]),
    ]
    writer = BatchWriter(ORIGIN, FIRST)
    operations: list[AnyOperation] = []
    for key, amount, keys, amounts in rows:
        operations.append(Increment(key, amount))
        if not writer.extend(INCREMENT_RUN, key, b"", amount):
            writer.add(operations[-1])
        if keys:
            assert writer.rows == [(INCREMENT_RUN, keys, amounts)]
        assert writer.operations() == operations and decode_operations(encode_batch(writer)[0], 1, 1) == operations


def test_of_one_key_each_increment_is_written() -> None:
    operations: list[AnyOperation] = [Increment(b"k", 1)] * 3
    writer = write_batch(operations, ORIGIN, FIRST)
    assert writer.rows == [(INCREMENT_RUN, [b"k"], [1, 1, 1])] and writer.operations() == operations
    writer.add(Increment(b"l", 1))
    assert writer.rows == [(INCREMENT_RUN, [b"k", b"k", b"k", b"l"], [1, 1, 1, 1])]


@pytest.mark.parametrize("keys", [[b"k"], [b"k", b"l", b"m"]])
@pytest.mark.parametrize("amounts", [[1], [1, 2]])
def test_a_run_of_increments_has_one_amount_for_all_or_each_its_own(keys: list[bytes], amounts: list[int]) -> None:
    raw = msgspec.msgpack.encode([(INCREMENT_RUN, keys, amounts)])
    if len(keys) == 1 and len(amounts) == 2:
        assert decode_operations(raw, 1, 1) == [Increment(b"k", 1), Increment(b"k", 2)]
    elif len(keys) == 3 and len(amounts) == 1:
        assert decode_operations(raw, 1, 1) == [Increment(key, 1) for key in keys]
    else:
        with pytest.raises(PeerError, match="not whole"):
            decode_operations(raw, 1, 1)


def test_a_number_beyond_64_bits_is_written_as_its_digits_wherever_it_stands() -> None:
    operations: list[AnyOperation] = [Increment(b"k", amount) for amount in (1, 2, 1 << 70)]
    writer = write_batch(operations[:2], ORIGIN, FIRST)
    assert writer.extend(INCREMENT_RUN, b"k", b"", 1 << 70)
    raw, is_exact = encode_batch(writer)
    assert not is_exact and writer.operations() == operations
    assert bytes(raw) == bytes(encode_operations(operations, ORIGIN, FIRST))
    assert decode_operations(raw, ORIGIN, FIRST) == [*operations[:2], Increment(b"k", str(1 << 70))]
