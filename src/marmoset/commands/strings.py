"""Commands on strings (floor 8): registers with a counter."""

from typing import TYPE_CHECKING, Final

from marmoset.codec.operations import Assign, Expire, Increment, Reset
from marmoset.commands.database import text
from marmoset.commands.expiry import UNITS, deadline_of
from marmoset.commands.parsing import INT_MAX, INT_MIN, decimal, integer, integer_or_none, is_int64
from marmoset.commands.table import ALL_KEYS, KEY_VALUES, ONE_KEY, command, table
from marmoset.crdts.register import DIGITS_MAX, add, number_text
from marmoset.resp.errors import (
    INFINITE,
    INVALID_EXPIRY,
    NOT_AN_INTEGER,
    OVERFLOW,
    SYNTAX,
    WRONG_TYPE,
    CommandError,
    wrong_arity,
)
from marmoset.resp.replies import OK, ONE, ZERO, Reply

if TYPE_CHECKING:
    from marmoset.session import Session


def get(session: "Session", args: list[bytes]) -> Reply:
    """GET key."""
    value = session.database.keyspace.get(args[1])
    if value is None or type(value) is bytes:
        return value
    if type(value) is int:
        return b"%d" % value
    raise CommandError(WRONG_TYPE)


def set_(session: "Session", args: list[bytes]) -> Reply:
    """SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT seconds | PXAT milliseconds | KEEPTTL]."""
    database = session.database
    if len(args) == 3:
        database.assign(args[1], args[2])
        return OK
    key, value = args[1], args[2]
    options, expiry = _set_options(args)
    deadline_ms = None
    if expiry is not None:
        unit_ms, absolute = UNITS[expiry[0]]
        deadline_ms = deadline_of(database, "set", expiry[1], unit_ms, absolute=absolute)
    old: bytes | None = None
    if b"GET" in options:
        found = database.string_at(key)
        old = None if found is None else text(found)
    exists = key in database.keyspace
    refused = (b"NX" in options and exists) or (b"XX" in options and not exists)
    if not refused:
        database.submit(Assign(key, value, b"KEEPTTL" in options))
        if deadline_ms is not None:
            database.submit(Expire(key, deadline_ms))
    if b"GET" in options:
        return old
    return None if refused else OK


def _set_options(args: list[bytes]) -> tuple[set[bytes], tuple[bytes, int] | None]:
    """The options of SET, in capitals, and its expiry, if any: how it is said, and the number."""
    options: set[bytes] = set()
    expiry: tuple[bytes, bytes] | None = None
    at = 3
    while at < len(args):
        word = args[at].upper()
        at += 1
        if word in _EXPIRY:
            if at == len(args) or b"KEEPTTL" in options or (expiry is not None and expiry[0] != word):
                raise CommandError(SYNTAX)
            expiry = (word, args[at])
            at += 1
        elif word not in _EXCLUDED or _EXCLUDED[word] in options or (word == b"KEEPTTL" and expiry is not None):
            raise CommandError(SYNTAX)
        else:
            options.add(word)
    if expiry is not None:
        number = integer(expiry[1])
        if not 0 < number <= INT_MAX // _EXPIRY[expiry[0]]:
            raise CommandError(INVALID_EXPIRY)
        return options, (expiry[0], number)
    return options, None


_EXPIRY: Final = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}
_EXCLUDED: Final = {b"NX": b"XX", b"XX": b"NX", b"GET": b"", b"KEEPTTL": b""}


def setnx(session: "Session", args: list[bytes]) -> Reply:
    """SETNX key value."""
    if args[1] in session.database.keyspace:
        return ZERO
    session.database.assign(args[1], args[2])
    return ONE


def getset(session: "Session", args: list[bytes]) -> Reply:
    """GETSET key value."""
    old = session.database.string_at(args[1])
    session.database.assign(args[1], args[2])
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
        session.database.assign(args[at], args[at + 1])
    return OK


def mget(session: "Session", args: list[bytes]) -> Reply:
    """MGET key [key ...]: what is no string counts as absent."""
    keyspace = session.database.keyspace
    found: list[Reply] = []
    for key in args[1:]:
        value = keyspace.get(key)
        found.append(text(value) if isinstance(value, bytes) or isinstance(value, int) else None)
    return found


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
    database.submit(Assign(args[1], new, keep_deadline=True))
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
        if found is None or not isinstance(found, int) or not is_int64(found):
            raise CommandError(NOT_AN_INTEGER)
        number = found
    number += amount
    if not is_int64(number):
        raise CommandError(OVERFLOW)
    database.increment(key, amount, number)
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
    old = 0 if value is None else decimal(text(value))
    amount = decimal(args[2])
    total = add(old, amount)
    if abs(total) >= 10**DIGITS_MAX:
        raise CommandError(INFINITE)
    digits = number_text(amount).decode("ascii")
    database.charge_digits("incrbyfloat", digits)
    database.submit(Increment(args[1], digits))
    return number_text(total)


# fmt: off
TABLE = table("string",
    command("get key", get, 2, "readonly fast", ONE_KEY,
            "O(1)", "Returns the string value of a key."),
    command("set key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT seconds | PXAT milliseconds | KEEPTTL]",
            set_, -3, "write denyoom", ONE_KEY,
            "O(1)", "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
            "Of concurrent assignments the later one wins; increments that it had not seen are added to it."),
    command("setnx key value", setnx, 3, "write denyoom fast", ONE_KEY,
            "O(1)", "Sets the string value of a key only when the key doesn't exist.",
            "Two nodes may both find the key absent: then both answer 1, and the later value wins."),
    command("getset key value", getset, 3, "write denyoom fast", ONE_KEY,
            "O(1)", "Returns the previous string value of a key after setting it to a new value.",
            "As SET. Two nodes may be answered the same old value."),
    command("getdel key", getdel, 2, "write fast", ONE_KEY,
            "O(1)", "Returns the string value of a key after deleting the key.",
            "Removes what is visible here: a concurrent write survives."),
    command("mset key value [key value ...]", mset, -3, "write denyoom", KEY_VALUES,
            "O(N) in the number of keys", "Atomically creates or modifies the string values of one or more keys.",
            "As SET, in one batch: nobody sees some of the keys without the others."),
    command("mget key [key ...]", mget, -2, "readonly fast", ALL_KEYS,
            "O(N) in the number of keys", "Atomically returns the string values of one or more keys."),
    command("strlen key", strlen, 2, "readonly fast", ONE_KEY,
            "O(1)", "Returns the length of a string value."),
    command("append key value", append, 3, "write denyoom fast", ONE_KEY,
            "O(N) in the length of the new value",
            "Appends a string to the value of a key. Creates the key if it doesn't exist.",
            "Assigns the whole: of concurrent ones the later wins, and what the other appended is lost."),
    command("getrange key start end", getrange, 4, "readonly", ONE_KEY,
            "O(N) in the length of the substring", "Returns a substring of the string stored at a key."),
    command("incr key", incr, 2, "write denyoom fast", ONE_KEY,
            "O(1)", "Increments the integer value of a key by one. Uses 0 if the key doesn't exist.",
            "Concurrent increments all count; together they may pass 64 bits, which is checked here only."),
    command("decr key", decr, 2, "write denyoom fast", ONE_KEY,
            "O(1)", "Decrements the integer value of a key by one. Uses 0 if the key doesn't exist.",
            "Concurrent increments all count; together they may pass 64 bits, which is checked here only."),
    command("incrby key increment", incrby, 3, "write denyoom fast", ONE_KEY,
            "O(1)", "Increments the integer value of a key. Uses 0 if the key doesn't exist.",
            "Concurrent increments all count; together they may pass 64 bits, which is checked here only."),
    command("decrby key decrement", decrby, 3, "write denyoom fast", ONE_KEY,
            "O(1)", "Decrements the integer value of a key. Uses 0 if the key doesn't exist.",
            "Concurrent increments all count; together they may pass 64 bits, which is checked here only."),
    command("incrbyfloat key increment", incrbyfloat, 3, "write denyoom fast", ONE_KEY,
            "O(digits)", "Increments the number in a key by an exact decimal. Uses 0 if the key doesn't exist.",
            "Concurrent increments all count, exactly, in whatever order they arrive."),
)
# fmt: on
