"""Patterns as Redis has them (floor 8): `*`, `?`, `[a-c]`, `[^x]`, and a backslash that takes the meaning away.

A pattern is translated to a regular expression once and remembered. What stands between two stars is found where it
comes first and never looked for again (an atomic group): if the rest does not fit behind the first place, it fits
behind no later one. So a match costs O(pattern x text) at most, whatever a client sends.
"""

import re
from functools import lru_cache


@lru_cache(maxsize=256)
def compile_glob(pattern: bytes) -> re.Pattern[bytes]:
    """The regular expression that matches what `pattern` does, all of it. O(length)."""
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
    """Translate what stands in brackets; without a closing one it goes to the end of the pattern."""
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
    chosen = sorted(set(range(256)) - allowed if negated else allowed)
    parts.append(b"[" + b"".join(b"\\x%02x" % byte for byte in chosen) + b"]" if chosen else b"(?!)")
    return at + 1


def matches(pattern: bytes, text: bytes) -> bool:
    """Whether a pattern matches a text, as a whole."""
    return compile_glob(pattern).fullmatch(text) is not None
