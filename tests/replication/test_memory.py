"""What was changed since there are gravestones: every dot that somebody may not have seen, and no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Bury,
    Expire,
    Flush,
    Increment,
    Inside,
    Join,
    MapAssign,
    MapIncrement,
    Reset,
    ScoreIncrement,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.replication.memory import PARTS, ChangeMemory, Observed, adds
from tests.replication.group import first_of_all, join, rest, write

KEYS = [b"a", b"b", b"c"]
OPERATIONS: list[AnyOperation] = [
    *(SetAdd(key, [b"e"]) for key in KEYS),
    *(Assign(key, b"v") for key in KEYS),
    *(Reset(key) for key in KEYS),
    Flush(),
]
dots = st.tuples(st.integers(1, 4), st.integers(1, 30))
records = st.lists(st.tuples(st.sampled_from(OPERATIONS), dots), max_size=40)


def test_what_adds_and_what_does_not() -> None:
    adding: list[AnyOperation] = [
        SetAdd(b"k", [b"e"]),
        Increment(b"k", 1),
        MapIncrement(b"k", b"f", 1),
        ScoreIncrement(b"k", b"f", 1),
        SequenceInsert(b"k", None, None, [b"v"]),
        Inside(b"k", [b"f"], SetAdd(b"", [b"e"])),
    ]
    assert all(map(adds, adding))
    ending: list[AnyOperation] = [
        SetRemove(b"k", [b"e"]),
        Assign(b"k", b"v"),
        MapAssign(b"k", [b"f", b"v"]),
        Reset(b"k"),
        Flush(),
        Expire(b"k", 5),
        SequenceRemove(b"k", [(1, 1, 1)]),
        Inside(b"k", [b"f"], SetRemove(b"", [b"e"])),
    ]
    assert not any(map(adds, ending))


@given(records, st.dictionaries(st.integers(1, 4), st.integers(0, 30)))
def test_a_key_counts_as_changed_exactly_if_something_was_not_seen(
    made: list[tuple[AnyOperation, tuple[int, int]]], vector: dict[int, int]
) -> None:
    memory, observed = ChangeMemory(1 << 30), Observed(vector, frozenset([4]))
    for operation, dot in made:
        memory.record(operation, dot)
    memory._check()

    def unseen(key: bytes, *, ends: bool) -> bool:
        there = [
            dot
            for operation, dot in made
            if (isinstance(operation, Flush) or getattr(operation, "key", None) == key) and adds(operation) != ends
        ]
        return any(not (dot[1] <= vector[dot[0]] if dot[0] in vector else dot[0] == 4) for dot in there)

    for key in KEYS:
        assert any(not observed.covers(dot) for dot in memory.ends(key)) == unseen(key, ends=True)
        assert any(not observed.covers(dot) for dot in memory.growths(key)) == unseen(key, ends=False)


@given(records, records)
def test_another_takes_over_all_that_is_there_whatever_it_has(
    made: list[tuple[AnyOperation, tuple[int, int]]], other: list[tuple[AnyOperation, tuple[int, int]]]
) -> None:
    source, sink, both = (ChangeMemory(1 << 30) for _ in range(3))
    for operation, dot in made:
        source.record(operation, dot)
        both.record(operation, dot)
    for operation, dot in other:
        sink.record(operation, dot)
        both.record(operation, dot)
    for number in range(PARTS):
        sink.take_over(*source.part(number))
    sink._check()
    for number in range(PARTS):
        assert sink.part(number) == both.part(number)


def test_operations_on_the_roster_change_no_key() -> None:
    memory = ChangeMemory(1 << 30)
    memory.record(Join(5, "n", "h:1"), (1, 1))
    assert not memory.size_bytes and not memory.origins


def test_past_its_limit_it_forgets_everything_and_says_for_whom() -> None:
    memory = ChangeMemory(1000)
    for number in range(6):
        memory.record(Assign(b"%d" % number, b"v"), (1, number + 1))
    assert memory.is_full
    memory.overflow({7})
    assert memory.blind == {7} and not memory.is_full and not list(memory.ends(b"0")) and memory.garbage
    while memory.collect_garbage():
        pass
    assert not memory.garbage
    memory._check()


@pytest.mark.parametrize("survivors", [1, 2])
def test_a_replica_that_remembers_too_much_gives_up_for_those_who_are_buried(survivors: int) -> None:
    a = first_of_all()
    members = [a, *(join(a, me) for me in range(2, survivors + 2))]
    rest(*members)
    a.submit_roster([Bury(survivors + 1)])
    rest(*members[:-1])
    assert a.is_remembering and not a.memory.blind
    a.memory.limit_bytes = 1000
    for number in range(20):
        write(a, b"v", b"k%d" % number)
    rest(*members[:-1])
    assert a.memory.blind == {survivors + 1} and not a.is_remembering
