"""Every operation and every message, from the fields that they are made of."""

from typing import get_args

import msgspec
from hypothesis import strategies as st

from marmoset.codec import messages, operations
from marmoset.codec.messages import AnyMessage, Batch, Hello, KnownRow, RosterRow
from marmoset.codec.operations import AnyOperation, ChildOperation
from marmoset.codec.wire import SHAPES, encode_operations

OPERATIONS: tuple[type, ...] = get_args(AnyOperation)
MESSAGES: tuple[type, ...] = get_args(AnyMessage)

ids = st.integers(1, (1 << 60) - 1)
seqs = st.integers(1, (1 << 60) - 1)
counts = st.integers(0, (1 << 62) - 1)
dots = st.tuples(ids, seqs)
raw_bytes = st.binary(max_size=8)
wire_ints = st.integers(-(1 << 63), (1 << 63) - 1)
scalars = raw_bytes | wire_ints
amounts = wire_ints | st.sampled_from(["0.1", "-2.50", "1e3"])
texts = st.text(max_size=12)
vectors = st.lists(st.tuples(ids, counts), max_size=4)
id_lists = st.lists(ids, max_size=4)
some_bytes = st.lists(raw_bytes, min_size=1, max_size=3)
pairs = st.lists(st.tuples(raw_bytes, wire_ints), min_size=1, max_size=3).map(lambda p: [x for pair in p for x in pair])

OPERATION_FIELDS: dict[str, st.SearchStrategy[object]] = {
    "key": raw_bytes,
    "value": scalars,
    "amount": amounts,
    "elements": some_bytes,
    "fields": some_bytes,
    "pairs": pairs,
    "field": raw_bytes,
    "left": st.none() | dots,
    "right": st.none() | dots,
    "values": st.lists(scalars, min_size=1, max_size=3),
    "ranges": st.lists(st.tuples(ids, seqs, seqs), min_size=1, max_size=3),
    "element": dots,
    "seqs": st.lists(st.tuples(seqs, seqs), min_size=1, max_size=3),
    "keep_deadline": st.booleans(),
    "deadline_ms": st.integers(0, (1 << 46) - 1),
    "replica": ids,
    "name": texts,
    "address": texts,
}


def structs(cls: type, fields: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[object]:
    """Instances of a structure; a field that has no strategy yet is a KeyError, so that none is left out."""
    return st.builds(cls, **{name: fields[name] for name in cls.__struct_fields__})  # type: ignore[attr-defined]


CHILD_OPERATIONS: tuple[type, ...] = get_args(ChildOperation)
OPERATION_FIELDS["path"] = some_bytes


def operation(cls: type) -> st.SearchStrategy[object]:
    """Instances of one operation."""
    return st.builds(cls, **{name: OPERATION_FIELDS[name] for name in SHAPES[cls][1]})


OPERATION_FIELDS["operation"] = st.one_of([operation(cls) for cls in CHILD_OPERATIONS])
any_operation: st.SearchStrategy[object] = st.one_of([operation(cls) for cls in OPERATIONS])
batch_operations = st.lists(any_operation, min_size=1, max_size=4)
raw_operations = batch_operations.map(lambda operations: encode_operations(operations, 7, 1))  # type: ignore[arg-type]
known_rows = st.builds(KnownRow, replica=ids, state=counts, clock=counts, vector=vectors)
roster_rows = st.builds(
    RosterRow,
    replica=ids,
    name=texts,
    address=texts,
    join=st.none() | dots,
    born=st.booleans(),
    left=st.none() | dots,
    buried=st.none() | dots,
)

MESSAGE_FIELDS: dict[str, st.SearchStrategy[object]] = {
    **{
        name: counts
        for name in ("protocol", "role", "wall_ms", "final_seq", "buried", "stamp", "state", "counter", "echo_ms")
    },
    **{name: texts for name in ("cluster", "name", "address", "code", "reason", "prefers", "voted")},
    **{name: counts for name in ("shards", "keys", "received_bytes")},
    **{name: ids for name in ("replica", "origin")},
    **{name: vectors for name in ("vector", "raised", "peers", "flushes", "unreachable", "stalled")},
    **{name: id_lists for name in ("line", "dropped", "direct", "origins", "blind")},
    "graves": st.lists(st.tuples(ids, counts, counts), max_size=3),
    "resubmitted": st.lists(st.tuples(ids, counts, st.lists(st.tuples(seqs, seqs), max_size=2)), max_size=3),
    **{name: st.lists(st.tuples(raw_bytes, st.lists(dots, min_size=1)), max_size=3) for name in ("ended", "grown")},
    "answer": st.booleans(),
    "asks": st.booleans(),
    "joins": st.lists(texts, max_size=3),
    "operations": raw_operations,
    "own": known_rows,
    "rows": st.lists(known_rows, max_size=3),
    "roster": st.lists(roster_rows, max_size=3),
    "known": st.lists(known_rows, max_size=3),
    "contexts": st.lists(st.tuples(ids, vectors), max_size=3),
    "entries": st.lists(st.binary(max_size=5), max_size=3).map(msgspec.msgpack.encode),
}


def message(cls: type) -> st.SearchStrategy[object]:
    """Instances of one message."""
    fields = dict(MESSAGE_FIELDS)
    fields["group"] = counts if cls is Hello else ids
    fields["first"] = seqs if cls is Batch else counts
    fields["count"] = seqs
    return structs(cls, fields)


any_message: st.SearchStrategy[object] = st.one_of([message(cls) for cls in MESSAGES])


def _leaves(cls: type) -> list[type]:
    below: list[type] = cls.__subclasses__()
    return [leaf for each in below for leaf in _leaves(each)] if below else [cls]


assert all(cls in OPERATIONS for cls in _leaves(operations.Operation))
assert all(cls in MESSAGES for cls in messages.Message.__subclasses__() if cls not in (KnownRow, RosterRow))
