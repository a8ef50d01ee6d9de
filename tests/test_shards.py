"""Shards: every process, whatever build it runs, finds a key in the same one, and they are filled alike."""

from typing import Literal
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.shards import MASK, SHARDS, SHORT_BYTES, at_once, in_steps, shard_of

PRIME = 2**31 - 1


@given(st.binary(max_size=SHORT_BYTES))
def test_both_ways_are_one(key: bytes) -> None:
    expected = (int.from_bytes(key, "big") % PRIME * 1_327_217_885 >> 21) % 1024
    assert shard_of(key) == at_once(key) == in_steps(key) == expected


@given(st.integers(0, 1 << 80), st.integers(-2, 2))
def test_both_ways_are_one_about_multiples_of_the_prime(factor: int, beside: int) -> None:
    number = max(0, factor * PRIME + beside)
    key = number.to_bytes(16, "big")
    assert in_steps(key) == at_once(key)


@pytest.mark.parametrize("length", [SHORT_BYTES - 1, SHORT_BYTES, SHORT_BYTES + 1, 10_000])
def test_the_largest_and_the_smallest_bytes(length: int) -> None:
    for byte in (0x00, 0x7F, 0x80, 0xFF):
        key = bytes([byte]) * length
        assert shard_of(key) == (crc32(key) & MASK if length > SHORT_BYTES else at_once(key))
        assert length > SHORT_BYTES or at_once(key) == in_steps(key)


PATTERNS = [
    b"%d",
    b"key:%012d",
    b"user:%d:name",
    b"%08x",
    b"%d" + b"0" * 24,
    b"session-%d-of-a-key-that-is-longer-than-short-ones",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("step", [1, 7, 256, 1000, 1024, 65_536])
def test_keys_as_people_write_them_fill_all_shards_alike(pattern: bytes, step: int) -> None:
    check_filled([pattern % (step * number) for number in range(64 * SHARDS)])


@pytest.mark.parametrize("length", [3, 4, 8, 12, 16, 20])
@pytest.mark.parametrize("order", ["big", "little"])
def test_binary_numbers_fill_all_shards_alike(length: int, order: Literal["big", "little"]) -> None:
    check_filled([number.to_bytes(length, order) for number in range(64 * SHARDS)])


def check_filled(keys: list[bytes]) -> None:
    """Of 64 keys for each shard, no shard has far more or less: chance gives 35 to 95."""
    filled = [0] * SHARDS
    for key in keys:
        filled[shard_of(key)] += 1
    assert max(filled) <= 160, max(filled)
    assert min(filled) >= 8, min(filled)
