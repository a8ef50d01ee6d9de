"""Short values packed into one bytes object (floor 3), as in Redis's listpacks: those of a chunk that nobody edits.

A `bytes` of Python has a header of 33 bytes, a place in a list takes 8 more, and allocations are rounded up; packed, a
value takes its length and two bytes for its end. Any value is read in O(its length); to change one, all are unpacked.
"""

from typing import Final, cast, final

from marmoset.codec.operations import Scalar

TEXT_BYTES_MAX: Final = 0xFFFF
"""All values together: their ends are numbers of two bytes."""


@final
class Packed:
    """Some values: `text` is all of them one behind the other, `ends` where each ends in it, two bytes each."""

    __slots__ = ("ends", "text")

    def __init__(self, text: bytes, ends: bytes) -> None:
        self.text = text
        self.ends = ends

    def size(self) -> int:
        """How many values there are. O(1)."""
        return len(self.ends) >> 1

    def slice(self, start: int, stop: int) -> list[Scalar]:
        """The values from `start` up to but without `stop`, both of which exist. O(result)."""
        text, ends = self.text, self.ends
        begin = ends[2 * start - 2] | ends[2 * start - 1] << 8 if start else 0
        values: list[Scalar] = []
        for at in range(2 * start, 2 * stop, 2):
            end = ends[at] | ends[at + 1] << 8
            values.append(text[begin:end])
            begin = end
        return values


def packed(values: list[Scalar]) -> Packed | None:
    """The same values in one piece; None where they cannot be, or are too long for it to pay. O(values).

    >>> made = packed([b"a", b"", b"bcd"])
    >>> made.size(), made.slice(1, 3), packed([b"a", 5])
    (3, [b'', b'bcd'], None)
    """
    size = 0
    ends: list[int] = []  # byte by byte: numbers as small as these are there already
    for value in values:
        if not isinstance(value, bytes):
            return None
        size += len(value)
        if size > TEXT_BYTES_MAX:
            return None
        ends.append(size & 0xFF)
        ends.append(size >> 8)
    return Packed(b"".join(cast("list[bytes]", values)), bytes(ends))
