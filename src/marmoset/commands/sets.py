"""Commands on sets (floor 8): sets in which adding wins."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, cast

from marmoset.commands.database import request_bytes
from marmoset.commands.parsing import count, count_within, integer
from marmoset.commands.scanning import scan_cursor, scan_options
from marmoset.commands.table import ALL_KEYS, KEYLESS, ONE_KEY, TWO_KEYS, Several, command, table
from marmoset.crdts.split import PlainSet
from marmoset.replication.plain_writes import add_each_plainly
from marmoset.resp.errors import LENGTH_RANGE, LIMIT_NEGATIVE, NUMKEYS, NUMKEYS_TOO_MANY, SYNTAX, CommandError
from marmoset.resp.replies import ONE, ZERO, Reply, SetReply

if TYPE_CHECKING:
    from marmoset.session import Session


def sadd(session: "Session", args: list[bytes]) -> Reply:
    """SADD key member [member ...]."""
    if len(args) == 3:
        return session.database.add_one(args[1], args[2])
    return session.database.add(args[1], args[2:])


def _sadd_several(session: "Session", requests: list[list[bytes]]) -> list[Reply]:
    elements = [args[2] for args in requests]
    return cast("list[Reply]", add_each_plainly(session.database.replica, requests[0][1], elements))


def srem(session: "Session", args: list[bytes]) -> Reply:
    """SREM key member [member ...]: removes what is observed here; a concurrent add survives."""
    return session.database.remove(args[1], args[2:])


def smembers(session: "Session", args: list[bytes]) -> Reply:
    """SMEMBERS key."""
    value = session.database.set_at(args[1])
    return SetReply([] if value is None else sorted(value))


def sismember(session: "Session", args: list[bytes]) -> Reply:
    """SISMEMBER key member."""
    value = session.database.set_at(args[1])
    return ONE if value is not None and args[2] in value else ZERO


def _sismember_several(session: "Session", requests: list[list[bytes]]) -> list[Reply]:
    value = session.database.set_at(requests[0][1])
    return [ONE if value is not None and args[2] in value else ZERO for args in requests]


def smismember(session: "Session", args: list[bytes]) -> Reply:
    """SMISMEMBER key member [member ...]."""
    value = session.database.set_at(args[1])
    return [int(value is not None and member in value) for member in args[2:]]


def scard(session: "Session", args: list[bytes]) -> Reply:
    """SCARD key."""
    value = session.database.set_at(args[1])
    return 0 if value is None else len(value)


def _sample(session: "Session", key: bytes, wanted: int) -> list[bytes]:
    """Distinct random members, at most as many as there are. O(wanted + parts)."""
    database = session.database
    value = database.set_at(key)
    if value is None or wanted == 0:
        return []
    if wanted >= len(value):
        return sorted(value)
    return database.keyspace.sampler(key, database.rng).draw_distinct(wanted)


def spop(session: "Session", args: list[bytes]) -> Reply:
    """SPOP key [count]."""
    database = session.database
    if len(args) > 3:
        raise CommandError(SYNTAX)
    if len(args) == 2:
        if database.set_at(args[1]) is None:
            return None
        member = database.keyspace.sampler(args[1], database.rng).draw()
        database.remove(args[1], [member])
        return member
    members = _sample(session, args[1], count(args[2]))
    if members:
        database.charge("spop", request_bytes(members))
        database.remove(args[1], members)
    return SetReply(members)


def srandmember(session: "Session", args: list[bytes]) -> Reply:
    """SRANDMEMBER key [count]: a negative count may give a member more than once."""
    database = session.database
    if len(args) > 3:
        raise CommandError(SYNTAX)
    if len(args) == 2:
        return None if database.set_at(args[1]) is None else database.keyspace.sampler(args[1], database.rng).draw()
    wanted = count_within(args[2])
    if wanted >= 0:
        return _sample(session, args[1], wanted)
    if database.set_at(args[1]) is None:
        return []
    if -wanted > MANY_MAX:
        raise CommandError(LENGTH_RANGE)
    return [*database.keyspace.sampler(args[1], database.rng).draw_many(-wanted)]


MANY_MAX = 1_000_000
"""What SRANDMEMBER gives at the most with repetition: the answer is made in one piece."""


def smove(session: "Session", args: list[bytes]) -> Reply:
    """SMOVE source destination member: both sides in one batch."""
    database = session.database
    source = database.set_at(args[1])
    if source is None:
        return ZERO
    database.set_at(args[2])  # of another type: refused before anything is done
    if args[3] not in source:
        return ZERO
    if args[1] != args[2]:
        database.remove(args[1], [args[3]])
        database.add_one(args[2], args[3])
    return ONE


def _values(session: "Session", keys: list[bytes]) -> list[PlainSet | None]:
    return [session.database.set_at(key) for key in keys]


def _union(session: "Session", keys: list[bytes]) -> list[bytes]:
    found: dict[bytes, None] = {}
    for value in _values(session, keys):
        if value is not None:
            found.update(dict.fromkeys(value))
    return list(found)


def _intersection(session: "Session", keys: list[bytes]) -> Iterator[bytes]:
    """The members that all sets have, one by one; the types of all are looked at first."""
    values = _values(session, keys)
    present = sorted((value for value in values if value is not None), key=len)
    if len(present) < len(values):
        return iter(())
    smallest, *others = present
    return (member for member in smallest if all(member in other for other in others))


def _difference(session: "Session", keys: list[bytes]) -> list[bytes]:
    first, *others = _values(session, keys)
    if first is None:
        return []
    present = [other for other in others if other is not None]
    return [member for member in first if not any(member in other for other in present)]


def sunion(session: "Session", args: list[bytes]) -> Reply:
    """SUNION key [key ...]."""
    return SetReply(sorted(_union(session, args[1:])))


def sinter(session: "Session", args: list[bytes]) -> Reply:
    """SINTER key [key ...]."""
    return SetReply(sorted(_intersection(session, args[1:])))


def sdiff(session: "Session", args: list[bytes]) -> Reply:
    """SDIFF key [key ...]."""
    return SetReply(sorted(_difference(session, args[1:])))


def sunionstore(session: "Session", args: list[bytes]) -> Reply:
    """SUNIONSTORE destination key [key ...]."""
    return session.database.store_set("sunionstore", args[1], _union(session, args[2:]))


def sinterstore(session: "Session", args: list[bytes]) -> Reply:
    """SINTERSTORE destination key [key ...]."""
    return session.database.store_set("sinterstore", args[1], [*_intersection(session, args[2:])])


def sdiffstore(session: "Session", args: list[bytes]) -> Reply:
    """SDIFFSTORE destination key [key ...]."""
    return session.database.store_set("sdiffstore", args[1], _difference(session, args[2:]))


def sintercard(session: "Session", args: list[bytes]) -> Reply:
    """SINTERCARD numkeys key [key ...] [LIMIT limit]."""
    number = integer(args[1], NUMKEYS)
    if number <= 0:
        raise CommandError(NUMKEYS)
    if number > len(args) - 2:
        raise CommandError(NUMKEYS_TOO_MANY)
    limit = 0
    for at in range(2 + number, len(args), 2):
        if args[at].upper() != b"LIMIT" or at + 1 == len(args):
            raise CommandError(SYNTAX)
        limit = integer(args[at + 1], LIMIT_NEGATIVE)
        if limit < 0:
            raise CommandError(LIMIT_NEGATIVE)
    common = _intersection(session, args[2 : 2 + number])
    return sum(1 for _ in islice(common, limit or None))


def sscan(session: "Session", args: list[bytes]) -> Reply:
    """SSCAN key cursor [MATCH pattern] [COUNT count]."""
    cursor = scan_cursor(args[2])
    if session.database.set_at(args[1]) is None:
        return [b"0", []]
    options = scan_options(cursor, args[3:], kinds=False)
    cursor, members = session.database.keyspace.scan_elements(args[1], options.cursor, options.count)
    return [b"%d" % cursor, sorted(filter(options.wants, members))]


# fmt: off
TABLE = table("set",
    command("sadd key member [member ...]", sadd, -3, "write denyoom fast", ONE_KEY,
            "O(N) in the number of members", "Adds one or more members to a set. Creates the key if it doesn't exist.",
            "Survives a concurrent removal of the same member.",
            several=Several(_sadd_several, 3)),
    command("srem key member [member ...]", srem, -3, "write fast", ONE_KEY,
            "O(N) in the number of members",
            "Removes one or more members from a set. Deletes the key if the last member was removed.",
            "Removes what is visible here: a concurrent add of the same member survives."),
    command("smembers key", smembers, 2, "readonly", ONE_KEY,
            "O(N) in the size of the set", "Returns all members of a set."),
    command("sismember key member", sismember, 3, "readonly fast", ONE_KEY,
            "O(1)", "Determines whether a member belongs to a set.",
            several=Several(_sismember_several, 3)),
    command("smismember key member [member ...]", smismember, -3, "readonly fast", ONE_KEY,
            "O(N) in the number of members", "Determines whether multiple members belong to a set."),
    command("scard key", scard, 2, "readonly fast", ONE_KEY,
            "O(1)", "Returns the number of members in a set."),
    command("spop key [count]", spop, -2, "write fast", ONE_KEY,
            "O(N) in the number popped",
            "Returns and removes random members of a set. Deletes the key if the last one was popped.",
            "Two nodes may pop the same member."),
    command("srandmember key [count]", srandmember, -2, "readonly", ONE_KEY,
            "O(N) in the number returned", "Get one or multiple random members from a set."),
    command("smove source destination member", smove, 4, "write fast", TWO_KEYS,
            "O(1)", "Moves a member from one set to another.",
            "If two nodes move a member to different sets at the same time, it ends up in both."),
    command("sunion key [key ...]", sunion, -2, "readonly", ALL_KEYS,
            "O(N) in the total size of the sets", "Returns the union of multiple sets."),
    command("sinter key [key ...]", sinter, -2, "readonly", ALL_KEYS,
            "O(N*M) in the smallest size and the number of sets", "Returns the intersect of multiple sets."),
    command("sdiff key [key ...]", sdiff, -2, "readonly", ALL_KEYS,
            "O(N*M) in the first size and the number of sets", "Returns the difference of multiple sets."),
    command("sunionstore destination key [key ...]", sunionstore, -3, "write denyoom", ALL_KEYS,
            "O(N) in the total size of the sets", "Stores the union of multiple sets in a key.",
            "Replaces what is visible here: what is concurrently added to the destination stays."),
    command("sinterstore destination key [key ...]", sinterstore, -3, "write denyoom", ALL_KEYS,
            "O(N*M) in the smallest size and the number of sets", "Stores the intersect of multiple sets in a key.",
            "Replaces what is visible here: what is concurrently added to the destination stays."),
    command("sdiffstore destination key [key ...]", sdiffstore, -3, "write denyoom", ALL_KEYS,
            "O(N*M) in the first size and the number of sets", "Stores the difference of multiple sets in a key.",
            "Replaces what is visible here: what is concurrently added to the destination stays."),
    command("sintercard numkeys key [key ...] [LIMIT limit]", sintercard, -3, "readonly movablekeys", KEYLESS,
            "O(N*M) in the smallest size and the number of sets; counts up to the limit",
            "Returns the number of members of the intersect of multiple sets."),
    command("sscan key cursor [MATCH pattern] [COUNT count]", sscan, -3, "readonly", ONE_KEY,
            "O(1) a call, O(N) in all", "Iterates over members of a set."),
)
# fmt: on
