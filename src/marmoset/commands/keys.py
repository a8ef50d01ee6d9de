"""Commands on keys of any type (floor 8)."""

from typing import TYPE_CHECKING

from marmoset.codec.operations import Flush
from marmoset.commands.glob import compile_glob
from marmoset.commands.scanning import scan_cursor, scan_options
from marmoset.commands.table import ALL_KEYS, KEYLESS, ONE_KEY, command, table
from marmoset.crdts.types import KIND_NAMES
from marmoset.hashing import SHARDS
from marmoset.resp.errors import SYNTAX, CommandError
from marmoset.resp.replies import OK, Reply

if TYPE_CHECKING:
    from marmoset.session import Session


def type_(session: "Session", args: list[bytes]) -> Reply:
    """TYPE key."""
    kind = session.database.kind_at(args[1])
    return "none" if kind is None else KIND_NAMES[kind]


def exists(session: "Session", args: list[bytes]) -> Reply:
    """EXISTS key [key ...]: a key named twice counts twice."""
    keyspace = session.database.keyspace
    return sum(1 for key in args[1:] if key in keyspace)


def delete(session: "Session", args: list[bytes]) -> Reply:
    """DEL key [key ...] and UNLINK: removes what is observed here; concurrent updates survive."""
    return sum(map(session.database.delete, args[1:]))


def keys(session: "Session", args: list[bytes]) -> Reply:
    """KEYS pattern."""
    if args[1] == b"*":
        return list(session.database.keyspace.keys())
    match = compile_glob(args[1]).fullmatch
    return list(filter(match, session.database.keyspace.keys()))


def scan(session: "Session", args: list[bytes]) -> Reply:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]."""
    options = scan_options(scan_cursor(args[1]), args[2:], kinds=True)
    database = session.database
    cursor, found = database.keyspace.scan(options.cursor, options.count)
    wanted = [key for key in found if options.wants(key)]
    if options.kind is not None:
        wanted = [key for key in wanted if KIND_NAMES.get(database.kind_at(key) or 0) == options.kind]
    return [b"%d" % cursor, wanted]


def dbsize(session: "Session", args: list[bytes]) -> Reply:
    """DBSIZE."""
    return len(session.database.keyspace)


def randomkey(session: "Session", args: list[bytes]) -> Reply:
    """RANDOMKEY: some key, not all equally likely."""
    keyspace = session.database.keyspace
    _, found = keyspace.scan(session.database.rng.randrange(SHARDS), 1)
    if not found:
        _, found = keyspace.scan(0, 1)
    return session.database.rng.choice(sorted(found)) if found else None


def flushall(session: "Session", args: list[bytes]) -> Reply:
    """FLUSHALL [ASYNC | SYNC] and FLUSHDB: removes what is observed here of every key."""
    if len(args) > 2 or (len(args) == 2 and args[1].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError(SYNTAX)
    session.database.submit(Flush())
    return OK


# fmt: off
TABLE = (
    *table("generic",
        command("type key", type_, 2, "readonly fast", ONE_KEY,
                "O(1)", "Determines the type of value stored at a key."),
        command("exists key [key ...]", exists, -2, "readonly fast", ALL_KEYS,
                "O(N) in the number of keys", "Determines whether one or more keys exist."),
        command("del key [key ...]", delete, -2, "write", ALL_KEYS,
                "O(N) in the number of keys; memory is freed in slices", "Deletes one or more keys.",
                "Removes what is visible here: concurrent writes survive."),
        command("unlink key [key ...]", delete, -2, "write fast", ALL_KEYS,
                "O(N) in the number of keys; memory is freed in slices", "Deletes one or more keys.",
                "Removes what is visible here: concurrent writes survive."),
        command("keys pattern", keys, 2, "readonly", KEYLESS,
                "O(N) in the number of keys", "Returns all key names that match a pattern."),
        command("scan cursor [MATCH pattern] [COUNT count] [TYPE type]", scan, -2, "readonly", KEYLESS,
                "O(1) a call, O(N) in all", "Iterates over the key names in the database."),
        command("randomkey", randomkey, 1, "readonly", KEYLESS,
                "O(1)", "Returns a random key name from the database."),
    ),
    *table("server",
        command("dbsize", dbsize, 1, "readonly fast", KEYLESS,
                "O(1)", "Returns the number of keys in the database."),
        command("flushall [ASYNC | SYNC]", flushall, -1, "write", KEYLESS,
                "O(1), O(N) in keys that are not stable yet; memory is freed in slices",
                "Removes all keys from all databases.",
                "Removes what is visible here: concurrent writes survive."),
        command("flushdb [ASYNC | SYNC]", flushall, -1, "write", KEYLESS,
                "O(1), O(N) in keys that are not stable yet; memory is freed in slices",
                "Removes all keys from the current database.",
                "Removes what is visible here: concurrent writes survive."),
    ),
)
# fmt: on
