"""MARMOSET (floor 8): what no Redis has, in one container command."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from marmoset.commands.database import text
from marmoset.commands.parsing import integer
from marmoset.commands.table import KEYLESS, command, container
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.crdts.types import KIND_NAMES, Value
from marmoset.errors import UsageError
from marmoset.resp.errors import SYNTAX, CommandError
from marmoset.resp.replies import OK, Reply

if TYPE_CHECKING:
    from marmoset.session import Session

REPORT_ROWS = 1000
SHOWN_MAX = 100
"""How many elements of a hidden collection CONFLICTS shows."""


def _table(row: dict[str, str | int]) -> dict[bytes, Reply]:
    return {name.encode(): value.encode() if isinstance(value, str) else value for name, value in row.items()}


def status(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET STATUS."""
    return _table(session.database.node.status())


def members(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET MEMBERS."""
    return [_table(row) for row in session.database.node.members()]


def frontier(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET FRONTIER."""
    return [_table(row) for row in session.database.node.frontier()]


def why(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET WHY name-or-key."""
    try:
        return [line.encode() for line in session.database.node.why(args[2])]
    except UsageError as problem:
        raise CommandError(f"ERR {problem}") from problem


def conflicts(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET CONFLICTS key: what else the key holds, of other types, created concurrently."""
    return [
        {b"type": KIND_NAMES[kind].encode(), b"value": _shown(value)}
        for kind, value in session.database.keyspace.conflicts(args[2])
    ]


def _shown(value: Value) -> Reply:
    if isinstance(value, (bytes, int)):
        return text(value)
    if isinstance(value, Sequence):
        return [text(each) for each in value.slice(0, min(len(value), SHOWN_MAX))]
    if isinstance(value, SortedSet):
        return {member: text(value[member]) for member in value.slice(0, SHOWN_MAX)}
    if isinstance(value, (dict, SplitMap)):
        return {name: text(value[name]) for name in sorted(value)[:SHOWN_MAX]}
    assert isinstance(value, (set, SplitSet))
    return sorted(value)[:SHOWN_MAX]


def bury(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET BURY name [FORCE]."""
    force = len(args) == 4 and args[3].upper() == b"FORCE"
    if len(args) > 4 or (len(args) == 4 and not force):
        raise CommandError(SYNTAX)
    try:
        session.database.node.bury(args[2].decode("utf-8", "replace"), force)
    except UsageError as problem:
        raise CommandError(f"ERR {problem}") from problem
    return OK


def keyring(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET KEYRING [RELOAD]."""
    if len(args) > 3 or (len(args) == 3 and args[2].upper() != b"RELOAD"):
        raise CommandError(SYNTAX)
    keys = session.database.node.keyring
    if keys is None:
        raise CommandError("ERR this node has no keyring; start it with --keyring FILE")
    if len(args) == 3:
        try:
            keys.reload()
        except UsageError as problem:
            raise CommandError(f"ERR {problem}; the keys that were read before stay") from problem
        return OK
    return [_table(row) for row in keys.rows()]


def report(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET REPORT [count]: what this node wrote while it was presumed dead and could not submit."""
    if len(args) > 3:
        raise CommandError(SYNTAX)
    count = integer(args[2]) if len(args) == 3 else REPORT_ROWS
    return [_table(row) for row in session.database.node.rehabilitating.rows(max(0, count))]


def replay(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET REPLAY ALL | id …: submit rows of the report after all; how many were."""
    return _with_rows(session.database.node.rehabilitating.replay, args)


def dismiss(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET DISMISS ALL | id …: take rows out of the report; how many were."""
    return _with_rows(session.database.node.rehabilitating.dismiss, args)


def _with_rows(action: Callable[[list[str]], int], args: list[bytes]) -> int:
    is_all = len(args) == 3 and args[2].upper() == b"ALL"
    try:
        return action([] if is_all else [arg.decode("utf-8", "replace") for arg in args[2:]])
    except UsageError as problem:
        raise CommandError(f"ERR {problem}") from problem


def leave(session: "Session", args: list[bytes]) -> Reply:
    """MARMOSET LEAVE: the process ends once every reachable member knows it."""
    session.database.node.leave()
    return OK


# fmt: off
MARMOSET = container(
    "marmoset", "cluster",
    "A container for what concerns the group.",
    command("status", status, 2, "loading", KEYLESS,
            "O(members + shards)", "What this node is doing: a flat map."),
    command("members", members, 2, "loading", KEYLESS,
            "O(members)", "Every member as this node sees it."),
    command("frontier", frontier, 2, "loading", KEYLESS,
            "O(members squared)", "How far everything is stable, and who lacks what."),
    command("why name-or-key", why, 3, "loading", KEYLESS,
            "O(members squared + log)", "Why a member is where it is; who has to speak for a key's metadata to go."),
    command("conflicts key", conflicts, 3, "loading", KEYLESS,
            "O(elements shown)", "What a key holds beside what it shows."),
    command("bury name [FORCE]", bury, -3, "loading no_multi", KEYLESS,
            "O(members)", "Presumes a member dead: unreachable, and by a majority, unless FORCE. Not in MULTI."),
    command("keyring [RELOAD]", keyring, -2, "loading", KEYLESS,
            "O(keys)", "The keys by id: which one seals, how many links use it. RELOAD reads the file again."),
    command("report [count]", report, -2, "loading", KEYLESS,
            "O(rows)", "What this node wrote, was then presumed dead, and could not submit: 1000 rows, or `count`."),
    command("replay ALL|id [id ...]", replay, -3, "write denyoom no_multi", KEYLESS,
            "O(rows)", "Submits operations of the report after all, never twice; ALL does 1000 at a time."),
    command("dismiss ALL|id [id ...]", dismiss, -3, "loading", KEYLESS,
            "O(rows)", "Takes operations out of the report."),
    command("leave", leave, 2, "loading no_multi", KEYLESS,
            "O(members)", "Leaves the group and ends the process. Not in MULTI."),
)

TABLE = (MARMOSET,)
# fmt: on
