"""How operations are written (floor 2): an array behind a small integer tag, by msgspec.

Decoding checks types and bounds in C, against the tables here. Tags are part of the wire format: they are never used
again for anything else. Neighbours of one kind stand together behind one tag, as a run (`codec.runs`). What only a
type can check (an amount that is a number, say) is checked by `check_operation` of `crdts.types`, before anything is
applied.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Union, cast, get_args

import msgspec

from marmoset.codec.operations import (
    INT_MAX,
    INT_MIN,
    NESTING_MAX,
    Amount,
    AnyOperation,
    Assign,
    Bury,
    ChildOperation,
    Expire,
    Flush,
    Increment,
    Inside,
    Join,
    Leave,
    MapAssign,
    MapIncrement,
    MapRemove,
    Operation,
    Ready,
    Reset,
    Resubmit,
    Scalar,
    ScoreAssign,
    ScoreIncrement,
    ScoreRemove,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
    width_of,
)
from marmoset.codec.runs import (
    ASSIGN_RUN,
    INCREMENT_RUN,
    MAP_RUN,
    PUSH_RUN,
    SCORE_RUN,
    SET_RUN,
    BatchWriter,
    Part,
    Pushes,
    operations_of,
    run_of,
    write_batch,
)
from marmoset.errors import PeerError
from marmoset.ids import ID_BITS, ReplicaId

Id = Annotated[int, msgspec.Meta(gt=0, lt=1 << ID_BITS)]
Seq = Annotated[int, msgspec.Meta(gt=0, lt=1 << 60)]
WireDot = tuple[Id, Seq]
Text = Annotated[str, msgspec.Meta(max_length=512)]

Names = Annotated[list[bytes], msgspec.Meta(min_length=1)]
Path = Annotated[list[bytes], msgspec.Meta(min_length=1, max_length=NESTING_MAX)]
Values = Annotated[list[Scalar], msgspec.Meta(min_length=1)]
Pairs = Annotated[list[Scalar], msgspec.Meta(min_length=2)]
Ranges = Annotated[list[tuple[Id, Seq, Seq]], msgspec.Meta(min_length=1)]
Seqs = Annotated[list[tuple[Seq, Seq]], msgspec.Meta(min_length=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 46)]

SHAPES: Final[dict[type[Operation], tuple[int, dict[str, Any]]]] = {
    Reset: (1, {"key": bytes}),
    Assign: (2, {"key": bytes, "value": Scalar, "keep_deadline": bool}),
    Increment: (3, {"key": bytes, "amount": Amount}),
    SetAdd: (4, {"key": bytes, "elements": Names}),
    SetRemove: (5, {"key": bytes, "elements": Names}),
    MapAssign: (6, {"key": bytes, "pairs": Pairs}),
    MapIncrement: (7, {"key": bytes, "field": bytes, "amount": Amount}),
    MapRemove: (8, {"key": bytes, "fields": Names}),
    SequenceInsert: (9, {"key": bytes, "left": WireDot | None, "right": WireDot | None, "values": Values}),
    SequenceRemove: (10, {"key": bytes, "ranges": Ranges}),
    SequenceAssign: (11, {"key": bytes, "element": WireDot, "value": Scalar}),
    Flush: (12, {}),
    ScoreAssign: (13, {"key": bytes, "pairs": Pairs}),
    ScoreIncrement: (14, {"key": bytes, "field": bytes, "amount": Amount}),
    ScoreRemove: (15, {"key": bytes, "fields": Names}),
    Expire: (16, {"key": bytes, "deadline_ms": Milliseconds}),
    Inside: (17, {"key": bytes, "path": Path, "operation": ChildOperation}),
    Join: (32, {"replica": Id, "name": Text, "address": Text}),
    Ready: (33, {}),
    Leave: (34, {}),
    Bury: (35, {"replica": Id}),
    Resubmit: (36, {"replica": Id, "seqs": Seqs}),
}
"""The tag and the fields of each operation, the latter in the order of `Operation.content`."""


Several = Annotated[list[bytes], msgspec.Meta(min_length=2)]
Amounts = Annotated[list[int], msgspec.Meta(min_length=1)]

RUNS: Final[dict[int, tuple[str, dict[str, Any]]]] = {
    ASSIGN_RUN: ("AssignRun", {"keys": Names, "values": Pairs}),
    INCREMENT_RUN: ("IncrementRun", {"keys": Names, "amounts": Amounts}),
    SET_RUN: ("SetAddRun", {"keys": Names, "elements": Several}),
    MAP_RUN: ("MapAssignRun", {"keys": Names, "fields": Several, "values": Pairs}),
    SCORE_RUN: ("ScoreAssignRun", {"keys": Names, "members": Several, "scores": Pairs}),
    PUSH_RUN: (
        "PushRun",
        {"key": bytes, "left": WireDot | None, "right": WireDot | None, "is_front": bool, "values": Pairs},
    ),
}
"""The name and the columns of each run, by its tag; one key, or one amount, is that of all. Neighbours that can form a
run are written so, unless their batch has a number beyond 64 bits."""


def _union(types: Iterable[type]) -> Any:
    return Union[tuple(types)]  # noqa: UP007  # there is no other way to write one of types that are not known yet


def _structures() -> dict[type[Operation], type[msgspec.Struct]]:
    made: dict[type[Operation], type[msgspec.Struct]] = {}
    options: dict[str, Any] = {"array_like": True, "forbid_unknown_fields": True, "frozen": True, "gc": False}
    for cls, (tag, fields) in SHAPES.items():
        known = [
            (name, _union(made[each] for each in get_args(ChildOperation)) if kind is ChildOperation else kind)
            for name, kind in fields.items()
        ]
        made[cls] = msgspec.defstruct(cls.__name__, known, tag=tag, **options)
    return made


def _run_structures() -> dict[int, type[msgspec.Struct]]:
    options: dict[str, Any] = {"array_like": True, "forbid_unknown_fields": True, "frozen": True, "gc": False}
    return {
        tag: msgspec.defstruct(name, list(columns.items()), tag=tag, **options) for tag, (name, columns) in RUNS.items()
    }


STRUCTURES: Final = _structures()
"""What the bytes of each operation are checked against, and become for a moment, before they are an operation."""

RUN_STRUCTURES: Final = _run_structures()
"""The same for runs, by their tags."""

_RUN_TAGS: Final[dict[type, int]] = {structure: tag for tag, structure in RUN_STRUCTURES.items()}

_CLASSES: Final[dict[type, type[Operation]]] = {structure: cls for cls, structure in STRUCTURES.items()}
_astuple: Final = msgspec.structs.astuple
_TAGS: Final[dict[type, int]] = {cls: tag for cls, (tag, _) in SHAPES.items()}


def row(operation: object) -> tuple[object, ...]:
    """What is written of an operation: its tag and its content. O(fields)."""
    assert isinstance(operation, Operation)
    return (_TAGS[type(operation)], *operation.content())


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=row)
_written: Final = _union([*STRUCTURES.values(), *RUN_STRUCTURES.values()])
_decoder: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(list[_written])  # type: ignore[valid-type]


def names(operation: Operation) -> list[str]:
    """What the parts of an operation's content are called. O(fields)."""
    return list(SHAPES[type(operation)][1])


def encode_operations(operations: list[AnyOperation], origin: ReplicaId, first: int) -> bytes:
    """The bytes of a batch's operations, of which the first one has the dot (origin, first). O(length)."""
    return encode_batch(write_batch(operations, origin, first))[0]


def encode_batch(written: BatchWriter) -> tuple[bytes, bool]:
    """The bytes of a batch's operations, and whether they can be read as they are: not with numbers beyond 64 bits.
    O(length)."""
    try:
        return _encoder.encode(written.rows), True
    except OverflowError:  # sums may outgrow 64 bits, and be assigned again
        return _encoder.encode([_with_digits(operation) for operation in written.operations()]), False


def _with_digits(operation: Operation) -> tuple[object, ...]:
    """The row of an operation with whole numbers beyond 64 bits as their digits: a number all the same. O(length)."""
    written: list[object] = []
    for name, value in zip(("tag", *names(operation)), row(operation), strict=True):
        if isinstance(value, Operation):
            written.append(_with_digits(value))
        elif isinstance(value, list):
            written.append([b"%d" % x if isinstance(x, int) and not INT_MIN <= x <= INT_MAX else x for x in value])
        elif isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
            written.append(str(value) if name == "amount" else b"%d" % value)
        else:
            written.append(value)
    return tuple(written)


def decode_structures(raw: bytes) -> list[msgspec.Struct]:
    """The operations and runs of a batch, of which nothing but the types is checked. O(length).

    Raises:
        PeerError: they are none, or there are none.
    """
    try:
        structures: list[msgspec.Struct] = _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as problem:
        raise PeerError(f"operations that cannot be read: {problem}") from problem
    if not structures:
        raise PeerError("a batch without operations")
    return structures


def decode_parts(raw: bytes, origin: ReplicaId, first: int) -> list[Part]:
    """The operations of a batch, of which the first one has the dot (origin, first), as they are written: by themselves
    and in runs; checked one by one. O(length).

    Raises:
        PeerError: they are none, or there are none.
    """
    parts: list[Part] = []
    seq = first
    for structure in decode_structures(raw):
        tag = _RUN_TAGS.get(type(structure))
        if tag is None:
            operation = _operation(structure)
            parts.append(operation)
            seq += width_of(operation)
        elif tag == PUSH_RUN:
            key, left, right, is_front, values = _astuple(structure)
            parts.append(Pushes((origin, seq), key, left, right, is_front, values))
            seq += len(values)
        else:
            run = run_of(tag, _astuple(structure))
            parts.append(run)
            seq += run.count
    return parts


def decode_operations(raw: bytes, origin: ReplicaId, first: int) -> list[AnyOperation]:
    """The same, one by one. O(length).

    Raises:
        PeerError: they are none, or there are none.
    """
    return operations_of(decode_parts(raw, origin, first))


def _operation(structure: msgspec.Struct) -> AnyOperation:
    """The operation that a structure says. O(length of a map's pairs).

    Raises:
        PeerError: it has the right types and still is no operation.
    """
    cls = _CLASSES[type(structure)]
    content: Any = _astuple(structure)
    if cls is MapAssign or cls is ScoreAssign:
        pairs: list[Scalar] = content[1]
        for at in range(0, len(pairs), 2):
            if at + 1 == len(pairs) or not isinstance(pairs[at], bytes):
                raise PeerError("an assignment to a map or sorted set needs pairs of a name and a value")
    elif cls is Inside:
        content = (*content[:2], _operation(content[2]))
    return cast("AnyOperation", cls(*content))
