"""What a hostile or broken peer might send (beside the floors): valid messages of every type, and ways to spoil them.

Spoilt is done on two levels. *Bytes*: flipped bits, cuts, splices of two messages, repeated pieces, lengths that lie,
msgpack that nests or promises billions of elements, pure noise. *Fields*: a message that is read, one field of which
(or of one of its operations) is replaced by another value that its type allows, and written again: such a message
passes the decoder, and only rules about what it means can stop it.

Everything is drawn from a generator that is given.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final, get_args

import msgspec
from msgspec import inspect

from marmoset.codec.frames import HEADER
from marmoset.codec.messages import AnyMessage, Batch, SnapshotPart, decode, encode
from marmoset.codec.packets import PACKET_BYTES_MAX, AnyBody, AnyUpdate, Packet, decode_packet
from marmoset.codec.wire import RUN_STRUCTURES, STRUCTURES, decode_structures
from marmoset.errors import PeerError

MESSAGES: Final[tuple[Any, ...]] = get_args(AnyMessage)
BODIES: Final[tuple[Any, ...]] = get_args(AnyBody)
UPDATES: Final[tuple[Any, ...]] = get_args(AnyUpdate)
NUMBERS: Final = (0, 1, 2, 255, 65_535, (1 << 31) - 1, (1 << 60) - 1, (1 << 62) - 1)
BYTES: Final = (b"", b"k", b"s", b"l", b"h", b"z", b"n", b"7", b"\xff" * 40)
TEXTS: Final = ("", "ada", "marmoset", "0.1", "nan", "127.0.0.1:7001", "\x00", "ж" * 99)
BOMBS: Final = (
    b"\x91" * 5000,  # arrays in arrays
    b"\x81\x01" * 5000,  # maps in maps
    b"\xdd\xff\xff\xff\xff",  # an array of four billion
    b"\xdf\xff\xff\xff\xff",  # a map of four billion
    b"\xc6\xff\xff\xff\xff",  # four gigabytes
    b"\xdb\x7f\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",  # a number above 63 bits
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",  # not a number
)


class Maker:
    """Makes messages and operations that are well formed; replicas are taken from `replicas` where there are any.

    Values follow from the types of the fields, so that a message that is new is covered as soon as it is there.
    """

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.replicas: list[int] = []
        self.newest = 0
        """The highest incarnation of whom a packet speaks, mostly."""
        self._makers: dict[type, dict[str, Callable[[], Any]]] = {}
        for cls in (*MESSAGES, *STRUCTURES.values(), *RUN_STRUCTURES.values(), Packet):
            self._learn(inspect.type_info(cls))

    def _learn(self, info: inspect.Type) -> Callable[[], Any]:
        """How a value of some type is made. O(size of the type)."""
        rng = self.rng
        if isinstance(info, inspect.StructType):
            cls = info.cls
            if cls not in self._makers:
                self._makers[cls] = {}
                self._makers[cls] |= {f.name: self._raw(f.name) or self._learn(f.type) for f in info.fields}
            return lambda: self.structure(cls)
        if isinstance(info, inspect.UnionType):
            choices = [self._learn(each) for each in info.types]
            return lambda: rng.choice(choices)()  # noqa: PLW0108  # another one each time
        if isinstance(info, (inspect.ListType, inspect.VarTupleType)):
            item, least = self._learn(info.item_type), info.min_length or 0
            return lambda: [item() for _ in range(max(least, rng.randrange(4)))]
        if isinstance(info, inspect.TupleType):
            parts = [self._learn(each) for each in info.item_types]
            return lambda: tuple(part() for part in parts)
        if isinstance(info, inspect.IntType):
            least = -(1 << 63) if info.ge is None and info.gt is None else (info.ge or 0) + (info.gt is not None)
            most = info.lt - 1 if info.lt is not None else (1 << 63) - 1 if info.le is None else info.le
            return lambda: min(most, max(least, self._number()))
        if isinstance(info, inspect.StrType):
            return lambda: rng.choice(TEXTS)[: info.max_length]
        simple: dict[type, Callable[[], Any]] = {
            inspect.BoolType: lambda: rng.random() < 0.5,
            inspect.NoneType: lambda: None,
            inspect.BytesType: lambda: rng.choice(BYTES),
        }
        return simple[type(info)]

    def _raw(self, name: str) -> Callable[[], Any] | None:
        """How a field is made whose type does not say everything."""
        if name == "operations":
            return lambda: _raw_operations([self.operation() for _ in range(self.rng.randint(1, 3))])
        if name == "pairs":
            return lambda: [part for _ in range(self.rng.randint(1, 3)) for part in (self.rng.choice(BYTES), b"7")]
        if name == "incarnation":  # the highest ends all talk about a member: seldom
            return lambda: self.rng.choice(NUMBERS[:-1]) if self.rng.random() < 0.002 else self._incarnation()
        if name in ("subject", "by"):
            return lambda: self.rng.choice(self.replicas) if self.replicas else self.rng.randint(1, 9)
        if name == "entries":
            return lambda: msgspec.msgpack.encode([self.rng.randbytes(3)])
        return None

    def _incarnation(self) -> int:
        return max(0, self.newest - self.rng.randrange(2))

    def _number(self) -> int:
        chance = self.rng.random()
        if self.replicas and chance < 0.4:
            return self.rng.choice(self.replicas)
        return self.rng.choice(NUMBERS) if chance < 0.6 else self.rng.randrange(9)

    def structure(self, cls: Any) -> Any:
        """A structure of some type. O(fields)."""
        values = {name: make() for name, make in self._makers[cls].items()}
        if "keys" in values and cls in RUN_STRUCTURES.values():  # whose columns are as long as one another
            keys = values["keys"]
            count = len(keys) if len(keys) > 1 else self.rng.randint(2, 3)  # one key is that of all
            for name, make in self._makers[cls].items():
                while len(values[name]) < count:
                    values[name] += make()
                values[name] = values[name][:count]
            if self.rng.random() < 0.3:
                values["keys"] = values["keys"][:1]
        return cls(**values)

    def operation(self) -> Any:
        """An operation of any type, as the structure that is written."""
        return self.structure(self.rng.choice([*STRUCTURES.values(), *RUN_STRUCTURES.values()]))

    def message(self) -> bytes:
        """The bytes of a message of any type."""
        return encode(self.structure(self.rng.choice(MESSAGES)))

    def packet(self, protocol: int, cluster: str, sender: int, waited: list[int]) -> bytes:
        """The bytes of a packet of any kind, with as many updates as may be; `waited` are seqs that matter."""
        rng = self.rng
        body = self.structure(rng.choice(BODIES))
        if waited and "seq" in body.__struct_fields__ and rng.random() < 0.6:
            body = msgspec.structs.replace(body, seq=rng.choice(waited))
        if "target" in body.__struct_fields__ and rng.random() < 0.5:
            body = msgspec.structs.replace(body, target=rng.choice([sender, self.replicas[0]]))
        updates = [self.structure(rng.choice(UPDATES)) for _ in range(rng.choice([0, 0, 1, 3, 30, 255]))]
        made = Packet(protocol, cluster, sender, self._makers[Packet]["incarnation"](), body, updates)
        while len(data := msgspec.msgpack.encode(made)) > PACKET_BYTES_MAX:
            made = msgspec.structs.replace(made, updates=made.updates[: len(made.updates) * 3 // 4])
        return data

    # -- spoiling

    def spoil_packet(self, data: bytes) -> bytes:
        """A packet with one field changed."""
        return msgspec.msgpack.encode(self._changed(decode_packet(data)))

    def spoil_fields(self, data: bytes) -> bytes:
        """A message with one field changed; as it is where it cannot be read."""
        try:
            message = decode(data)
            chance = self.rng.random()
            if isinstance(message, Batch) and chance < 0.2:
                return encode(msgspec.structs.replace(message, operations=self.spoil_bytes(message.operations)))
            if isinstance(message, Batch) and chance < 0.7:
                operations: list[Any] = list(decode_structures(message.operations))
                at = self.rng.randrange(len(operations))
                operations[at] = self.operation() if self.rng.random() < 0.4 else self._changed(operations[at])
                return encode(msgspec.structs.replace(message, operations=_raw_operations(operations)))
            if isinstance(message, SnapshotPart) and chance < 0.7:
                entries = self.spoil_bytes(message.entries)
                return encode(msgspec.structs.replace(message, entries=entries))
            changed: AnyMessage = self._changed(message)
            return encode(changed)
        except (PeerError, msgspec.MsgspecError, OverflowError):
            return data

    def _changed(self, structure: Any) -> Any:
        names = structure.__struct_fields__
        if not names:
            return structure
        name = self.rng.choice(names)
        value = getattr(structure, name)
        new = self._makers[type(structure)][name]()
        if isinstance(value, int) and isinstance(new, int) and self.rng.random() < 0.5:
            new = max(0, value + self.rng.choice([-1, 1]))
        elif hasattr(value, "__struct_fields__") and self.rng.random() < 0.7:
            new = self._changed(value)
        elif isinstance(value, list) and value and self.rng.random() < 0.6:
            at = self.rng.randrange(len(value))
            element = value[at]
            if hasattr(element, "__struct_fields__"):
                new = [*value[:at], self._changed(element), *value[at + 1 :]]
            elif isinstance(element, tuple) and len(element) == 2 and isinstance(element[1], int):
                near = max(0, element[1] + self.rng.choice([-1, 1, 1 << 40]))
                new = [*value[:at], (element[0], near), *value[at + 1 :]]
            else:
                new = self.rng.choice([value[:at] + value[at + 1 :], [*value, value[at]]])
        return msgspec.structs.replace(structure, **{name: new})

    def spoil_bytes(self, data: bytes, other: bytes = b"") -> bytes:
        """Bytes changed in one of many ways; `other` is what to splice with. O(length)."""
        rng = self.rng
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.randint(1, 16))
        match rng.randrange(10):
            case 0:
                flipped = bytearray(data)
                for _ in range(rng.randint(1, 8)):
                    if flipped:
                        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
                return bytes(flipped)
            case 1:
                return data[:at]
            case 2:
                return data[at:]
            case 3:
                return data[:at] + other[rng.randrange(len(other) + 1) :]
            case 4:
                return data[:at] + data[at:end] * rng.randint(2, 9) + data[end:]
            case 5:
                return data[:at] + data[end:]
            case 6:
                return data[:at] + rng.choice(BOMBS) + (data[at:] if rng.random() < 0.5 else data[end:])
            case 7:
                return data[:at] + rng.randbytes(end - at) + data[end:]
            case 8:
                return rng.randbytes(rng.randint(1, 64))
            case _:
                return data + rng.randbytes(rng.randint(1, 16))

    def spoil_frames(self, stream: bytes) -> bytes:
        """A stream of frames with a length that lies, or changed anywhere."""
        rng = self.rng
        if rng.random() < 0.5 and len(stream) >= HEADER.size:
            lie = rng.choice([0, 1, 3, len(stream), len(stream) * 2, 1 << 20, 1 << 26, (1 << 32) - 1])
            return HEADER.pack(lie) + stream[HEADER.size :]
        return self.spoil_bytes(stream, stream)


def _raw_operations(structures: list[Any]) -> bytes:
    """The bytes of a batch's operations, in whatever runs they stand. O(length)."""
    return msgspec.msgpack.encode(structures)
