"""Requests from bytes, incrementally and without I/O (floor 8).

Whole requests are parsed by hiredis. It reads replies, so it takes more than a request may be: lists within lists,
lengths of any size, for which it takes memory before an element has come. So:

- Interpreted: bytes in which a header could announce much are not shown to it before `_walk` has followed their headers
  strictly (`_suspicious`: one search in C, which ordinary requests pass). What it made is written again and compared:
  exactly that was sent, from the beginning of the bytes, or they are followed by `_walk` as well. All of that is C.
- Compiled: headers are followed first, byte by byte (`ordinary`), which then takes half of that time.
- A request that is not complete is followed header by header, each looked at once, so a large argument that comes in
  many pieces costs nothing but its copy. Until its last byte has come, hiredis is only fed. What stands behind that
  byte is parsed as what stands at the beginning of bytes is.

Inline commands are read here. Limits are Redis's: 512 MiB an argument, 64 KiB an inline request, and `held_bytes_max`
for a request as a whole; 1,048,576 arguments, as in Redis before 7.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast, final

import hiredis

from marmoset import build
from marmoset.resp.errors import (
    INVALID_BULK_LENGTH,
    INVALID_MULTIBULK_LENGTH,
    TOO_BIG_INLINE,
    TOO_LARGE_REQUEST,
    UNBALANCED_QUOTES,
    ProtocolError,
    expected_dollar,
)

if TYPE_CHECKING:  # machine integers in compiled code; interpreted code has no use for them
    from mypy_extensions import i64

ARGUMENTS_MAX: Final = 1024 * 1024
BULK_BYTES_MAX: Final = 512 * 1024 * 1024
INLINE_BYTES_MAX: Final = 64 * 1024
HEADER_BYTES_MAX: Final = 32

# As numbers: what `ord` gives, compiled code would look up for every byte.
_STAR: Final = 0x2A
_DOLLAR: Final = 0x24
_ZERO: Final = 0x30
_CR: Final = 0x0D
_LF: Final = 0x0A

_DIGITS_MAX: Final = 6
_DIGITS_BITS: Final = 3
_DIGITS_MASK: Final = 7
_ARRAY_HEADERS: Final = [b"*%d\r\n" % count for count in range(256)]
_IS_COMPILED: Final = build.kind() == build.COMPILED

_suspicious: Final = re.compile(rb"[*%~>|][0-9]{6}").search
_write: Final = cast("Callable[[tuple[bytes, ...]], bytes]", hiredis.pack_command)
_number: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}").fullmatch


@final
class _Reader:
    """A reader of hiredis. Its methods are what is kept: each would be looked up for every request."""

    __slots__ = ("feed", "gets")

    def __init__(self) -> None:
        reader = hiredis.Reader()
        self.feed: Callable[[bytes], object] = reader.feed
        self.gets: Callable[[], object] = reader.gets

    def array(self, data: bytes) -> object:
        """What hiredis makes of an array of which these are the last bytes, and every header was followed: a list, or
        None where there is none.

        Raises:
            ProtocolError: they disagree, since the reader had something from a stream that was forged.
        """
        self.feed(data)
        try:
            parsed = self.gets()
        except hiredis.ProtocolError:
            parsed = False
        if parsed is False:
            raise ProtocolError(INVALID_MULTIBULK_LENGTH)
        return parsed

    def arrays(self, data: bytes, count: int) -> list[list[bytes]]:
        """So many arrays, of which every header was followed, shown to hiredis as one array of them: each call of it
        costs about as much as what it does. Raises as `array` does."""
        header = _ARRAY_HEADERS[count] if count < len(_ARRAY_HEADERS) else b"*%d\r\n" % count
        found = self.array(header + data)
        if not isinstance(found, list) or len(found) != count:
            raise ProtocolError(INVALID_MULTIBULK_LENGTH)
        return cast("list[list[bytes]]", found)


@final
class RequestParser:
    """One client's stream of requests."""

    __slots__ = (
        "_arguments_left",
        "_inline_begun",
        "_line",
        "_partial",
        "_reader",
        "_skip",
        "_walks_first",
        "held_bytes",
        "held_bytes_max",
    )

    def __init__(self, held_bytes_max: int, *, walks_first: bool = _IS_COMPILED) -> None:
        """Both ways take the same requests; `walks_first` says which is the faster one here."""
        self.held_bytes_max = held_bytes_max
        self._walks_first = walks_first
        self._reader = _Reader()
        self._partial = False  # hiredis has the beginning of a request that is not complete
        self._arguments_left = -1  # of the partial request; -1 while its first header is awaited
        self._skip = 0  # bytes until the next header of the partial request
        self._line = b""  # the beginning of a header that was cut
        self.held_bytes = 0
        """Of a request that is not complete."""
        self._inline_begun = b""  # the beginning of an inline request

    @property
    def is_between_requests(self) -> bool:
        """Whether the bytes that come next begin a request. O(1)."""
        return not self._partial and not self._inline_begun

    def feed(self, data: bytes, requests: list[list[bytes]]) -> None:
        """Append the requests that `data` completes. O(length).

        Raises:
            ProtocolError: the stream cannot be followed any further; the requests before the fault were appended.
        """
        at = 0
        if self._partial:
            at = self._go_on(data, requests)
        elif self._inline_begun:
            data = self._inline_begun + data
            self._inline_begun = b""
            at = self._one_inline(data, 0, requests)
        if at < len(data):
            rest = data[at:] if at else data
            if self._walks_first:
                at += self._ordinary(rest, requests)
            elif rest[:1] == b"*" and _suspicious(rest) is None:
                at += self._all(rest, requests)
        while at < len(data):
            at = self._one(data, at, requests) if data[at] == _STAR else self._one_inline(data, at, requests)

    def _all(self, data: bytes, requests: list[list[bytes]]) -> int:
        """Whole requests from the beginning, by hiredis; how far they go."""
        gets = self._reader.gets
        self._reader.feed(data)
        parsed: list[list[bytes]] = []
        try:
            while (request := gets()) is not False:
                parsed.append(cast("list[bytes]", request))
            written = _write(tuple(parsed[0])) if len(parsed) == 1 else b"".join(map(_write, map(tuple, parsed)))
        except (hiredis.ProtocolError, TypeError):  # TypeError: something that is no list of bytes
            self._reader = _Reader()
            return 0
        if written != data:
            self._reader = _Reader()
            if not data.startswith(written):
                return 0
        requests += parsed if b"*0\r\n" not in written else filter(None, parsed)
        return len(written)

    def _ordinary(self, data: bytes, requests: list[list[bytes]]) -> int:
        """Whole requests from the beginning, of which every header was followed; how far they go."""
        end, count = ordinary(data)
        if count:
            whole = data if end == len(data) else data[:end]
            if count == 1:
                self._take(whole, requests)
            else:
                requests += self._reader.arrays(whole, count)
        return end

    def _one(self, data: bytes, at: int, requests: list[list[bytes]]) -> int:
        """One request, followed strictly; where it ends, or the end of the data."""
        self._arguments_left = -1
        self._skip = 0
        end = self._walk(data, at)
        if end < 0:
            self._partial = True
            self._hold(data[at:])
            return len(data)
        self._take(data[at:end], requests)
        return end

    def _go_on(self, data: bytes, requests: list[list[bytes]]) -> int:
        """More of a request that is not complete; where it ends, or the end of the data."""
        end = -1
        if self._skip > len(data):
            self._skip -= len(data)
        else:
            end = self._walk(data, 0)
        if end < 0:
            self._hold(data)
            return len(data)
        self._partial = False
        self.held_bytes = 0
        self._take(data[:end], requests)
        return end

    def _hold(self, data: bytes) -> None:
        self.held_bytes += len(data)
        if self.held_bytes > self.held_bytes_max:
            raise ProtocolError(TOO_LARGE_REQUEST)
        self._reader.feed(data)

    def _take(self, data: bytes, requests: list[list[bytes]]) -> None:
        """The last bytes of a request of which every header was followed. An empty one does nothing, as in Redis."""
        request = self._reader.array(data)
        if request:
            requests.append(cast("list[bytes]", request))

    def _walk(self, data: bytes, at: int) -> int:
        """Follow the headers of a request through `data`; where it ends, or -1 if it does not end there."""
        while True:
            if self._skip:
                if at + self._skip > len(data):
                    self._skip -= len(data) - at
                    return -1
                at += self._skip
                self._skip = 0
            if self._arguments_left == 0:
                return at
            newline = data.find(b"\n", at, at + HEADER_BYTES_MAX)
            if newline < 0:
                self._line = self._check_cut(self._line + data[at : at + HEADER_BYTES_MAX])
                return -1
            line = self._line + data[at:newline]
            self._line = b""
            at = newline + 1
            if self._arguments_left < 0:
                self._arguments_left = max(0, _length(line, ARGUMENTS_MAX, INVALID_MULTIBULK_LENGTH))
            else:
                if line[:1] != b"$":
                    raise ProtocolError(expected_dollar(line[:1] or b"\n"))
                length = _length(line, BULK_BYTES_MAX, INVALID_BULK_LENGTH)
                if length < 0:
                    raise ProtocolError(INVALID_BULK_LENGTH)
                self._skip = length + 2
                self._arguments_left -= 1

    def _check_cut(self, line: bytes) -> bytes:
        """The beginning of a header: refuse it as early as it cannot become one."""
        if self._arguments_left >= 0 and line and line[0] != _DOLLAR:
            raise ProtocolError(expected_dollar(line[:1]))
        if len(line) >= HEADER_BYTES_MAX:
            raise ProtocolError(INVALID_MULTIBULK_LENGTH if self._arguments_left < 0 else INVALID_BULK_LENGTH)
        return line

    def _one_inline(self, data: bytes, at: int, requests: list[list[bytes]]) -> int:
        newline = data.find(b"\n", at, at + INLINE_BYTES_MAX + 1)
        if newline < 0:
            if len(data) - at > INLINE_BYTES_MAX:
                raise ProtocolError(TOO_BIG_INLINE)
            self._inline_begun = data[at:]
            return len(data)
        request = split_inline(data[at:newline].removesuffix(b"\r"))
        if request:
            requests.append(request)
        return newline + 1


@final
class JoinedParser:
    """Parses the short requests of many clients at once: they are shown to hiredis as one array."""

    __slots__ = ("_is_of_use", "_reader")

    def __init__(self, *, is_of_use: bool = _IS_COMPILED) -> None:
        """Where headers are not followed first, each client's own parser is faster."""
        self._is_of_use = is_of_use
        self._reader = _Reader()

    def parse(self, parts: list[bytes]) -> list[list[list[bytes]]]:
        """For each of some bytes the requests that they are, if they are whole ordinary ones and nothing else; else
        none, and it has to be shown to a parser of its own. O(length)."""
        counts = [0] * len(parts)
        whole = []
        total = 0
        if self._is_of_use:
            for at, part in enumerate(parts):
                end, count = ordinary(part)
                if end == len(part):
                    counts[at] = count
                    total += count
                    whole.append(part)
        requests: list[list[bytes]] = []
        if total:
            try:
                requests = self._reader.arrays(b"".join(whole), total)
            except Exception:  # whatever it is, what the reader has is not to be taken for what others send
                self._reader = _Reader()
        parsed = []
        begin = 0
        for count in counts:
            parsed.append(requests[begin : begin + count])
            begin += count
        return parsed


def ordinary(data: bytes) -> "tuple[i64, i64]":
    r"""Where the last of the whole requests ends that stand one behind the other from the beginning on, as clients
    write them: no header has more than six digits, none is empty or negative. And how many these are. O(headers).

    >>> ordinary(b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n"), ordinary(b"*1\r\n$04\r\nPING\r\n")
    ((14, 1), (0, 0))
    """
    end: i64 = 0
    count: i64 = 0
    at: i64 = 0
    size: i64 = len(data)
    while at < size and data[at] == _STAR:
        header: i64 = _header_at(data, at + 1, size)
        arguments: i64 = header >> _DIGITS_BITS
        if arguments <= 0:
            break
        at += 3 + (header & _DIGITS_MASK)
        while arguments > 0:
            if at >= size or data[at] != _DOLLAR:
                return end, count
            header = _header_at(data, at + 1, size)
            if header < 0:
                return end, count
            at += 5 + (header & _DIGITS_MASK) + (header >> _DIGITS_BITS)
            arguments -= 1
        if at > size:
            break
        end = at
        count += 1
    return end, count


def _header_at(data: bytes, at: "i64", size: "i64") -> "i64":
    """The number in a header from its first digit on, and in the lowest bits how many digits it has; -1 where it is not
    an ordinary one."""
    number: i64 = 0
    first: i64 = at
    while at < size:
        digit: i64 = data[at]
        digit -= _ZERO
        if digit < 0 or digit > 9:
            break
        number = 10 * number + digit
        at += 1
        if at - first > _DIGITS_MAX:
            return -1
    digits: i64 = at - first
    if at + 1 >= size or data[at] != _CR or data[at + 1] != _LF or not digits:
        return -1
    if digits > 1 and data[first] == _ZERO:
        return -1
    return number << _DIGITS_BITS | digits


def _length(line: bytes, limit: int, fault: str) -> int:
    if line[-1:] != b"\r" or _number(line, 1, len(line) - 1) is None:
        raise ProtocolError(fault)
    length = int(line[1:])
    if length > limit:
        raise ProtocolError(fault)
    return length


# No part of it can match in two ways, so that it takes linear time. Possessive quantifiers would say so, but with them
# Python 3.11.2 lets an unclosed quote pass.
_word: Final = re.compile(
    rb"""([^ \n\r\t"']*)(?:"([^"\\]*(?:\\.[^"\\]*)*)"|'((?:[^'\\]|\\'|\\(?!'))*)')?(?=\s|\Z)""", re.DOTALL
).match
_escape: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL).sub
_ESCAPES: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_inline(line: bytes) -> list[bytes]:
    r"""The words of an inline command, quoted as in the Redis command line. O(length).

    Raises:
        ProtocolError: a quote is not closed, or something follows its end.

    >>> split_inline(b"SET 'a key' \"\\x41\\n\"")
    [b'SET', b'a key', b'A\n']
    """
    words: list[bytes] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at] in b" \n\r\t\v\f":
            at += 1
        if at >= end:
            return words
        found = _word(line, at)
        if found is None:
            raise ProtocolError(UNBALANCED_QUOTES)
        bare, double, single = found.groups()
        if double is not None:
            bare += _escape(_unescaped, double)
        elif single is not None:
            bare += single.replace(b"\\'", b"'")
        words.append(bare)
        at = found.end()


def _unescaped(escape: re.Match[bytes]) -> bytes:
    if escape[1] is not None:
        return bytes.fromhex(escape[1].decode("ascii"))
    return _ESCAPES.get(escape[2], escape[2])
