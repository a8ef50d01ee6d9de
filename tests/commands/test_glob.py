"""Patterns, against Redis's rules written as a recursion, and against what a client could do with them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.commands.glob import LONG_BYTES, LongPattern, compile_glob, matches


def rule(pattern: bytes, text: bytes) -> bool:
    """The rules, one after the other; only for short patterns."""
    if not pattern:
        return not text
    if pattern[:1] == b"*":
        return any(rule(pattern[1:], text[i:]) for i in range(len(text) + 1))
    if not text:
        return False
    if pattern[:1] == b"?":
        return rule(pattern[1:], text[1:])
    if pattern[:1] == b"[":
        body, rest = one_class(pattern[1:])
        return text[0] in body and rule(rest, text[1:])
    if pattern[:1] == b"\\" and len(pattern) > 1:
        pattern = pattern[1:]
    return pattern[0] == text[0] and rule(pattern[1:], text[1:])


def one_class(pattern: bytes) -> tuple[set[int], bytes]:
    negated = pattern[:1] == b"^"
    if negated:
        pattern = pattern[1:]
    chosen: set[int] = set()
    while pattern and pattern[:1] != b"]":
        if pattern[:1] == b"\\" and len(pattern) > 1:
            chosen.add(pattern[1])
            pattern = pattern[2:]
        elif len(pattern) > 2 and pattern[1:2] == b"-":
            low, high = sorted((pattern[0], pattern[2]))
            chosen |= set(range(low, high + 1))
            pattern = pattern[3:]
        else:
            chosen.add(pattern[0])
            pattern = pattern[1:]
    return (set(range(256)) - chosen if negated else chosen), pattern[1:]


@given(st.text("ab*?[]^-\\c", max_size=8).map(str.encode), st.text("ab]-\\^c", max_size=6).map(str.encode))
def test_a_pattern_matches_by_the_rules(pattern: bytes, text: bytes) -> None:
    expected = rule(pattern, text) if text else not pattern
    assert matches(pattern, text) == expected
    if pattern:
        long = LongPattern(pattern)
        assert [long.fullmatch(text) is not None for _ in range(2)] == [expected] * 2


def test_bytes_that_mean_something_to_regular_expressions_mean_nothing_here() -> None:
    for text in (b".", b"(", b"+", b"\n", b"\x00", b"$", b"a|b", b"{2}", b"\xff"):
        assert matches(text, text)
        assert matches(b"*" + text + b"*", b"x" + text + b"y\n")
    assert not matches(b".", b"x")


def test_many_stars_take_no_time() -> None:
    began = time.perf_counter()
    assert not matches(b"*a" * 30 + b"b", b"a" * 2000)
    assert not matches(b"*[ab]?" * 20 + b"c*", b"ab" * 1000)
    assert matches(b"*" * 500, b"a" * 2000)
    assert not matches(b"*" * 500 + b"b", b"a" * 2000)
    assert compile_glob(b"h?llo*") is compile_glob(b"h?llo*")
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    "piece", [b"a", b"?", b"*", b"*a", b"[^a]", b"[a-z]*", b"\\a", b"[", b"a*?", b"[ab]?", b"\xff", b"*[^b]a"]
)
@pytest.mark.parametrize("before", [b"", b"*", b"k*", b"[a-c]*"])
def test_a_pattern_of_any_length_takes_no_time(before: bytes, piece: bytes) -> None:
    began = time.perf_counter()
    match = compile_glob(before + piece * (100_000 // len(piece)) + b"b").fullmatch
    for number in range(100):
        match(b"key:%d" % number)
        match(b"a" * 50)
    assert time.perf_counter() - began < 1


def test_the_longest_pattern_that_is_translated_takes_no_time() -> None:
    began = time.perf_counter()
    for piece in (b"[^a]", b"*[^a]", b"[ -z]", b"a", b"?", b"[^]"):
        compile_glob(piece * (LONG_BYTES // len(piece)))
    assert time.perf_counter() - began < 0.2


def test_a_long_pattern_matches_as_a_short_one_does() -> None:
    key = b"k" * LONG_BYTES
    for tail, text in ((b"?[a-c]*", b"xbyz"), (b"\\*[^a]", b"*b"), (b"*b*d", b"abcd"), (b"", b"")):
        assert matches(key + tail, key + text) and not matches(key + tail + b"x", key + text)
        assert not matches(key + tail, key[1:]) and not matches(key + tail, b"")
