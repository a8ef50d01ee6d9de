"""The options that SCAN, SSCAN and HSCAN share (floor 8)."""

import re
from typing import final

from marmoset.commands.glob import compile_glob
from marmoset.commands.parsing import integer
from marmoset.resp.errors import INVALID_CURSOR, SYNTAX, CommandError

COUNT_DEFAULT = 10


@final
class ScanOptions:
    """Cursor, COUNT, MATCH and TYPE."""

    __slots__ = ("count", "cursor", "kind", "pattern")

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        self.count = COUNT_DEFAULT
        self.pattern: re.Pattern[bytes] | None = None
        self.kind: str | None = None

    def wants(self, name: bytes) -> bool:
        """Whether MATCH lets a name through."""
        return self.pattern is None or self.pattern.fullmatch(name) is not None


def scan_options(args: list[bytes], at: int, *, kinds: bool) -> ScanOptions:
    """Read the cursor at a position and what follows it; TYPE only where `kinds` says so."""
    if not args[at].isdigit() or int(args[at]) >= 1 << 64:
        raise CommandError(INVALID_CURSOR)
    options = ScanOptions(int(args[at]))
    rest = args[at + 1 :]
    if len(rest) % 2:
        raise CommandError(SYNTAX)
    for name, value in zip(rest[::2], rest[1::2], strict=True):
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
