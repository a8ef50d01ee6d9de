"""Transactions (floor 8): MULTI queues, EXEC runs everything in one batch, which is seen whole or not at all."""

from typing import TYPE_CHECKING

from marmoset.commands.table import ALL_KEYS, KEYLESS, command, table
from marmoset.resp.errors import DISCARD_WITHOUT_MULTI, NESTED_MULTI, WATCH_INSIDE_MULTI, CommandError
from marmoset.resp.replies import OK, Reply

if TYPE_CHECKING:
    from marmoset.session import Session


def multi(session: "Session", args: list[bytes]) -> Reply:
    """MULTI."""
    if session.queue is not None:
        raise CommandError(NESTED_MULTI)
    session.begin_queue()
    return OK


def exec_(session: "Session", args: list[bytes]) -> Reply:
    """EXEC: null if a watched key was touched by anybody, here or by an operation that arrived."""
    return session.execute_queue()


def discard(session: "Session", args: list[bytes]) -> Reply:
    """DISCARD."""
    if session.queue is None:
        raise CommandError(DISCARD_WITHOUT_MULTI)
    session.drop_queue()
    return OK


def watch(session: "Session", args: list[bytes]) -> Reply:
    """WATCH key [key ...]."""
    if session.queue is not None:
        raise CommandError(WATCH_INSIDE_MULTI)
    session.watch(args[1:])
    return OK


def unwatch(session: "Session", args: list[bytes]) -> Reply:
    """UNWATCH."""
    session.unwatch()
    return OK


# fmt: off
TABLE = table("transactions",
    command("multi", multi, 1, "fast noqueue", KEYLESS,
            "O(1)", "Starts a transaction."),
    command("exec", exec_, 1, "noqueue", KEYLESS,
            "That of the commands", "Executes all commands in a transaction.",
            "One batch: seen whole or not at all, everywhere. It locks nothing on other nodes."),
    command("discard", discard, 1, "fast noqueue", KEYLESS,
            "O(N) in the number of queued commands", "Discards a transaction."),
    command("watch key [key ...]", watch, -2, "fast noqueue", ALL_KEYS,
            "O(1) for every key", "Monitors changes to keys to determine the execution of a transaction.",
            "Sees what has arrived here: a concurrent write elsewhere that has not arrived does not stop EXEC."),
    command("unwatch", unwatch, 1, "fast", KEYLESS,
            "O(1)", "Forgets about watched keys of a transaction."),
)
# fmt: on
