"""Commands on deadlines (floor 8).

A deadline is kept in milliseconds since 1970 and compared with the hybrid clock of whoever reads. Of concurrent
deadlines the latest wins, and PERSIST counts as never.
"""

from typing import TYPE_CHECKING, Final

from marmoset.codec.operations import Assign, Expire, Reset
from marmoset.commands.database import Database, text
from marmoset.commands.parsing import INT_MAX, integer
from marmoset.commands.table import ONE_KEY, command, table
from marmoset.replication.expiry import observe_time
from marmoset.resp.errors import SYNTAX, CommandError
from marmoset.resp.replies import OK, ONE, ZERO, Reply

if TYPE_CHECKING:
    from marmoset.session import Session

DEADLINE_MS_MAX: Final = (1 << 46) - 1
UNITS: Final = {b"EX": (1000, False), b"PX": (1, False), b"EXAT": (1000, True), b"PXAT": (1, True)}
"""How SET and GETEX say a deadline: milliseconds in a unit, and whether it is counted from 1970."""


def invalid_time(name: str) -> str:
    """The time lies beyond what can be kept."""
    return f"ERR invalid expire time in '{name}' command"


def now_ms(database: Database) -> int:
    """What the clock of this node says now."""
    observe_time(database.replica)
    return database.keyspace.now_ms


def deadline_of(database: Database, name: str, number: int, unit_ms: int, *, absolute: bool) -> int:
    """The deadline that a number of units means; it may lie in the past. Raises `CommandError`."""
    base = 0 if absolute else now_ms(database)
    if abs(number) > INT_MAX // unit_ms or not -DEADLINE_MS_MAX <= number * unit_ms + base <= DEADLINE_MS_MAX:
        raise CommandError(invalid_time(name))
    return number * unit_ms + base


def set_deadline(database: Database, key: bytes, deadline_ms: int) -> None:
    """Give a key a deadline; it goes at once if that has passed."""
    if deadline_ms <= now_ms(database):
        database.submit(Reset(key))
    else:
        database.submit(Expire(key, deadline_ms))


def _options(words: list[bytes]) -> set[bytes]:
    """NX, XX, GT and LT, as far as they go together."""
    options: set[bytes] = set()
    for word in words:
        option = word.upper()
        if option not in (b"NX", b"XX", b"GT", b"LT"):
            raise CommandError(f"ERR Unsupported option {word.decode('utf-8', 'replace')}")
        options.add(option)
    if b"NX" in options and len(options) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= options:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return options


def _allowed(database: Database, key: bytes, deadline_ms: int, options: set[bytes]) -> bool:
    """Whether the options let a deadline through."""
    old = database.keyspace.deadline_ms(key)
    if (b"NX" in options and old is not None) or (b"XX" in options and old is None):
        return False
    if b"GT" in options and (old is None or deadline_ms <= old):
        return False
    return not (b"LT" in options and old is not None and deadline_ms >= old)


def _expire(session: "Session", name: str, args: list[bytes], unit_ms: int, *, absolute: bool) -> Reply:
    database, key = session.database, args[1]
    options = _options(args[3:])
    deadline_ms = deadline_of(database, name, integer(args[2]), unit_ms, absolute=absolute)
    now_ms(database)
    if key not in database.keyspace or not _allowed(database, key, deadline_ms, options):
        return ZERO
    set_deadline(database, key, deadline_ms)
    return ONE


def expire(session: "Session", args: list[bytes]) -> Reply:
    """EXPIRE key seconds [NX | XX | GT | LT]."""
    return _expire(session, "expire", args, 1000, absolute=False)


def pexpire(session: "Session", args: list[bytes]) -> Reply:
    """PEXPIRE key milliseconds [NX | XX | GT | LT]."""
    return _expire(session, "pexpire", args, 1, absolute=False)


def expireat(session: "Session", args: list[bytes]) -> Reply:
    """EXPIREAT key unix-time-seconds [NX | XX | GT | LT]."""
    return _expire(session, "expireat", args, 1000, absolute=True)


def pexpireat(session: "Session", args: list[bytes]) -> Reply:
    """PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]."""
    return _expire(session, "pexpireat", args, 1, absolute=True)


def _deadline(session: "Session", key: bytes) -> int:
    """The deadline of a key: -2 without the key, -1 without a deadline."""
    database = session.database
    now_ms(database)
    if key not in database.keyspace:
        return -2
    deadline_ms = database.keyspace.deadline_ms(key)
    return -1 if deadline_ms is None else deadline_ms


def ttl(session: "Session", args: list[bytes]) -> Reply:
    """TTL key."""
    left_ms = pttl(session, args)
    assert isinstance(left_ms, int)
    return left_ms if left_ms < 0 else (left_ms + 500) // 1000


def pttl(session: "Session", args: list[bytes]) -> Reply:
    """PTTL key."""
    deadline_ms = _deadline(session, args[1])
    return deadline_ms if deadline_ms < 0 else max(0, deadline_ms - session.database.keyspace.now_ms)


def expiretime(session: "Session", args: list[bytes]) -> Reply:
    """EXPIRETIME key."""
    deadline_ms = _deadline(session, args[1])
    return deadline_ms if deadline_ms < 0 else (deadline_ms + 500) // 1000


def pexpiretime(session: "Session", args: list[bytes]) -> Reply:
    """PEXPIRETIME key."""
    return _deadline(session, args[1])


def persist(session: "Session", args: list[bytes]) -> Reply:
    """PERSIST key."""
    if _deadline(session, args[1]) < 0:
        return ZERO
    session.database.submit(Expire(args[1], 0))
    return ONE


def _setex(session: "Session", name: str, args: list[bytes], unit_ms: int) -> Reply:
    number = integer(args[2])
    if number <= 0:
        raise CommandError(invalid_time(name))
    deadline_ms = deadline_of(session.database, name, number, unit_ms, absolute=False)
    session.database.submit(Assign(args[1], args[3]))
    session.database.submit(Expire(args[1], deadline_ms))
    return OK


def setex(session: "Session", args: list[bytes]) -> Reply:
    """SETEX key seconds value."""
    return _setex(session, "setex", args, 1000)


def psetex(session: "Session", args: list[bytes]) -> Reply:
    """PSETEX key milliseconds value."""
    return _setex(session, "psetex", args, 1)


def getex(session: "Session", args: list[bytes]) -> Reply:
    """GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]."""
    database, key = session.database, args[1]
    persists, unit, word = _getex_options(args[2:])
    now_ms(database)
    value = database.string_at(key)
    if value is None:
        return None
    if persists:
        persist(session, args[:2])
    elif unit is not None:
        number = integer(word)
        if number <= 0:
            raise CommandError(invalid_time("getex"))
        set_deadline(database, key, deadline_of(database, "getex", number, unit[0], absolute=unit[1]))
    return text(value)


def _getex_options(words: list[bytes]) -> tuple[bool, tuple[int, bool] | None, bytes]:
    """Whether GETEX is to PERSIST, how it says a deadline, and the number of that: the last, if it comes again."""
    said = number = b""
    at = 0
    while at < len(words):
        option = words[at].upper()
        if said not in (b"", option) or (option != b"PERSIST" and (option not in UNITS or at + 1 == len(words))):
            raise CommandError(SYNTAX)
        said = option
        if said != b"PERSIST":
            number = words[at + 1]
            at += 1
        at += 1
    return said == b"PERSIST", UNITS.get(said), number


_LATEST: Final = "Of concurrent deadlines the latest wins; PERSIST counts as never."

# fmt: off
TABLE = table(
    "generic",
    command("expire key seconds [NX | XX | GT | LT]", expire, -3, "write fast", ONE_KEY,
            "O(1)", "Sets the expiration time of a key in seconds.", _LATEST),
    command("pexpire key milliseconds [NX | XX | GT | LT]", pexpire, -3, "write fast", ONE_KEY,
            "O(1)", "Sets the expiration time of a key in milliseconds.", _LATEST),
    command("expireat key unix-time-seconds [NX | XX | GT | LT]", expireat, -3, "write fast", ONE_KEY,
            "O(1)", "Sets the expiration time of a key to a Unix timestamp.", _LATEST),
    command("pexpireat key unix-time-milliseconds [NX | XX | GT | LT]", pexpireat, -3, "write fast", ONE_KEY,
            "O(1)", "Sets the expiration time of a key to a Unix milliseconds timestamp.", _LATEST),
    command("ttl key", ttl, 2, "readonly fast", ONE_KEY,
            "O(1)", "Returns the expiration time in seconds of a key."),
    command("pttl key", pttl, 2, "readonly fast", ONE_KEY,
            "O(1)", "Returns the expiration time in milliseconds of a key."),
    command("expiretime key", expiretime, 2, "readonly fast", ONE_KEY,
            "O(1)", "Returns the expiration time of a key as a Unix timestamp."),
    command("pexpiretime key", pexpiretime, 2, "readonly fast", ONE_KEY,
            "O(1)", "Returns the expiration time of a key as a Unix milliseconds timestamp."),
    command("persist key", persist, 2, "write fast", ONE_KEY,
            "O(1)", "Removes the expiration time of a key.", "Wins over every concurrent deadline."),
) + table(
    "string",
    command("setex key seconds value", setex, 4, "write denyoom", ONE_KEY,
            "O(1)", "Sets the string value and expiration time of a key.", _LATEST),
    command("psetex key milliseconds value", psetex, 4, "write denyoom", ONE_KEY,
            "O(1)", "Sets both string value and expiration time in milliseconds of a key.", _LATEST),
    command("getex key [EX seconds | PX milliseconds | EXAT seconds | PXAT milliseconds | PERSIST]", getex, -2,
            "write fast", ONE_KEY,
            "O(1)", "Returns the string value of a key after setting its expiration time.", _LATEST),
)
# fmt: on
