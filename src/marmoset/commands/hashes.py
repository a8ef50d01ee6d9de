"""Commands on hashes (floor 8): maps whose fields are registers with a counter."""

from typing import TYPE_CHECKING, cast

from marmoset.codec.operations import MapAssign, MapIncrement, MapRemove, Scalar
from marmoset.commands.database import text
from marmoset.commands.parsing import INT_MAX, INT_MIN, count_within, decimal, integer, integer_or_none
from marmoset.commands.scanning import scan_cursor, scan_options
from marmoset.commands.table import ONE_KEY, Several, command, table
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.register import DIGITS_MAX, add, number_text, parse_decimal
from marmoset.crdts.split import PlainMap
from marmoset.replication.plain_writes import assign_each_field_plainly
from marmoset.resp.errors import (
    HASH_NOT_A_FLOAT,
    HASH_NOT_AN_INTEGER,
    INFINITE,
    INFINITE_AMOUNT,
    LENGTH_RANGE,
    OVERFLOW,
    SYNTAX,
    CommandError,
    wrong_arity,
)
from marmoset.resp.replies import OK, ONE, ZERO, Reply

if TYPE_CHECKING:
    from marmoset.session import Session

MANY_MAX = 1_000_000


def _assign(session: "Session", name: str, args: list[bytes]) -> int:
    if len(args) % 2:
        raise CommandError(wrong_arity(name))
    key = args[1]
    if len(args) == 4:
        return int(session.database.assign_field(key, args[2], args[3]))
    value = session.database.map_at(key)
    new = sum(1 for each in dict.fromkeys(args[2::2]) if value is None or each not in value)
    session.database.submit(MapAssign(key, cast("list[Scalar]", args[2:])))
    return new


def hset(session: "Session", args: list[bytes]) -> Reply:
    """HSET key field value [field value ...]."""
    return _assign(session, "hset", args)


def _hset_several(session: "Session", requests: list[list[bytes]]) -> list[Reply]:
    fields, values = [args[2] for args in requests], [args[3] for args in requests]
    return cast("list[Reply]", assign_each_field_plainly(session.database.replica, requests[0][1], fields, values))


def hmset(session: "Session", args: list[bytes]) -> Reply:
    """HMSET key field value [field value ...]."""
    _assign(session, "hmset", args)
    return OK


def hsetnx(session: "Session", args: list[bytes]) -> Reply:
    """HSETNX key field value."""
    value = session.database.map_at(args[1])
    if value is not None and args[2] in value:
        return ZERO
    session.database.assign_field(args[1], args[2], args[3])
    return ONE


def _field(session: "Session", key: bytes, name: bytes) -> Scalar | None:
    value = session.database.map_at(key)
    found = None if value is None else value.get(name)
    return found if found is None or isinstance(found, (bytes, int)) else text(found)


def hget(session: "Session", args: list[bytes]) -> Reply:
    """HGET key field."""
    return _shown(session.database.map_at(args[1]), args[2])


def _hget_several(session: "Session", requests: list[list[bytes]]) -> list[Reply]:
    value = session.database.map_at(requests[0][1])
    return [_shown(value, args[2]) for args in requests]


def _shown(value: PlainMap | NestedMap | None, name: bytes) -> bytes | None:
    found = None if value is None else value.get(name)
    return None if found is None else text(found)


def hmget(session: "Session", args: list[bytes]) -> Reply:
    """HMGET key field [field ...]."""
    value = session.database.map_at(args[1])
    return [_shown(value, name) for name in args[2:]]


def hgetall(session: "Session", args: list[bytes]) -> Reply:
    """HGETALL key."""
    value = session.database.map_at(args[1])
    return {} if value is None else {name: text(each) for name, each in value.items()}


def hdel(session: "Session", args: list[bytes]) -> Reply:
    """HDEL key field [field ...]: removes what is observed inside; a concurrent update survives."""
    value = session.database.map_at(args[1])
    if value is None:
        return ZERO
    present = [name for name in dict.fromkeys(args[2:]) if name in value]
    if present:
        session.database.submit(MapRemove(args[1], present))
    return len(present)


def hexists(session: "Session", args: list[bytes]) -> Reply:
    """HEXISTS key field."""
    value = session.database.map_at(args[1])
    return ONE if value is not None and args[2] in value else ZERO


def hlen(session: "Session", args: list[bytes]) -> Reply:
    """HLEN key."""
    value = session.database.map_at(args[1])
    return 0 if value is None else len(value)


def hkeys(session: "Session", args: list[bytes]) -> Reply:
    """HKEYS key."""
    value = session.database.map_at(args[1])
    return [] if value is None else list(value)


def hvals(session: "Session", args: list[bytes]) -> Reply:
    """HVALS key."""
    value = session.database.map_at(args[1])
    return [] if value is None else [text(each) for each in value.values()]


def hstrlen(session: "Session", args: list[bytes]) -> Reply:
    """HSTRLEN key field."""
    found = _field(session, args[1], args[2])
    return 0 if found is None else len(text(found))


def hincrby(session: "Session", args: list[bytes]) -> Reply:
    """HINCRBY key field increment: concurrent increments all count."""
    amount = integer(args[3])
    value = _field(session, args[1], args[2])
    number = 0 if value is None else integer_or_none(value) if isinstance(value, bytes) else value
    if number is None or not INT_MIN <= number <= INT_MAX:
        raise CommandError(HASH_NOT_AN_INTEGER)
    if not INT_MIN <= number + amount <= INT_MAX:
        raise CommandError(OVERFLOW)
    session.database.submit(MapIncrement(args[1], args[2], amount))
    return number + amount


def hincrbyfloat(session: "Session", args: list[bytes]) -> Reply:
    """HINCRBYFLOAT key field increment: exact decimals."""
    amount = decimal(args[3], infinite=INFINITE_AMOUNT)
    value = _field(session, args[1], args[2])
    old = None if value is None else parse_decimal(text(value))
    if value is not None and old is None:
        raise CommandError(HASH_NOT_A_FLOAT)
    total = add(old or 0, amount)
    if abs(total) >= 10**DIGITS_MAX:
        raise CommandError(INFINITE)
    digits = number_text(amount).decode("ascii")
    session.database.charge_digits("hincrbyfloat", digits)
    session.database.submit(MapIncrement(args[1], args[2], digits))
    return number_text(total)


def hrandfield(session: "Session", args: list[bytes]) -> Reply:
    """HRANDFIELD key [count [WITHVALUES]]."""
    database = session.database
    wanted = count_within(args[2]) if len(args) > 2 else 0
    if len(args) > 4 or (len(args) == 4 and args[3].upper() != b"WITHVALUES"):
        raise CommandError(SYNTAX)
    if -wanted > MANY_MAX or (len(args) == 4 and wanted > INT_MAX // 2):
        raise CommandError(LENGTH_RANGE)
    value = database.map_at(args[1])
    if len(args) == 2:
        return None if value is None else database.keyspace.sampler(args[1], database.rng).draw()
    if value is None:
        return []
    if wanted >= len(value):
        names = list(value)
    elif wanted >= 0:
        names = database.keyspace.sampler(args[1], database.rng).draw_distinct(wanted)
    else:
        names = database.keyspace.sampler(args[1], database.rng).draw_many(-wanted)
    if len(args) == 3:
        return names
    value = database.map_at(args[1])
    assert value is not None
    pairs = [[name, text(value[name])] for name in names]
    return pairs if session.protocol == 3 else [word for pair in pairs for word in pair]


def hscan(session: "Session", args: list[bytes]) -> Reply:
    """HSCAN key cursor [MATCH pattern] [COUNT count]."""
    cursor = scan_cursor(args[2])
    if session.database.map_at(args[1]) is None:
        return [b"0", []]
    options = scan_options(cursor, args[3:], kinds=False)
    cursor, names = session.database.keyspace.scan_elements(args[1], options.cursor, options.count)
    value = session.database.map_at(args[1])
    assert value is not None
    found: list[bytes] = []
    for name in names:
        if options.wants(name):
            found += (name, text(value[name]))
    return [b"%d" % cursor, found]


# fmt: off
TABLE = table("hash",
    command("hset key field value [field value ...]", hset, -4, "write denyoom fast", ONE_KEY,
            "O(N) in the number of pairs", "Creates or modifies the value of a field in a hash.",
            "As SET, field by field.", several=Several(_hset_several, 4)),
    command("hmset key field value [field value ...]", hmset, -4, "write denyoom fast", ONE_KEY,
            "O(N) in the number of pairs", "Sets the values of multiple fields.",
            "As SET, field by field."),
    command("hsetnx key field value", hsetnx, 4, "write denyoom fast", ONE_KEY,
            "O(1)", "Sets the value of a field in a hash only when the field doesn't exist.",
            "Two nodes may both find the field absent: then both answer 1, and the later value wins."),
    command("hget key field", hget, 3, "readonly fast", ONE_KEY,
            "O(1)", "Returns the value of a field in a hash.", several=Several(_hget_several, 3)),
    command("hmget key field [field ...]", hmget, -3, "readonly fast", ONE_KEY,
            "O(N) in the number of fields", "Returns the values of some fields in a hash."),
    command("hgetall key", hgetall, 2, "readonly", ONE_KEY,
            "O(N) in the size of the hash", "Returns all fields and values in a hash."),
    command("hdel key field [field ...]", hdel, -3, "write fast", ONE_KEY,
            "O(N) in the number of fields", "Deletes fields from a hash. Deletes the key if none remains.",
            "Removes what is visible here: a concurrent update of a field survives."),
    command("hexists key field", hexists, 3, "readonly fast", ONE_KEY,
            "O(1)", "Determines whether a field exists in a hash."),
    command("hlen key", hlen, 2, "readonly fast", ONE_KEY,
            "O(1)", "Returns the number of fields in a hash."),
    command("hkeys key", hkeys, 2, "readonly", ONE_KEY,
            "O(N) in the size of the hash", "Returns all fields in a hash."),
    command("hvals key", hvals, 2, "readonly", ONE_KEY,
            "O(N) in the size of the hash", "Returns all values in a hash."),
    command("hstrlen key field", hstrlen, 3, "readonly fast", ONE_KEY,
            "O(1)", "Returns the length of the value of a field."),
    command("hincrby key field increment", hincrby, 4, "write denyoom fast", ONE_KEY,
            "O(1)", "Increments the integer value of a field. Uses 0 as initial value if the field doesn't exist.",
            "Concurrent increments all count; together they may pass 64 bits, which is checked here only."),
    command("hincrbyfloat key field increment", hincrbyfloat, 4, "write denyoom fast", ONE_KEY,
            "O(digits)", "Increments the number in a field by an exact decimal. Uses 0 if the field doesn't exist.",
            "Concurrent increments all count, exactly, in whatever order they arrive."),
    command("hrandfield key [count [WITHVALUES]]", hrandfield, -2, "readonly", ONE_KEY,
            "O(N) in the number returned", "Returns one or more random fields from a hash."),
    command("hscan key cursor [MATCH pattern] [COUNT count]", hscan, -3, "readonly", ONE_KEY,
            "O(1) a call, O(N) in all", "Iterates over fields and values of a hash."),
)
# fmt: on
