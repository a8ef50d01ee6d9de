"""The MEMORY command (floor 8): what keys take, their share of the tables included."""

from typing import TYPE_CHECKING, Final

from marmoset.commands.parsing import integer
from marmoset.commands.table import command, container
from marmoset.resp.errors import SYNTAX, CommandError
from marmoset.resp.replies import Reply

if TYPE_CHECKING:
    from marmoset.session import Session

SAMPLES: Final = 5
"""How many elements of a collection are looked at unless the command says otherwise."""


def usage(session: "Session", args: list[bytes]) -> Reply:
    """MEMORY USAGE key [SAMPLES count]: null where there is no such key."""
    samples = SAMPLES
    if len(args) > 3:
        if len(args) != 5 or args[3].upper() != b"SAMPLES":
            raise CommandError(SYNTAX)
        samples = integer(args[4])
        if samples < 0:
            raise CommandError(SYNTAX)
    return session.database.keyspace.footprint(args[2], samples)


# fmt: off
TABLE = (
    container("memory", "server", "Tells how much memory keys take.",
        command("usage key [SAMPLES count]", usage, -3, "readonly", (2, 2, 1),
                "O(N) in the number of samples", "Estimates the memory usage of a key."),
    ),
)
# fmt: on
