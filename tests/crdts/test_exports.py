"""Values and windows in bytes: round trips, one form for one content, and bytes that are none."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import Context
from marmoset.codec.operations import KIND_MAP, KIND_REGISTER, KIND_SEQUENCE, KIND_SET, Increment, SetAdd
from marmoset.crdts import exports, types
from marmoset.crdts.exports import DeadlineEntry, Importer, ValueEntry, decode_entries, export_value
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.crdts.types import Value, Window
from marmoset.errors import PeerError
from tests.crdts import test_addwins, test_map, test_register
from tests.crdts.history import Done, Holder, Maker

encode = msgspec.msgpack.encode
KINDS: list[tuple[int, Maker]] = [
    (KIND_REGISTER, test_register.make),
    (KIND_SET, test_addwins.make),
    (KIND_MAP, test_map.make),
]


def a_value(rng: Random, kind: int, make: Maker) -> tuple[Value | None, Window | None]:
    """What one of two holders has in the middle of a history."""
    everybody = range(1, 3)
    holders = [Holder(me, everybody, kind) for me in everybody]
    for clock in range(rng.randint(1, 8)):
        holder = rng.choice(holders)
        dot = (holder.me, holder.seen[holder.me] + 1)
        holder.apply(Done(dot, clock, make(rng, holder.value), dict(holder.seen)))
    first = holders[0]
    for done in holders[1].log:
        first.apply(done)
    return first.value, first.window


def there_and_back(value: Value, window: Window | None) -> tuple[list[ValueEntry], int, Value | None, Window | None]:
    entries = export_value(b"k", value, window)
    kind, back, back_window = -1, None, None
    importer = Importer()
    for entry in decode_entries(encode(entries)):
        assert entry.key == b"k" and not isinstance(entry, DeadlineEntry)
        kind, back, back_window = importer.add(entry, back, back_window)
    return entries, kind, back, back_window


@pytest.mark.parametrize("index", range(len(KINDS)))
@given(rng=st.randoms(use_true_random=False))
def test_a_value_comes_back_with_its_window_and_has_one_form_of_bytes(index: int, rng: Random) -> None:
    kind, make = KINDS[index]
    value, window = a_value(rng, kind, make)
    if not types.is_visible(value):
        return
    assert value is not None
    entries, back_kind, back, back_window = there_and_back(value, window)
    assert back_kind == kind and back == value
    types.check_value(back, back_window)
    assert (0 if back_window is None else back_window.entries) == (0 if window is None else window.entries)
    assert back is not None
    assert encode(export_value(b"k", back, back_window)) == encode(entries)


@given(st.sets(st.binary(max_size=3)), st.randoms(use_true_random=False))
def test_equal_sets_are_written_alike_whatever_their_history(elements: set[bytes], rng: Random) -> None:
    if not elements:
        return
    shuffled = sorted(elements)
    rng.shuffle(shuffled)
    assert encode(export_value(b"k", SplitSet(shuffled), None)) == encode(export_value(b"k", elements, None))


def test_large_collections_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PIECE_ELEMENTS", 3)
    elements = {b"%d" % i for i in range(10)}
    window = types.new_window(KIND_SET, elements)
    types.effect(elements, window, SetAdd(b"k", [b"0", b"9", b"new"]), (1, 1), 1, Context({1: 0}, {}))
    entries, kind, back, back_window = there_and_back(elements, window)
    assert len(entries) == 4 and kind == KIND_SET and back == elements
    assert back_window is not None and back_window.entries == window.entries
    fields: dict[bytes, bytes | int] = {b"%d" % i: i for i in range(10)}
    entries, kind, back, _ = there_and_back(SplitMap(fields.items()), None)
    assert len(entries) == 4 and kind == KIND_MAP and back == fields


@pytest.mark.parametrize("number", [0, -1, 1 << 63, -(1 << 63) - 1, 10**40, -(10**300)])
def test_whole_numbers_of_any_size_travel(number: int) -> None:
    assert there_and_back(number, None)[2] == number
    window = types.new_window(KIND_REGISTER, number)
    shown = types.effect(number, window, Increment(b"k", "0.5"), (1, 1), 1, Context({1: 0}, {}))
    assert shown is not None
    _, _, back, back_window = there_and_back(shown, window)
    assert back == shown and back_window is not None


def test_a_sequence_travels() -> None:
    sequence = Sequence()
    assert there_and_back(sequence, None)[1] == KIND_SEQUENCE


@pytest.mark.parametrize(
    "entry",
    [
        [KIND_REGISTER, b"k", b"5", [b"4", 0, False, [[[1, 1], 1, b"4"]], []]],  # shows 5, the window says 4
        [KIND_REGISTER, b"k", 5, [None, 5, False, [], [[[1, 1], 5]]]],  # an increment, and never counted
        [KIND_REGISTER, b"k", b"5", [b"5", 0, False, [], []]],  # a window in which nothing stands
        [KIND_REGISTER, b"k", ["ten"], None],
        [KIND_REGISTER, b"k", ["9" * 2000], None],
        [KIND_REGISTER, b"k", None, None],
        [KIND_REGISTER, b"k", b"5", [b"5", 0, False, [[[0, 1], 1, b"5"]], []]],  # a dot of nobody
        [KIND_REGISTER, b"k", b"5", [b"5", 0, False, [[[1, 1], -1, b"5"]], []]],  # stamped before time began
        [KIND_SET, b"k", [], []],
        [KIND_SET, b"k", [b"a"], [[b"b", [[1, 1]]]]],
        [KIND_SET, b"k", [b"a"], [[b"a", []]]],
        [KIND_MAP, b"k", [], []],
        [KIND_MAP, b"k", [[b"f", b"1"]], [[b"g", [b"1", 0, False, [[[1, 1], 1, b"1"]], []]]]],
        [KIND_SEQUENCE, b"k", None, True],
        [KIND_SEQUENCE, b"k", [[], [], [], [], []], True],
        [KIND_SEQUENCE, b"k", [[], [], [], [], [], []], False],
        [99, b"k", b"v"],
        [],
        7,
    ],
)
def test_what_contradicts_itself_is_a_fault_of_the_peer(entry: object) -> None:
    with pytest.raises(PeerError):
        for decoded in decode_entries(encode([entry])):
            if not isinstance(decoded, DeadlineEntry):
                Importer().add(decoded, None, None)


@given(st.data(), st.randoms(use_true_random=False))
def test_changed_bytes_are_values_or_a_fault_of_the_peer(data: st.DataObject, rng: Random) -> None:
    kind, make = data.draw(st.sampled_from(KINDS))
    value, window = a_value(rng, kind, make)
    if not types.is_visible(value):
        return
    assert value is not None
    written = bytearray(encode(export_value(b"k", value, window)))
    written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    try:
        for entry in decode_entries(bytes(written)):
            if not isinstance(entry, DeadlineEntry):
                Importer().add(entry, None, None)
    except PeerError as problem:
        assert not problem.changed
