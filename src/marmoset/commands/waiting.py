"""WAIT (floor 8): how many other members are known to have what this client wrote."""

from typing import TYPE_CHECKING

from marmoset.commands.parsing import integer
from marmoset.commands.table import KEYLESS, command, table
from marmoset.resp.errors import TIMEOUT_NEGATIVE, TIMEOUT_NOT_AN_INTEGER, CommandError
from marmoset.resp.replies import Deferred, Reply

if TYPE_CHECKING:
    from marmoset.session import Session


def wait(session: "Session", args: list[bytes]) -> Reply:
    """WAIT numreplicas timeout: answers when enough have it or the time is up, inside of a transaction at once."""
    count = integer(args[1])
    timeout_ms = integer(args[2], TIMEOUT_NOT_AN_INTEGER)
    if timeout_ms < 0:
        raise CommandError(TIMEOUT_NEGATIVE)
    replica, waiting = session.database.replica, session.database.node.waiting
    dot = session.last_write or (replica.me, 0)
    if session.in_transaction:  # its own writes among them
        return waiting.known_by((replica.me, replica.next_seq - 1))
    known = waiting.known_by(dot)
    if known >= count:
        return known
    deferred = Deferred()
    waiter = waiting.wait(dot, count, timeout_ms, deferred.complete)
    deferred.abandon = lambda: waiting.cancel(waiter)
    return deferred


# fmt: off
TABLE = table("generic",
    command("wait numreplicas timeout", wait, 3, "blocking", KEYLESS,
            "O(members)", "Blocks until other members are known to have everything that this client wrote.",
            "The number is never too large: members count that are born, not buried, and have said that they have it."),
)
# fmt: on
