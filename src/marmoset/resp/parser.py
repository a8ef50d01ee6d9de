"""Requests from bytes, incrementally and without I/O (floor 8).

Whole requests are parsed by hiredis. What it does not do is done here: inline commands, and refusing a length that no
request may have before a byte of it is kept. A request that is not complete is followed header by header (`_walk`),
each looked at once, so a large argument that comes in many pieces costs nothing but its copy. Until its last byte has
come, hiredis is only fed.

Limits are Redis's: 1,048,576 arguments, 512 MiB an argument, 64 KiB an inline request; and `held_bytes_max` for a request
as a whole.
"""

from typing import Final, final

import hiredis

from marmoset.resp.errors import (
    INVALID_BULK_LENGTH,
    INVALID_MULTIBULK_LENGTH,
    TOO_BIG_COUNT_STRING,
    TOO_BIG_INLINE,
    UNBALANCED_QUOTES,
    ProtocolError,
    expected_dollar,
)

ARGUMENTS_MAX: Final = 1024 * 1024
BULK_BYTES_MAX: Final = 512 * 1024 * 1024
INLINE_BYTES_MAX: Final = 64 * 1024
HEADER_BYTES_MAX: Final = 32

_STAR: Final = ord("*")
_DOLLAR: Final = ord("$")


@final
class RequestParser:
    """One client's stream of requests."""

    __slots__ = ("_arguments_left", "_held_bytes", "_inline", "_line", "_partial", "_reader", "_skip", "held_bytes_max")

    def __init__(self, held_bytes_max: int) -> None:
        self.held_bytes_max = held_bytes_max
        self._reader = hiredis.Reader()
        self._partial = False  # hiredis has the beginning of a request that is not complete
        self._arguments_left = -1  # of the partial request; -1 while its first header is awaited
        self._skip = 0  # bytes until the next header of the partial request
        self._line = b""  # the beginning of a header that was cut
        self._held_bytes = 0
        self._inline = b""

    def feed(self, data: bytes, requests: list[list[bytes]]) -> None:
        """Append the requests that `data` completes. O(length).

        Raises:
            ProtocolError: the stream cannot be followed any further; the requests before the fault were appended.
        """
        if self._inline:
            data = self._inline + data
            self._inline = b""
        while data:
            if self._partial:
                data = self._go_on(data, requests)
            elif data[0] == _STAR:
                data = self._whole(data, requests)
            else:
                data = self._one_inline(data, requests)

    def _whole(self, data: bytes, requests: list[list[bytes]]) -> bytes:
        """Requests that begin with the data; what is left for another way to read it."""
        reader = self._reader
        reader.feed(data)
        parsed: list[list[bytes]] = []
        failed = False
        try:
            while (request := reader.gets()) is not False:
                parsed.append(request)
        except hiredis.ProtocolError:
            failed = True
        self._take(parsed, requests)
        if not failed and not reader.has_data():
            return b""
        rest = data[sum(map(_wire_length, parsed)) :]
        if not failed and rest[:1] == b"*":
            self._partial = True
            self._arguments_left = -1
            self._held_bytes = len(rest)
            if self._walk(rest) >= 0:
                raise ProtocolError(INVALID_MULTIBULK_LENGTH)  # hiredis and the walk disagree
            return b""
        self._reader = hiredis.Reader()
        if rest[:1] == b"*":
            self._arguments_left = -1
            self._walk(rest)  # finds the fault and says what it is
            raise ProtocolError(INVALID_MULTIBULK_LENGTH)
        return rest

    @staticmethod
    def _take(parsed: list[list[bytes]], requests: list[list[bytes]]) -> None:
        """Append what was parsed but for empty requests, as Redis does, and refuse what is no list of bulk strings."""
        for request in parsed:
            if request:  # else *0 or *-1
                try:
                    b"".join(request)
                except TypeError:
                    raise ProtocolError(_fault(request)) from None
                requests.append(request)

    def _go_on(self, data: bytes, requests: list[list[bytes]]) -> bytes:
        """More of a request that is not complete; what is left behind it."""
        if self._skip > len(data):
            self._skip -= len(data)
            end = -1
        else:
            end = self._walk(data)
        if end < 0:
            self._held_bytes += len(data)
            if self._held_bytes > self.held_bytes_max:
                raise ProtocolError(INVALID_BULK_LENGTH)
            self._reader.feed(data)
            return b""
        self._reader.feed(data[:end])
        try:
            request = self._reader.gets()
        except hiredis.ProtocolError:
            raise ProtocolError(INVALID_MULTIBULK_LENGTH) from None
        self._partial = False
        self._held_bytes = 0
        if request is not False:
            self._take([request], requests)
        return data[end:]

    def _walk(self, data: bytes) -> int:
        """Follow the headers of a partial request through `data`; where it ends, or -1 if it does not end there."""
        at = 0
        while True:
            if self._skip:
                if at + self._skip > len(data):
                    self._skip -= len(data) - at
                    return -1
                at += self._skip
                self._skip = 0
            if self._arguments_left == 0:
                return at
            newline = data.find(b"\n", at)
            line = self._line + data[at : newline if newline >= 0 else len(data)]
            if newline < 0:
                self._line = self._check_cut(line)
                return -1
            self._line = b""
            at = newline + 1
            if self._arguments_left < 0:
                self._arguments_left = max(0, _length(line, ARGUMENTS_MAX, INVALID_MULTIBULK_LENGTH))
            else:
                if line[:1] != b"$":
                    raise ProtocolError(expected_dollar(line[:1]))
                length = _length(line, BULK_BYTES_MAX, INVALID_BULK_LENGTH)
                if length < 0:
                    raise ProtocolError(INVALID_BULK_LENGTH)
                self._skip = length + 2
                self._arguments_left -= 1

    def _check_cut(self, line: bytes) -> bytes:
        """The beginning of a header: refuse it as early as it cannot become one."""
        if self._arguments_left >= 0 and line and line[0] != _DOLLAR:
            raise ProtocolError(expected_dollar(line[:1]))
        if len(line) > HEADER_BYTES_MAX:
            raise ProtocolError(TOO_BIG_COUNT_STRING if self._arguments_left < 0 else INVALID_BULK_LENGTH)
        return line

    def _one_inline(self, data: bytes, requests: list[list[bytes]]) -> bytes:
        newline = data.find(b"\n")
        if newline < 0:
            if len(data) > INLINE_BYTES_MAX:
                raise ProtocolError(TOO_BIG_INLINE)
            self._inline = data
            return b""
        if newline > INLINE_BYTES_MAX:
            raise ProtocolError(TOO_BIG_INLINE)
        line = data[:newline]
        request = split_inline(line[:-1] if line.endswith(b"\r") else line)
        if request:
            requests.append(request)
        return data[newline + 1 :]


def _length(line: bytes, limit: int, fault: str) -> int:
    digits = line[1:-1] if line.endswith(b"\r") else line[1:]
    body = digits[1:] if digits[:1] == b"-" else digits
    if not body.isdigit() or len(body) > HEADER_BYTES_MAX or int(body) > limit:
        raise ProtocolError(fault)
    return int(digits)


def _digits(number: int) -> int:
    return len(b"%d" % number)


def _wire_length(request: list[bytes] | None) -> int:
    """How many bytes a request took, headers being written as everybody writes them."""
    if request is None:
        return 5
    return 3 + _digits(len(request)) + sum(5 + _digits(len(arg)) + len(arg) for arg in request)


def _fault(request: object) -> str:
    """What is wrong with something that hiredis could parse and that is no request."""
    if isinstance(request, list):
        for element in request:
            if element is None:
                return INVALID_BULK_LENGTH
            if isinstance(element, int):
                return expected_dollar(b":")
            if isinstance(element, list):
                return expected_dollar(b"*")
            if isinstance(element, str):
                return expected_dollar(b"+")
            if not isinstance(element, bytes):
                return expected_dollar(b"-")
    return INVALID_MULTIBULK_LENGTH


_ESCAPES: Final = {ord("n"): b"\n", ord("r"): b"\r", ord("t"): b"\t", ord("b"): b"\b", ord("a"): b"\a"}
_HEX: Final = b"0123456789abcdefABCDEF"


def split_inline(line: bytes) -> list[bytes]:
    """The words of an inline command, quoted as in the Redis command line. O(length).

    Raises:
        ProtocolError: a quote is not closed, or something follows its end.
    """
    words: list[bytes] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at : at + 1].isspace():
            at += 1
        if at >= end:
            return words
        word = bytearray()
        while at < end and not line[at : at + 1].isspace():
            quote = line[at : at + 1]
            if quote in (b'"', b"'"):
                at = _quoted(line, at + 1, quote, word)
                if at < end and not line[at : at + 1].isspace():
                    raise ProtocolError(UNBALANCED_QUOTES)
            else:
                word += quote
                at += 1
        words.append(bytes(word))


def _quoted(line: bytes, at: int, quote: bytes, word: bytearray) -> int:
    while at < len(line):
        here = line[at : at + 1]
        if here == quote:
            return at + 1
        if here == b"\\" and quote == b'"' and at + 1 < len(line):
            digits = line[at + 2 : at + 4]
            if line[at + 1] == ord("x") and len(digits) == 2 and all(digit in _HEX for digit in digits):
                word.append(int(digits, 16))
                at += 4
                continue
            word += _ESCAPES.get(line[at + 1], line[at + 1 : at + 2])
            at += 2
        elif here == b"\\" and quote == b"'" and line[at + 1 : at + 2] == b"'":
            word += b"'"
            at += 2
        else:
            word += here
            at += 1
    raise ProtocolError(UNBALANCED_QUOTES)
