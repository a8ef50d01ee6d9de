"""The hash: every process, whatever build it runs, finds the same, and all shards and parts are filled alike."""

from typing import Literal
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.hashing import SHARDS, SHORT_BYTES, at_once, in_steps, shard_of, stable_hash

PRIME = 2**31 - 90_667
COUNT = 64 * SHARDS


def specified(key: bytes) -> int:
    spread = (int.from_bytes(key, "big") % PRIME * 1_327_217_885) % 2**31
    spread = (spread ^ (spread >> 15)) * 1_327_217_885 % 2**31
    return spread ^ (spread >> 15)


@given(st.binary(max_size=SHORT_BYTES))
def test_both_ways_are_one(key: bytes) -> None:
    assert stable_hash(key) == at_once(key) == in_steps(key) == specified(key) < 2**31
    assert shard_of(key) == specified(key) % SHARDS


@given(st.integers(0, 1 << 80), st.integers(-2, 2))
def test_both_ways_are_one_about_multiples_of_the_prime(factor: int, beside: int) -> None:
    number = max(0, factor * PRIME + beside)
    key = number.to_bytes(16, "big")
    assert in_steps(key) == at_once(key) == specified(key)


@pytest.mark.parametrize("length", [SHORT_BYTES - 1, SHORT_BYTES, SHORT_BYTES + 1, 10_000])
def test_the_largest_and_the_smallest_bytes(length: int) -> None:
    for byte in (0x00, 0x7F, 0x80, 0xFF):
        key = bytes([byte]) * length
        assert stable_hash(key) == (crc32(key) % 2**31 if length > SHORT_BYTES else specified(key))
        assert length > SHORT_BYTES or at_once(key) == in_steps(key)


PATTERNS = [
    b"%d",
    b"key:%012d",
    b"element:%012d",
    b"user:%d:name",
    b"%08x",
    b"%d" + b"0" * 24,
    b"session-%d-of-a-key-that-is-longer-than-short-ones",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("step", [1, 7, 256, 1000, 1024, 65_536])
def test_keys_as_people_write_them_are_spread(pattern: bytes, step: int) -> None:
    check_spread([pattern % (step * number) for number in range(COUNT)])


@pytest.mark.parametrize("length", [3, 4, 8, 12, 16, 20])
@pytest.mark.parametrize("order", ["big", "little"])
def test_binary_numbers_are_spread(length: int, order: Literal["big", "little"]) -> None:
    check_spread([number.to_bytes(length, order) for number in range(COUNT)])


def check_spread(keys: list[bytes]) -> None:
    """By any number of the lowest bits, no place has far more than its share, or less: chance gives 35 to 95 where that
    is 64, this hash 20 to 135.
    """
    hashes = [stable_hash(key) for key in keys]
    for places in (8, 128, SHARDS):
        filled = [0] * places
        for each in hashes:
            filled[each % places] += 1
        mean = COUNT // places
        assert max(filled) <= 1.1 * mean + 10 * mean**0.5, (places, max(filled))
        assert min(filled) >= 0.9 * mean - 6 * mean**0.5, (places, min(filled))


def text_of(pattern: bytes, count: int) -> list[bytes]:
    """Texts with two numbers below 1000, or one."""
    places = pattern.count(b"%")
    return [pattern % (divmod(number, 1000) if places > 1 else number) for number in range(count)]


@pytest.mark.parametrize(
    "pattern", [b"%03d:%03d", b"%04d%04d", b"r%03dc%03d", b"%d:%d", b"10.0.%d.%d", b"%08d", b"17%08d", b"17%08d000"]
)
def test_texts_with_numbers_hardly_collide(pattern: bytes) -> None:
    """Chance gives 37 collisions of 400,000. No multiplication behind it can tell apart what collides."""
    keys = text_of(pattern, 400_000)
    assert len({stable_hash(key) for key in keys}) > 399_500
    check_spread(keys[::6][:COUNT])
