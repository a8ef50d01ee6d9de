"""Transactions (floor 8): MULTI queues, EXEC runs everything in one batch, which is seen whole or not at all."""

from typing import TYPE_CHECKING

from marmoset.commands.table import Command
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


TABLE = (
    Command("multi", multi, 1, "fast noqueue", (0, 0, 0), "transactions", "Starts a transaction.", "O(1)"),
    Command(
        "exec",
        exec_,
        1,
        "noqueue",
        (0, 0, 0),
        "transactions",
        "Executes all commands in a transaction.",
        "That of the commands",
    ),
    Command(
        "discard",
        discard,
        1,
        "fast noqueue",
        (0, 0, 0),
        "transactions",
        "Discards a transaction.",
        "O(N) in the number of queued commands",
    ),
    Command(
        "watch",
        watch,
        -2,
        "fast noqueue",
        (1, -1, 1),
        "transactions",
        "Monitors changes to keys to determine the execution of a transaction.",
        "O(1) for every key",
        arguments="key [key ...]",
    ),
    Command(
        "unwatch", unwatch, 1, "fast", (0, 0, 0), "transactions", "Forgets about watched keys of a transaction.", "O(1)"
    ),
)
