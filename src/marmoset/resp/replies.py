"""Replies to bytes, for RESP2 and RESP3 (floor 8).

A reply is a plain Python value: `int`, `bytes` (a bulk string), `str` (a simple string), None, `bool`, `float`, `list`,
`dict`, `SetReply`, `Verbatim`, `DoubleReply`, `ErrorReply`, or `Raw`, which is encoded already. RESP2 has no maps,
sets, doubles and booleans: they become flat arrays, arrays, bulk strings and integers, as Redis does it.
"""

from collections.abc import Callable, Sequence
from typing import Final, cast, final


@final
class Raw:
    """A reply that is encoded already, the same in both protocols."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


@final
class SetReply:
    """Elements without order: a set in RESP3, an array in RESP2."""

    __slots__ = ("elements",)

    def __init__(self, elements: "Sequence[Reply]") -> None:
        self.elements = elements


@final
class Verbatim:
    """Text to be shown as it is: marked so in RESP3, a bulk string in RESP2."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


@final
class DoubleReply:
    """A number that is not whole, by its exact text: a double in RESP3, a bulk string in RESP2."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


@final
class ErrorReply:
    """An error within a larger reply, as EXEC has them."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


@final
class NullArray:
    """The absence of an array: `*-1` in RESP2, null in RESP3."""

    __slots__ = ()


@final
class Deferred:
    """A reply that is not there yet. Its client's later requests wait for it, so that replies keep their order; nobody
    else does. Whoever makes one completes it, unless `abandon`, if it is set, is called because the client is gone."""

    __slots__ = ("_on_ready", "abandon", "is_ready", "reply")

    def __init__(self) -> None:
        self.reply: Reply = None
        self.is_ready = False
        self.abandon: Callable[[], None] | None = None
        self._on_ready: Callable[[], None] | None = None

    def complete(self, reply: "Reply") -> None:
        """The reply is there."""
        assert not self.is_ready
        self.reply = reply
        self.is_ready = True
        if self._on_ready is not None:
            self._on_ready()

    def when_ready(self, on_ready: Callable[[], None]) -> None:
        """Have `on_ready` called when the reply is there; not if it is already."""
        self._on_ready = on_ready


Reply = object

OK: Final = Raw(b"+OK\r\n")
QUEUED: Final = Raw(b"+QUEUED\r\n")
PONG: Final = Raw(b"+PONG\r\n")
ZERO: Final = Raw(b":0\r\n")
ONE: Final = Raw(b":1\r\n")
_INTEGERS: Final = [b":%d\r\n" % number for number in range(1000)]
_THOUSANDS: Final = [b":%d" % number for number in range(1000)]
_BELOW_THOUSAND: Final = [b"%03d\r\n" % number for number in range(1000)]
BULK_HEADERS: Final = [b"$%d\r\n" % length for length in range(1024)]
"""What stands before short bulk strings."""
LINE_END: Final = b"\r\n"
EMPTY_ARRAY: Final = Raw(b"*0\r\n")
NULL_ARRAY: Final = NullArray()

_NULL: Final = (b"", b"", b"$-1\r\n", b"_\r\n")
_NULL_ARRAY: Final = (b"", b"", b"*-1\r\n", b"_\r\n")


def encode(reply: Reply, protocol: int, out: list[bytes]) -> None:
    """Append the bytes of a reply. O(length)."""
    kind = type(reply)
    if kind is Raw:
        out.append(cast("Raw", reply).data)
    elif kind is int:
        append_integer(cast("int", reply), out)
    elif kind is bytes:
        append_bulk(cast("bytes", reply), out)
    elif reply is None:
        out.append(_NULL[protocol])
    elif isinstance(reply, list):
        out.append(b"*%d\r\n" % len(reply))
        for element in reply:
            encode(element, protocol, out)
    elif isinstance(reply, dict):
        out.append(b"%%%d\r\n" % len(reply) if protocol == 3 else b"*%d\r\n" % (2 * len(reply)))
        for name, value in reply.items():
            encode(name, protocol, out)
            encode(value, protocol, out)
    elif isinstance(reply, SetReply):
        out.append((b"~%d\r\n" if protocol == 3 else b"*%d\r\n") % len(reply.elements))
        for element in reply.elements:
            encode(element, protocol, out)
    elif isinstance(reply, str):
        out.append(b"+%b\r\n" % _line(reply))
    elif isinstance(reply, DoubleReply):
        out.append(b",%b\r\n" % reply.text if protocol == 3 else b"$%d\r\n%b\r\n" % (len(reply.text), reply.text))
    elif isinstance(reply, ErrorReply):
        out.append(error(reply.text))
    elif isinstance(reply, Verbatim):
        out.append(b"=%d\r\ntxt:%b\r\n" % (len(reply.text) + 4, reply.text) if protocol == 3 else _bulk(reply.text))
    elif isinstance(reply, NullArray):
        out.append(_NULL_ARRAY[protocol])
    elif isinstance(reply, bool):
        out.append((b"#t\r\n" if reply else b"#f\r\n") if protocol == 3 else (b":1\r\n" if reply else b":0\r\n"))
    elif isinstance(reply, float):
        text = b"%.17g" % reply
        out.append(b",%b\r\n" % text if protocol == 3 else _bulk(text))
    else:
        raise TypeError(f"a reply of {kind.__name__}")


def append_integer(number: int, out: list[bytes]) -> None:
    """Append an integer; below a million, in pieces that are there already, which costs less. O(1)."""
    if 0 <= number < 1000:
        out.append(_INTEGERS[number])
    elif 0 <= number < 1_000_000:
        out.append(_THOUSANDS[number // 1000])
        out.append(_BELOW_THOUSAND[number % 1000])
    else:
        out.append(b":%d\r\n" % number)


def append_bulk(bulk: bytes, out: list[bytes]) -> None:
    """Append a bulk string in pieces, which costs less than writing it anew. O(1)."""
    length = len(bulk)
    out.append(BULK_HEADERS[length] if length < len(BULK_HEADERS) else b"$%d\r\n" % length)
    out.append(bulk)
    out.append(LINE_END)


def _bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


def error(text: str) -> bytes:
    """An error reply; its text is one line."""
    return b"-%b\r\n" % _line(text)


def _line(text: str) -> bytes:
    return text.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape")
