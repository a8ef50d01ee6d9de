"""Elements that are pushed in front one by one stand apart until somebody looks: nobody can tell."""

from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import LocalContext
from marmoset.codec.operations import Scalar
from marmoset.crdts import sequence as sequences
from marmoset.crdts.footprint import footprint
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sequence_runs import Chunk
from marmoset.ids import Dot

STEPS = st.one_of(
    st.tuples(st.just("push"), st.sampled_from([1, 1, 2, 30, 300]), st.just(0)),
    st.tuples(st.just("push several"), st.sampled_from([1, 2, 30, 300]), st.booleans()),
    st.tuples(st.sampled_from(["insert", "remove", "slice"]), st.integers(0, 2000), st.sampled_from([1, 1, 2, 30, 90])),
    st.tuples(st.sampled_from(["assign", "get"]), st.integers(0, 2000), st.just(0)),
    st.tuples(st.sampled_from(["pop", "iterate", "state", "footprint", "check"]), st.just(0), st.just(0)),
)


class Pushed:
    """A list in a group of one beside the plain list that it shows."""

    def __init__(self) -> None:
        self.sequence = Sequence()
        self.plain: list[Scalar] = []
        self.seq = 1

    def insert(self, index: int, values: list[Scalar]) -> None:
        left, right = self.sequence.neighbours(index)
        sequences.insert(self.sequence, None, (1, self.seq), LocalContext(), left, right, values)
        self.plain[index:index] = values
        self.seq += len(values)

    def push(self) -> None:
        value: Scalar = b"%d" % self.seq if self.seq % 500 else self.seq
        self.sequence.insert_at_end((1, self.seq), [value], True)
        self.plain.insert(0, value)
        self.seq += 1

    def push_several(self, count: int, is_front: bool) -> None:
        values: list[Scalar] = [b"%d" % (self.seq + at) for at in range(count)]
        given = values[:]
        self.sequence.push_each_at_end((1, self.seq), given, is_front)
        if is_front:
            self.plain[0:0] = values[::-1]
        else:
            self.plain += values
        ids = [self.sequence.id_at(at) for at in range(count)] if is_front else self.last_ids(count)
        assert ids == [(1, self.seq + at) for at in (reversed(range(count)) if is_front else range(count))]
        self.seq += count
        self.push()
        assert given == values, "the list that was given is another's"

    def last_ids(self, count: int) -> list[Dot]:
        return [self.sequence.id_at(at) for at in range(len(self.plain) - count, len(self.plain))]

    def remove(self, start: int, stop: int) -> None:
        sequences.remove(self.sequence, None, (1, self.seq), self.sequence.ranges(start, stop))
        del self.plain[start:stop]
        self.seq += 1

    def step(self, what: str, number: int, count: int) -> None:
        sequence, plain = self.sequence, self.plain
        at = number % (len(plain) + 1)
        if what == "push":
            for _ in range(number):
                self.push()
        elif what == "push several":
            self.push_several(number, bool(count))
        elif what == "insert":
            self.insert(at, [b"i%d" % n for n in range(count)])
        elif what == "remove":
            self.remove(at, min(at + count, len(plain)))
        elif what == "pop":
            self.remove(0, min(1, len(plain)))
        elif what == "slice":
            assert sequence.slice(at, at + count) == plain[at : at + count]
        elif what == "iterate":
            assert list(sequence) == plain
        elif what == "state":
            again, _ = sequences.import_state(sequences.export_state(sequence, None))
            assert list(again) == plain
        elif what == "footprint":
            assert footprint(sequence, 10_000) > 8 * len(plain)
        elif what == "check":
            sequence._check()
        elif at < len(plain):
            if what == "assign":
                sequences.assign(sequence, None, (1, self.seq), 1, LocalContext(), sequence.id_at(at), b"a%d" % at)
                plain[at] = b"a%d" % at
                self.seq += 1
            else:
                assert sequence[at] == plain[at]
        assert len(sequence) == len(plain)


@given(st.lists(STEPS, max_size=25))
def test_what_is_pushed_in_front_stands_in_front(steps: list[tuple[str, int, int]]) -> None:
    pushed = Pushed()
    pushed.insert(0, [b"first"])
    for step in steps:
        pushed.step(*step)
    pushed.sequence._check()
    assert list(pushed.sequence) == pushed.plain


def test_values_are_not_moved_for_each_that_is_pushed() -> None:
    pushed = Pushed()
    pushed.insert(0, [b"%d" % number for number in range(400)])
    first: Chunk = pushed.sequence.blocks[0].chunks[0]
    values = first.open()
    for _ in range(300):
        pushed.push()
    assert pushed.sequence.blocks[0].chunks[0] is first
    assert first.values is values and len(values) == 400
    assert first.size() == 700 and pushed.sequence[0] == pushed.plain[0] and len(values) == 700
    pushed.sequence._check()


def test_a_packed_chunk_is_opened_for_what_is_pushed() -> None:
    pushed = Pushed()
    pushed.insert(0, [b"%d" % number for number in range(3000)])
    assert pushed.sequence.blocks[0].chunks[0].packed is not None
    pushed.push()
    pushed.push()
    assert list(pushed.sequence) == pushed.plain
    pushed.sequence._check()


def test_a_list_of_which_all_is_hidden_has_nothing_in_front() -> None:
    pushed = Pushed()
    pushed.insert(0, [b"%d" % number for number in range(100)])
    for _ in range(5):
        pushed.push()
    (chunk,) = pushed.sequence.blocks[0].chunks
    pushed.sequence.hide_chunk(chunk)
    assert len(pushed.sequence) == 0 and not chunk.size() and list(pushed.sequence) == []
    pushed.sequence._check()
