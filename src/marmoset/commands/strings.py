"""Commands on strings (floor 8): registers with a counter."""

from typing import TYPE_CHECKING

from marmoset.codec.operations import Assign, Increment, Reset
from marmoset.commands.database import text
from marmoset.commands.parsing import INT_MAX, INT_MIN, decimal, integer, integer_or_none
from marmoset.commands.table import Command
from marmoset.crdts.register import DIGITS_MAX, add, number_text, parse_decimal
from marmoset.resp.errors import (
    INFINITE,
    NO_EXPIRY,
    NOT_A_FLOAT,
    NOT_AN_INTEGER,
    OVERFLOW,
    SYNTAX,
    CommandError,
    wrong_arity,
)
from marmoset.resp.replies import OK, ONE, ZERO, Reply

if TYPE_CHECKING:
    from marmoset.session import Session


def get(session: "Session", args: list[bytes]) -> Reply:
    """GET key."""
    value = session.database.string_at(args[1])
    return b"%d" % value if type(value) is int else value


def set_(session: "Session", args: list[bytes]) -> Reply:
    """SET key value [NX | XX] [GET] [KEEPTTL]."""
    database = session.database
    if len(args) == 3:
        database.submit(Assign(args[1], args[2]))
        return OK
    key, value = args[1], args[2]
    options = {arg.upper() for arg in args[3:]}
    if options & {b"EX", b"PX", b"EXAT", b"PXAT"}:
        raise CommandError(NO_EXPIRY)
    if options - {b"NX", b"XX", b"GET", b"KEEPTTL"} or {b"NX", b"XX"} <= options:
        raise CommandError(SYNTAX)
    old: bytes | None = None
    if b"GET" in options:
        found = database.string_at(key)
        old = None if found is None else text(found)
    exists = key in database.keyspace
    refused = (b"NX" in options and exists) or (b"XX" in options and not exists)
    if not refused:
        database.submit(Assign(key, value))
    if b"GET" in options:
        return old
    return None if refused else OK


def setnx(session: "Session", args: list[bytes]) -> Reply:
    """SETNX key value."""
    if args[1] in session.database.keyspace:
        return ZERO
    session.database.submit(Assign(args[1], args[2]))
    return ONE


def getset(session: "Session", args: list[bytes]) -> Reply:
    """GETSET key value."""
    old = session.database.string_at(args[1])
    session.database.submit(Assign(args[1], args[2]))
    return None if old is None else text(old)


def getdel(session: "Session", args: list[bytes]) -> Reply:
    """GETDEL key."""
    old = session.database.string_at(args[1])
    if old is None:
        return None
    session.database.submit(Reset(args[1]))
    return text(old)


def mset(session: "Session", args: list[bytes]) -> Reply:
    """MSET key value [key value ...]."""
    if len(args) % 2 == 0:
        raise CommandError(wrong_arity("mset"))
    for at in range(1, len(args), 2):
        session.database.submit(Assign(args[at], args[at + 1]))
    return OK


def mget(session: "Session", args: list[bytes]) -> Reply:
    """MGET key [key ...]: what is no string counts as absent."""
    values = map(session.database.keyspace.get, args[1:])
    return [text(value) if isinstance(value, bytes | int) else None for value in values]


def strlen(session: "Session", args: list[bytes]) -> Reply:
    """STRLEN key."""
    value = session.database.string_at(args[1])
    return 0 if value is None else len(text(value))


def append(session: "Session", args: list[bytes]) -> Reply:
    """APPEND key value: an assignment of the whole, so of two concurrent ones the later wins."""
    database = session.database
    old = database.string_at(args[1])
    new = args[2] if old is None else text(old) + args[2]
    database.charge("append", len(new))
    database.submit(Assign(args[1], new))
    return len(new)


def getrange(session: "Session", args: list[bytes]) -> Reply:
    """GETRANGE key start end."""
    start, end = integer(args[2]), integer(args[3])
    value = session.database.string_at(args[1])
    if value is None:
        return b""
    shown = text(value)
    if start < 0 and end < 0 and start > end:
        return b""
    start = max(0, start + len(shown)) if start < 0 else start
    end = max(0, end + len(shown)) if end < 0 else end
    return shown[start : end + 1] if start <= end else b""


def _increment(session: "Session", key: bytes, amount: int) -> Reply:
    database = session.database
    value = database.string_at(key)
    if value is None:
        number = 0
    else:
        found = integer_or_none(value) if type(value) is bytes else value
        if found is None or not isinstance(found, int) or not INT_MIN <= found <= INT_MAX:
            raise CommandError(NOT_AN_INTEGER)
        number = found
    number += amount
    if not INT_MIN <= number <= INT_MAX:
        raise CommandError(OVERFLOW)
    database.submit(Increment(key, amount))
    return number


def incr(session: "Session", args: list[bytes]) -> Reply:
    """INCR key: concurrent increments all count."""
    return _increment(session, args[1], 1)


def decr(session: "Session", args: list[bytes]) -> Reply:
    """DECR key."""
    return _increment(session, args[1], -1)


def incrby(session: "Session", args: list[bytes]) -> Reply:
    """INCRBY key increment."""
    return _increment(session, args[1], integer(args[2]))


def decrby(session: "Session", args: list[bytes]) -> Reply:
    """DECRBY key decrement."""
    amount = integer(args[2])
    if amount == INT_MIN:
        raise CommandError("ERR decrement would overflow")
    return _increment(session, args[1], -amount)


def incrbyfloat(session: "Session", args: list[bytes]) -> Reply:
    """INCRBYFLOAT key increment: exact decimals, so sums do not depend on their order."""
    database = session.database
    value = database.string_at(args[1])
    old = None if value is None else parse_decimal(text(value))
    if value is not None and old is None:
        raise CommandError(NOT_A_FLOAT)
    amount = decimal(args[2])
    total = add(old or 0, amount)
    if abs(total) >= 10**DIGITS_MAX:
        raise CommandError(INFINITE)
    database.submit(Increment(args[1], number_text(amount).decode("ascii")))
    return number_text(total)


TABLE = (
    Command(
        "get",
        get,
        2,
        "readonly fast",
        (1, 1, 1),
        "string",
        "Returns the string value of a key.",
        "O(1)",
        arguments="key",
    ),
    Command(
        "set",
        set_,
        -3,
        "write denyoom",
        (1, 1, 1),
        "string",
        "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        "O(1)",
        arguments="key value [NX | XX] [GET] [KEEPTTL]",
    ),
    Command(
        "setnx",
        setnx,
        3,
        "write denyoom fast",
        (1, 1, 1),
        "string",
        "Sets the string value of a key only when the key doesn't exist.",
        "O(1)",
        arguments="key value",
    ),
    Command(
        "getset",
        getset,
        3,
        "write denyoom fast",
        (1, 1, 1),
        "string",
        "Returns the previous string value of a key after setting it to a new value.",
        "O(1)",
        arguments="key value",
    ),
    Command(
        "getdel",
        getdel,
        2,
        "write fast",
        (1, 1, 1),
        "string",
        "Returns the string value of a key after deleting the key.",
        "O(1)",
        arguments="key",
    ),
    Command(
        "mset",
        mset,
        -3,
        "write denyoom",
        (1, -1, 2),
        "string",
        "Atomically creates or modifies the string values of one or more keys.",
        "O(N) in the number of keys",
        arguments="key value [key value ...]",
    ),
    Command(
        "mget",
        mget,
        -2,
        "readonly fast",
        (1, -1, 1),
        "string",
        "Atomically returns the string values of one or more keys.",
        "O(N) in the number of keys",
        arguments="key [key ...]",
    ),
    Command(
        "strlen",
        strlen,
        2,
        "readonly fast",
        (1, 1, 1),
        "string",
        "Returns the length of a string value.",
        "O(1)",
        arguments="key",
    ),
    Command(
        "append",
        append,
        3,
        "write denyoom fast",
        (1, 1, 1),
        "string",
        "Appends a string to the value of a key. Creates the key if it doesn't exist.",
        "O(N) in the length of the new value",
        arguments="key value",
    ),
    Command(
        "getrange",
        getrange,
        4,
        "readonly",
        (1, 1, 1),
        "string",
        "Returns a substring of the string stored at a key.",
        "O(N) in the length of the substring",
        arguments="key start end",
    ),
    Command(
        "incr",
        incr,
        2,
        "write denyoom fast",
        (1, 1, 1),
        "string",
        "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        "O(1)",
        arguments="key",
    ),
    Command(
        "decr",
        decr,
        2,
        "write denyoom fast",
        (1, 1, 1),
        "string",
        "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        "O(1)",
        arguments="key",
    ),
    Command(
        "incrby",
        incrby,
        3,
        "write denyoom fast",
        (1, 1, 1),
        "string",
        "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        "O(1)",
        arguments="key increment",
    ),
    Command(
        "decrby",
        decrby,
        3,
        "write denyoom fast",
        (1, 1, 1),
        "string",
        "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
        "O(1)",
        arguments="key decrement",
    ),
    Command(
        "incrbyfloat",
        incrbyfloat,
        3,
        "write denyoom fast",
        (1, 1, 1),
        "string",
        "Increments the number in a key by an exact decimal. Uses 0 as initial value if the key doesn't exist.",
        "O(digits)",
        arguments="key increment",
    ),
)
