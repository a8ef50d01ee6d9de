"""The options that SCAN, SSCAN and HSCAN share (floor 8)."""

import re
from typing import Final, final

from marmoset.commands.glob import LongPattern, compile_glob
from marmoset.commands.parsing import integer
from marmoset.resp.errors import INVALID_CURSOR, SYNTAX, CommandError

COUNT_DEFAULT: Final = 10
CURSORS: Final = 1 << 64
_cursor: Final = re.compile(rb"(?:[+-]?[0-9]{1,20})?")


@final
class ScanOptions:
    """Cursor, COUNT, MATCH and TYPE."""

    __slots__ = ("count", "cursor", "kind", "pattern")

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        self.count = COUNT_DEFAULT
        self.pattern: re.Pattern[bytes] | LongPattern | None = None
        self.kind: str | None = None

    def wants(self, name: bytes) -> bool:
        """Whether MATCH lets a name through."""
        return self.pattern is None or self.pattern.fullmatch(name) is not None


def scan_cursor(text: bytes) -> int:
    """The cursor that a text is: what C's `strtoul` takes, to its end. Any number is one; what is none here ends."""
    if _cursor.fullmatch(text) is None or not -CURSORS < int(text or b"0") < CURSORS:
        raise CommandError(INVALID_CURSOR)
    return int(text or b"0") % CURSORS


def scan_options(cursor: int, rest: list[bytes], *, kinds: bool) -> ScanOptions:
    """Read what follows a cursor; TYPE only where `kinds` says so."""
    options = ScanOptions(cursor)
    for at in range(0, len(rest), 2):
        if at + 1 == len(rest):
            raise CommandError(SYNTAX)
        name, value = rest[at], rest[at + 1]
        word = name.upper()
        if word == b"COUNT":
            options.count = integer(value)
            if options.count < 1:
                raise CommandError(SYNTAX)
        elif word == b"MATCH":
            options.pattern = None if value == b"*" else compile_glob(value)
        elif word == b"TYPE" and kinds:
            options.kind = value.lower().decode("utf-8", "replace")
        else:
            raise CommandError(SYNTAX)
    return options
