"""A hash of keys and elements that is the same in every process, whatever build runs there (floor 1).

It says in which shard of the keyspace a key lives, and in which part of a large collection an element: Python's own is
salted, and nodes send one another shards.

Up to `SHORT_BYTES` are taken as a number, the bytes its digits, most significant first. What that leaves when divided
by a prime is spread by multiplication (D. Knuth, The Art of Computer Programming, volume 3, 6.4). That spreads the
highest bits best; so they are put over the lowest, twice. Longer ones have their CRC-32. Whoever chooses keys on
purpose can put many into one shard, or elements into one part, as with CRC-32 for all: steps that go by shards and
parts, of a snapshot or SCAN, are longer then.

Interpreted, both are calls of C. Compiled, a loop takes a third of what a call of zlib costs with the numbers that it
makes; it takes three bytes in a step, so that nothing needs more than 63 bits. Both ways give the same.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from zlib import crc32

from marmoset import build

if TYPE_CHECKING:  # machine integers in compiled code; interpreted code has no use for them
    from mypy_extensions import i64

SHARDS: Final = 1024
SHORT_BYTES: Final = 40

_MASK: Final = SHARDS - 1
_BITS: Final = 31
_LARGEST: Final = (1 << _BITS) - 1
"""The largest number of so many bits, and so a mask."""
_LESS: Final = 90_667
_PRIME: Final = (1 << _BITS) - _LESS
"""Below 2**31 by a number of 17 bits, and one of those modulo which texts collide least (measured, see tests): where
a power of 256 is a small number, a digit here undoes one there. Modulo 2**31 - 1, 256**4 is 2."""
_FACTOR: Final = 1_327_217_885
"""2**31 divided by the golden ratio."""
_FOLD_BITS: Final = 15
_IS_COMPILED: Final = build.kind() == build.COMPILED
_crc32: Final[Callable[[bytes], int]] = crc32  # compiled code looks names of other modules up at every use


def shard_of(key: bytes) -> int:
    """The shard that a key lives in. O(length)."""
    return stable_hash(key) & _MASK


def stable_hash(key: bytes) -> int:
    """A number of 31 bits. O(length)."""
    if len(key) > SHORT_BYTES:
        return _crc32(key) & _LARGEST
    return in_steps(key) if _IS_COMPILED else at_once(key)


def at_once(key: bytes) -> int:
    """The hash of a short key. O(length)."""
    spread = int.from_bytes(key, "big") % _PRIME * _FACTOR & _LARGEST
    spread = (spread ^ spread >> _FOLD_BITS) * _FACTOR & _LARGEST
    return spread ^ spread >> _FOLD_BITS


def in_steps(key: bytes) -> int:
    """The same; what is interpreted is slow here. What is above 31 bits counts `_LESS` times as much below them: done
    twice, that leaves less than 2**32 of 56 bits. O(length)."""
    size: i64 = len(key)
    at: i64 = 0
    rest: i64 = 0
    while at + 3 <= size:
        first: i64 = key[at]
        second: i64 = key[at + 1]
        third: i64 = key[at + 2]
        rest = rest << 24 | first << 16 | second << 8 | third
        rest = (rest >> _BITS) * _LESS + (rest & _LARGEST)
        rest = (rest >> _BITS) * _LESS + (rest & _LARGEST)
        at += 3
    while at < size:
        first = key[at]
        rest = rest << 8 | first
        rest = (rest >> _BITS) * _LESS + (rest & _LARGEST)
        rest = (rest >> _BITS) * _LESS + (rest & _LARGEST)
        at += 1
    rest = (rest >> _BITS) * _LESS + (rest & _LARGEST)
    if rest >= _PRIME:
        rest -= _PRIME
    rest = rest * _FACTOR & _LARGEST
    rest = (rest ^ rest >> _FOLD_BITS) * _FACTOR & _LARGEST
    return rest ^ rest >> _FOLD_BITS
