"""The trace of a simulated run (beside the floors): every fact in one line, hashed as it is told.

Equal traces are equal bytes. Lines are kept only where a file to write them to is given.
"""

from hashlib import blake2b
from typing import TextIO, final


@final
class Trace:
    """Lines `time_us what`, in the order in which things happen."""

    __slots__ = ("_file", "_hash", "lines")

    def __init__(self, file: TextIO | None = None) -> None:
        self._hash = blake2b(digest_size=16)
        self._file = file
        self.lines = 0

    def line(self, now_us: int, text: str) -> None:
        """Add a line. O(length)."""
        line = f"{now_us} {text}\n"
        self.lines += 1
        self._hash.update(line.encode("utf-8", "backslashreplace"))
        if self._file is not None:
            self._file.write(line)

    def digest(self) -> str:
        """The hash of all lines so far."""
        return self._hash.hexdigest()
