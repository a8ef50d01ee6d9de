"""Sequences in snapshots: equal content gives equal bytes, and nothing that makes no sense is taken."""

import copy
import random
from typing import Any

import msgspec
import pytest

from marmoset.clocks import LocalContext
from marmoset.crdts import sequence as sequences
from marmoset.crdts.sequence import Sequence, SequenceWindow
from marmoset.errors import PeerError
from tests.crdts.sequence_reference import Cluster

A, B = 0x111, 0x222


def encoded(sequence: Sequence, window: SequenceWindow | None) -> bytes:
    return msgspec.msgpack.encode(sequences.export_state(sequence, window))


def example() -> tuple[Sequence, SequenceWindow]:
    sequence, window = Sequence(), SequenceWindow()
    here = LocalContext()
    sequences.insert(sequence, None, (A, 1), here, None, None, [b"a", b"b", b"c", b"d"])
    sequences.insert(sequence, window, (B, 1), here, (A, 2), (A, 3), [b"x", b"y", b"z"])
    sequences.remove(sequence, window, (A, 5), [(A, 1, 1), (B, 2, 1)])
    sequences.remove(sequence, window, (A, 6), [(A, 4, 1)])
    sequences.assign(sequence, window, (B, 4), 77, here, (A, 2), 5)
    return sequence, window


def test_a_state_comes_back_the_same() -> None:
    sequence, window = example()
    state = sequences.export_state(sequence, window)
    again, again_window = sequences.import_state(msgspec.msgpack.decode(msgspec.msgpack.encode(state)))
    again._check()
    again_window._check(again)
    assert list(again) == list(sequence) and again.ranges(0, 9) == sequence.ranges(0, 9)
    assert sequences.export_state(again, again_window) == state
    assert sequences.export_state(Sequence(), None) == [[], [], [], [], [], []]


def test_equal_content_gives_equal_bytes_however_it_came_about() -> None:
    one, other, here = Sequence(), Sequence(), LocalContext()
    sequences.insert(one, None, (A, 1), here, None, None, list(range(3000)))
    for i in range(3000):
        sequences.insert(other, None, (A, i + 1), here, *other.neighbours(i), [i])
    rng = random.Random(3)
    for i in range(500):
        at = rng.randrange(len(one))
        sequences.insert(one, None, (B, i + 1), here, *one.neighbours(at), [b"x"])
        sequences.insert(other, None, (B, i + 1), here, *other.neighbours(at), [b"x"])
    for sequence in (one, other):
        sequences.remove(sequence, None, (A, 9000), [(B, 1, 500)])
        sequence._check()
    assert encoded(one, None) == encoded(other, SequenceWindow())


def assert_refused(state: Any) -> None:
    with pytest.raises(PeerError):
        sequences.import_state(state)


def test_nonsense_is_refused() -> None:
    good = sequences.export_state(*example())
    assert good[0] == [A, B]
    wrong: list[tuple[tuple[int, ...], Any]] = [
        ((0,), [B, A]),
        ((0,), [0, B]),
        ((0,), [A, 1 << 60]),
        ((0,), [A, "b"]),
        ((1, 0), 2),
        ((1, 0), -1),
        ((1, 1), 0),
        ((1, 2), 0),
        ((1, 2), 1 << 62),
        ((1, 3), 5),
        ((1, 3), 4),
        ((1, 3), 0),
        ((1, 3), True),
        ((1,), good[1][:-1]),
        ((1,), good[1] + good[1][:4]),
        ((2,), good[2] + [b"more"]),
        ((2,), good[2][:-1]),
        ((2, 0), "text"),
        ((2, 0), 1.5),
        ((2, 0), True),
        ((3,), []),
        ((3,), good[3] * 2),
        ((3, 0, 0), [1, 2]),
        ((3, 0, 0), []),
        ((3, 0, 0), [1]),
        ((3, 0, 0), "ab"),
        ((3, 0, 1), 2),
        ((3, 0, 1), 4),
        ((3, 0, 1), 1 << 61),
        ((3, 0, 2), [0, 3]),
        ((3, 0, 3), [0, 2]),
        ((3, 0, 3), [0, 99]),
        ((3, 0), 7),
        ((4,), []),
        ((4, 0, 1), []),
        ((4, 0, 1, 0, 2), 0),
        ((4, 0, 1, 0), [0, 1]),
        ((4, 0, 1), None),
        ((4,), good[4][::-1]),
        ((5, 0, 0), [0, 1]),
        ((5, 0, 0), [0, 50]),
        ((5, 0, 1), -1),
        ((5, 0, 1), "soon"),
        ((5, 0, 2), None),
        ((5, 0), [1]),
        ((5,), good[5] * 2),
    ]
    for path, value in wrong:
        state = copy.deepcopy(good)
        inner = state
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        assert_refused(state)
    others: list[Any] = [None, [], good[:5], [*good, []], {}, "text", [1, 2, 3, 4, 5, 6], [None] * 6]
    for other in others:
        assert_refused(other)
    # stable removed elements that nothing keeps; and more of them than anybody has
    assert_refused([[A], [0, 1, 5, 4], [], [], [], []])
    assert_refused([[A], [0, 1, 1 << 59, 3], [], [], [[[0, 1], [[0, 1, 1 << 59]]]], []])


def test_random_damage_is_refused_or_harmless() -> None:
    rng = random.Random(11)
    cluster = Cluster(3)
    for _ in range(120):
        cluster.step(rng.randint(4, 38), rng.getrandbits(8), rng.getrandbits(16), rng.getrandbits(16))
    good = sequences.export_state(cluster.replicas[0].sequence, cluster.replicas[0].window)
    taken = 0
    for _ in range(1500):
        state = copy.deepcopy(good)
        inner: Any = state
        while isinstance(inner, list) and inner:
            at = rng.randrange(len(inner))
            if not isinstance(inner[at], list) or not inner[at] or rng.random() < 0.1:
                inner[at] = rng.choice([0, 1, 2, 3, 4, -1, 1 << 61, None, b"x", "x", [], [0, 1], [[0, 1], 1], 2.5])
                break
            inner = inner[at]
        try:
            sequence, window = sequences.import_state(state)
        except PeerError:
            continue
        taken += 1
        sequence._check()
        window._check(sequence)
        assert sequences.export_state(sequence, window)[1:3] == state[1:3]
    assert taken < 1000
