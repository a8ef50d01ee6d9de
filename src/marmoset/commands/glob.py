"""Patterns as Redis has them (floor 8): `*`, `?`, `[a-c]`, `[^x]`, and a backslash that takes the meaning away.

A pattern is translated to a regular expression once and remembered. What stands between two stars is found where it
comes first and never looked for again (an atomic group): if the rest does not fit behind the first place, it fits
behind no later one. So a match costs O(pattern x text) at most, whatever a client sends.

Making the expression costs some microseconds a byte, which a long pattern, of as many bytes as a request may have,
would turn into seconds. So one of more than `LONG_BYTES` is read only as far as a text makes it necessary, and not
remembered.
"""

import re
from functools import lru_cache
from typing import Final, final

LONG_BYTES: Final = 256

# What stands in a pattern where no byte or choice of bytes does.
_END: Final = -1
_STAR: Final = -2
_ANY: Final = -3

_BYTES: Final = frozenset(range(256))
_stars: Final = re.compile(rb"\*+").match


def compile_glob(pattern: bytes) -> "re.Pattern[bytes] | LongPattern":
    """What matches what `pattern` does, all of it. O(length), or O(1) for a long one."""
    return LongPattern(pattern) if len(pattern) > LONG_BYTES else _compile(pattern)


@lru_cache(maxsize=256)
def _compile(pattern: bytes) -> re.Pattern[bytes]:
    segments: list[list[bytes]] = [[]]
    at, end = 0, len(pattern)
    while at < end:
        here = pattern[at : at + 1]
        at += 1
        if here == b"*":
            segments.append([])
        elif here == b"?":
            segments[-1].append(b".")
        elif here == b"[":
            at = _translate_class(pattern, at, segments[-1])
        elif here == b"\\" and at < end:
            segments[-1].append(re.escape(pattern[at : at + 1]))
            at += 1
        else:
            segments[-1].append(re.escape(here))
    first, *rest = map(b"".join, segments)
    if not rest:
        return re.compile(first, re.DOTALL)
    if not any((first, *rest)):
        first = b"(?=.)"  # nothing but stars: in Redis, no pattern matches an empty text but the empty one
    middle = b"".join(b"(?>.*?%b)" % segment for segment in rest[:-1] if segment)
    return re.compile(first + middle + b".*" + rest[-1], re.DOTALL)


def _translate_class(pattern: bytes, at: int, parts: list[bytes]) -> int:
    chosen, at = _class_at(pattern, at)
    others = _BYTES - chosen
    if not chosen:
        parts.append(b"(?!)")
    elif not others:
        parts.append(b".")
    elif len(chosen) <= len(others):
        parts.append(b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(chosen)) + b"]")
    else:
        parts.append(b"[^" + b"".join(b"\\x%02x" % byte for byte in sorted(others)) + b"]")
    return at


def _class_at(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """The bytes that stand in brackets, and where these end: without a closing one, at the end of the pattern."""
    end = len(pattern)
    negated = pattern[at : at + 1] == b"^"
    at += negated
    allowed: set[int] = set()
    while at < end and pattern[at : at + 1] != b"]":
        if pattern[at : at + 1] == b"\\" and at + 1 < end:
            allowed.add(pattern[at + 1])
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < end:
            low, high = sorted((pattern[at], pattern[at + 2]))
            allowed.update(range(low, high + 1))
            at += 3
        else:
            allowed.add(pattern[at])
            at += 1
    return _BYTES - allowed if negated else frozenset(allowed), at + 1


@final
class LongPattern:
    """A pattern that is not empty, read as far as texts make it necessary: what a text does not get to costs nothing.

    Each part but a star takes one byte, so a text meets no more parts than twice its length. Where something does not
    fit, what stands behind the last star begins one byte later: O(text x text) at most.
    """

    __slots__ = ("_at", "_parts", "_pattern")

    def __init__(self, pattern: bytes) -> None:
        self._pattern = pattern
        self._parts: list[int | frozenset[int]] = []
        self._at = 0

    def fullmatch(self, text: bytes) -> bytes | None:
        """The text, if the pattern matches it as a whole."""
        at = number = 0
        behind_star, begun = -1, 0
        while text:
            part = self._part(number)
            if part == _STAR:
                number += 1
                behind_star, begun = number, at
                if self._part(number) == _END:
                    return text
            elif at == len(text):
                return text if part == _END else None
            elif part in (_ANY, text[at]) or (isinstance(part, frozenset) and text[at] in part):
                at += 1
                number += 1
            elif behind_star < 0:
                return None
            else:
                begun += 1
                at, number = begun, behind_star
        return None

    def _part(self, number: int) -> int | frozenset[int]:
        if number == len(self._parts):
            self._parts.append(self._next())
        return self._parts[number]

    def _next(self) -> int | frozenset[int]:
        pattern, at = self._pattern, self._at
        if at >= len(pattern):
            return _END
        here = pattern[at : at + 1]
        self._at += 1
        if here == b"*":
            stars = _stars(pattern, at)
            assert stars is not None
            self._at = stars.end()
            return _STAR
        if here == b"?":
            return _ANY
        if here == b"[":
            chosen, self._at = _class_at(pattern, self._at)
            return chosen
        if here == b"\\" and self._at < len(pattern):
            self._at += 1
            return pattern[at + 1]
        return pattern[at]


def matches(pattern: bytes, text: bytes) -> bool:
    """Whether a pattern matches a text, as a whole."""
    return compile_glob(pattern).fullmatch(text) is not None
