"""Commands on sorted sets (floor 8): maps from member to score, a score being a register with a counter."""

from typing import TYPE_CHECKING, final

from marmoset.codec.operations import Scalar, ScoreAssign, ScoreIncrement, ScoreRemove
from marmoset.commands.database import Database, request_bytes, text
from marmoset.commands.parsing import bounds, count, integer
from marmoset.commands.scanning import scan_cursor, scan_options
from marmoset.commands.table import ONE_KEY, command, table
from marmoset.crdts.plain_slots import NOT_DONE
from marmoset.crdts.register import add, number_of, number_text, parse_decimal, plain_number
from marmoset.crdts.sortedset import SortedSet, double, parse_score
from marmoset.replication.plain_writes import assign_score_plainly
from marmoset.resp.errors import NOT_A_FLOAT, SYNTAX, CommandError
from marmoset.resp.replies import DoubleReply, Reply

if TYPE_CHECKING:
    from marmoset.session import Session

NOT_A_NUMBER = "ERR resulting score is not a number (NaN)"
BAD_RANGE = "ERR min or max is not a float"
NO_LIMIT = (0, -1)


def _score(word: bytes, fault: str = NOT_A_FLOAT) -> Scalar:
    score = parse_score(word)
    if score is None:
        raise CommandError(fault)
    return score


def _double(score: Scalar) -> DoubleReply:
    return DoubleReply(text(score))


def _incremented(old: Scalar | None, amount: Scalar) -> tuple[Scalar, bool]:
    """The score after an increment, and whether it takes an assignment, since infinity does not add up."""
    infinite = (b"inf", b"-inf")
    if amount in infinite or old in infinite:
        if amount in infinite and old in infinite and amount != old:
            raise CommandError(NOT_A_NUMBER)
        return (amount if amount in infinite else old) or 0, True
    left, right = number_of(old), number_of(amount)
    if left is None or right is None:
        raise CommandError(NOT_A_NUMBER)
    total = plain_number(add(left, right))
    if isinstance(total, bytes) and parse_decimal(total) is None:
        raise CommandError(NOT_A_NUMBER)
    return total, False


def _increment(database: Database, name: str, key: bytes, member: bytes, amount: Scalar, old: Scalar | None) -> Scalar:
    total, assigned = _incremented(old, amount)
    if assigned:
        database.submit(ScoreAssign(key, [member, total]))
    else:
        number = number_of(amount)
        assert number is not None
        shown = number if isinstance(number, int) and abs(number) < 1 << 63 else number_text(number).decode("ascii")
        database.charge_digits(name, shown)
        database.submit(ScoreIncrement(key, member, shown))
    return total


@final
class _Options:
    """What ZADD may be told before the scores."""

    __slots__ = ("ch", "gt", "incr", "lt", "nx", "xx")

    def __init__(self) -> None:
        self.nx = self.xx = self.gt = self.lt = self.ch = self.incr = False

    def take(self, word: bytes) -> bool:
        """Set what a word says; False where it is no option."""
        word = word.upper()
        if word == b"NX":
            self.nx = True
        elif word == b"XX":
            self.xx = True
        elif word == b"GT":
            self.gt = True
        elif word == b"LT":
            self.lt = True
        elif word == b"CH":
            self.ch = True
        elif word == b"INCR":
            self.incr = True
        else:
            return False
        return True

    def allows_any(self, old: Scalar | None) -> bool:
        """Whether a member with an old score, or without one, may get a new one at all."""
        return not self.xx if old is None else not self.nx

    def allows(self, old: Scalar | None, new: Scalar) -> bool:
        """Whether a member with an old score may get a new one."""
        if old is None or self.nx:
            return self.allows_any(old)
        if self.gt and double(new) <= double(old):
            return False
        return not (self.lt and double(new) >= double(old))


def zadd(session: "Session", args: list[bytes]) -> Reply:
    """ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]."""
    if len(args) == 4:  # one member, no option: no more is done than that takes
        score = parse_score(args[2])
        if score is not None:
            database, key, member = session.database, args[1], args[3]
            if isinstance(score, bytes):
                database.charge_digits("zadd", score)
            more = assign_score_plainly(database.replica, key, member, score)
            if more != NOT_DONE:
                return more
            value = database.sorted_set_at(key)
            is_new = value is None or member not in value
            database.submit(ScoreAssign(key, [member, score]))
            return int(is_new)
    options = _Options()
    at = 2
    while at < len(args) and options.take(args[at]):
        at += 1
    words = args[at:]
    if not words or len(words) % 2:
        raise CommandError(SYNTAX)
    if options.nx and options.xx:
        raise CommandError("ERR XX and NX options at the same time are not compatible")
    if (options.gt and options.lt) or (options.nx and (options.gt or options.lt)):
        raise CommandError("ERR GT, LT, and/or NX options at the same time are not compatible")
    if options.incr and len(words) > 2:
        raise CommandError("ERR INCR option supports a single increment-element pair")
    scores = [_score(word) for word in words[::2]]
    database, key = session.database, args[1]
    value = database.sorted_set_at(key)
    if options.incr:
        old = None if value is None else value.get(words[1])
        if not options.allows_any(old) or not options.allows(old, _incremented(old, scores[0])[0]):
            return None
        return _double(_increment(database, "zadd", key, words[1], scores[0], old))
    latest: dict[bytes, Scalar] = {}
    added = changed = 0
    for index, score in enumerate(scores):
        member = words[2 * index + 1]
        known = latest.get(member)
        if known is None and value is not None:
            known = value.get(member)
        if not options.allows(known, score):
            continue
        if known is None:
            added += 1
        elif options.ch and double(known) != double(score):
            changed += 1
        latest[member] = score
    pairs: list[Scalar] = []
    for member, score in latest.items():
        pairs.append(member)
        pairs.append(score)
        database.charge_digits("zadd", score)
    if pairs:
        database.submit(ScoreAssign(key, pairs))
    return added + changed if options.ch else added


def zincrby(session: "Session", args: list[bytes]) -> Reply:
    """ZINCRBY key increment member: concurrent increments all count."""
    amount = _score(args[2])
    value = session.database.sorted_set_at(args[1])
    old = None if value is None else value.get(args[3])
    return _double(_increment(session.database, "zincrby", args[1], args[3], amount, old))


def zrem(session: "Session", args: list[bytes]) -> Reply:
    """ZREM key member [member ...]: removes what is observed here; a concurrent update survives."""
    value = session.database.sorted_set_at(args[1])
    present = [] if value is None else [member for member in dict.fromkeys(args[2:]) if member in value]
    return _remove(session.database, args[1], present)


def _remove(database: Database, key: bytes, members: list[bytes]) -> int:
    if members:
        database.submit(ScoreRemove(key, members))
    return len(members)


def zscore(session: "Session", args: list[bytes]) -> Reply:
    """ZSCORE key member."""
    value = session.database.sorted_set_at(args[1])
    score = None if value is None else value.get(args[2])
    return None if score is None else _double(score)


def zmscore(session: "Session", args: list[bytes]) -> Reply:
    """ZMSCORE key member [member ...]."""
    value = session.database.sorted_set_at(args[1])
    scores = [None if value is None else value.get(member) for member in args[2:]]
    return [None if score is None else _double(score) for score in scores]


def zcard(session: "Session", args: list[bytes]) -> Reply:
    """ZCARD key."""
    value = session.database.sorted_set_at(args[1])
    return 0 if value is None else len(value)


def _rank(session: "Session", args: list[bytes], *, reverse: bool) -> Reply:
    value = session.database.sorted_set_at(args[1])
    rank = None if value is None else value.rank(args[2])
    if value is None or rank is None:
        return None
    return len(value) - 1 - rank if reverse else rank


def zrank(session: "Session", args: list[bytes]) -> Reply:
    """ZRANK key member."""
    return _rank(session, args, reverse=False)


def zrevrank(session: "Session", args: list[bytes]) -> Reply:
    """ZREVRANK key member."""
    return _rank(session, args, reverse=True)


def _limit(word: bytes) -> tuple[float, bool]:
    """One end of a range of scores, and whether the end itself is outside."""
    is_open = word[:1] == b"("
    if word == b"(":
        return 0.0, True  # as Redis reads it
    return double(_score(word[1:] if is_open else word, BAD_RANGE)), is_open


def _score_range(value: SortedSet, low: tuple[float, bool], high: tuple[float, bool]) -> tuple[int, int]:
    """The ranks from and to before which scores lie between two ends. O(log n)."""
    (bottom, bottom_open), (top, top_open) = low, high
    start = value.before(bottom, including=bottom_open)
    return start, max(start, value.before(top, including=not top_open))


def zcount(session: "Session", args: list[bytes]) -> Reply:
    """ZCOUNT key min max."""
    low, high = _limit(args[2]), _limit(args[3])
    value = session.database.sorted_set_at(args[1])
    if value is None:
        return 0
    start, stop = _score_range(value, low, high)
    return stop - start


def _shown(session: "Session", value: SortedSet, members: list[bytes], *, scores: bool) -> Reply:
    if not scores:
        return members
    pairs = [[member, _double(value[member])] for member in members]
    return pairs if session.protocol == 3 else [word for pair in pairs for word in pair]


def _by_rank(session: "Session", key: bytes, start: int, stop: int, *, reverse: bool, scores: bool) -> Reply:
    value = session.database.sorted_set_at(key)
    if value is None:
        return []
    length = len(value)
    first, last = bounds(start, stop, length)
    members = value.slice(length - last, length - first)[::-1] if reverse else value.slice(first, last)
    return _shown(session, value, members, scores=scores)


def _by_score(
    session: "Session", key: bytes, low: bytes, high: bytes, limit: tuple[int, int], *, reverse: bool, scores: bool
) -> Reply:
    bottom, top = _limit(low), _limit(high)
    value = session.database.sorted_set_at(key)
    if value is None or limit[0] < 0:
        return []
    start, stop = _score_range(value, bottom, top)
    wanted = stop - start if limit[1] < 0 else limit[1]
    if reverse:
        stop = max(start, stop - limit[0])
        members = value.slice(max(start, stop - wanted), stop)[::-1]
    else:
        start = min(stop, start + limit[0])
        members = value.slice(start, min(stop, start + wanted))
    return _shown(session, value, members, scores=scores)


def _range_options(words: list[bytes], names: tuple[bytes, ...]) -> tuple[set[bytes], tuple[int, int]]:
    """The options of a range command, and LIMIT's two numbers. WITHSCORES and LIMIT may come again, as in Redis."""
    found: set[bytes] = set()
    limit = NO_LIMIT
    at = 0
    while at < len(words):
        word = words[at].upper()
        if word == b"LIMIT" and at + 2 < len(words):
            limit = (integer(words[at + 1]), integer(words[at + 2]))
            at += 3
        elif word in names and (word == b"WITHSCORES" or word not in found):
            found.add(word)
            at += 1
        else:
            raise CommandError(SYNTAX)
    return found, limit


def _check_no_limit(limit: tuple[int, int]) -> None:
    """A range of ranks has no LIMIT, but one of -1 elements, which Redis does not tell from none."""
    if limit[1] != NO_LIMIT[1]:
        raise CommandError("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")


def zrange(session: "Session", args: list[bytes]) -> Reply:
    """ZRANGE key start stop [BYSCORE] [REV] [LIMIT offset count] [WITHSCORES]."""
    options, limit = _range_options(args[4:], (b"BYSCORE", b"REV", b"WITHSCORES"))
    reverse, scores = b"REV" in options, b"WITHSCORES" in options
    if b"BYSCORE" in options:
        low, high = (args[3], args[2]) if reverse else (args[2], args[3])
        return _by_score(session, args[1], low, high, limit, reverse=reverse, scores=scores)
    _check_no_limit(limit)
    return _by_rank(session, args[1], integer(args[2]), integer(args[3]), reverse=reverse, scores=scores)


def zrevrange(session: "Session", args: list[bytes]) -> Reply:
    """ZREVRANGE key start stop [WITHSCORES]."""
    options, limit = _range_options(args[4:], (b"WITHSCORES",))
    _check_no_limit(limit)
    return _by_rank(session, args[1], integer(args[2]), integer(args[3]), reverse=True, scores=bool(options))


def zrangebyscore(session: "Session", args: list[bytes]) -> Reply:
    """ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]."""
    options, limit = _range_options(args[4:], (b"WITHSCORES",))
    return _by_score(session, args[1], args[2], args[3], limit, reverse=False, scores=bool(options))


def zrevrangebyscore(session: "Session", args: list[bytes]) -> Reply:
    """ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]."""
    options, limit = _range_options(args[4:], (b"WITHSCORES",))
    return _by_score(session, args[1], args[3], args[2], limit, reverse=True, scores=bool(options))


def _pop(session: "Session", args: list[bytes], *, lowest: bool) -> Reply:
    wanted = count(args[2]) if len(args) > 2 else 1
    database = session.database
    value = database.sorted_set_at(args[1])
    if value is None or wanted == 0:
        return []
    length = len(value)
    number = min(wanted, length)
    members = value.slice(0, number) if lowest else value.slice(length - number, length)[::-1]
    pairs = [[member, _double(value[member])] for member in members]
    database.charge("zpopmin" if lowest else "zpopmax", request_bytes(members))
    _remove(database, args[1], members)
    if session.protocol == 3 and len(args) > 2:
        return pairs
    return [word for pair in pairs for word in pair]


def zpopmin(session: "Session", args: list[bytes]) -> Reply:
    """ZPOPMIN key [count]."""
    if len(args) > 3:
        raise CommandError(SYNTAX)
    return _pop(session, args, lowest=True)


def zpopmax(session: "Session", args: list[bytes]) -> Reply:
    """ZPOPMAX key [count]."""
    if len(args) > 3:
        raise CommandError(SYNTAX)
    return _pop(session, args, lowest=False)


def zscan(session: "Session", args: list[bytes]) -> Reply:
    """ZSCAN key cursor [MATCH pattern] [COUNT count]."""
    cursor = scan_cursor(args[2])
    value = session.database.sorted_set_at(args[1])
    if value is None:
        return [b"0", []]
    options = scan_options(cursor, args[3:], kinds=False)
    cursor, members = value.scan(options.cursor, options.count)
    found: list[bytes] = []
    for member in members:
        if options.wants(member):
            found += (member, text(value[member]))
    return [b"%d" % cursor, found]


# fmt: off
TABLE = table(
    "sorted-set",
    command("zadd key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]", zadd, -4,
            "write denyoom fast", ONE_KEY,
            "O(log N) for each member",
            "Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist.",
            "Of concurrent scores of a member the later wins; an addition survives a removal that had not seen it."),
    command("zincrby key increment member", zincrby, 4, "write denyoom fast", ONE_KEY,
            "O(log N)",
            "Increments the score of a member in a sorted set.",
            "Concurrent increments all count, exactly, in whatever order they arrive."),
    command("zrem key member [member ...]", zrem, -3, "write fast", ONE_KEY,
            "O(log N) for each member",
            "Removes one or more members from a sorted set. Deletes the key if none remains.",
            "Removes what is visible here: a concurrent update of a member survives."),
    command("zscore key member", zscore, 3, "readonly fast", ONE_KEY,
            "O(1)",
            "Returns the score of a member in a sorted set."),
    command("zmscore key member [member ...]", zmscore, -3, "readonly fast", ONE_KEY,
            "O(N) in the number of members named",
            "Returns the scores of members in a sorted set."),
    command("zcard key", zcard, 2, "readonly fast", ONE_KEY,
            "O(1)",
            "Returns the number of members in a sorted set."),
    command("zrank key member", zrank, 3, "readonly fast", ONE_KEY,
            "O(log N)",
            "Returns the index of a member in a sorted set ordered by ascending scores."),
    command("zrevrank key member", zrevrank, 3, "readonly fast", ONE_KEY,
            "O(log N)",
            "Returns the index of a member in a sorted set ordered by descending scores."),
    command("zrange key start stop [BYSCORE] [REV] [LIMIT offset count] [WITHSCORES]", zrange, -4, "readonly", ONE_KEY,
            "O(log N + M) with M members returned",
            "Returns members in a sorted set within a range of indexes or scores."),
    command("zrevrange key start stop [WITHSCORES]", zrevrange, -4, "readonly", ONE_KEY,
            "O(log N + M) with M members returned",
            "Returns members in a sorted set within a range of indexes in reverse order."),
    command("zrangebyscore key min max [WITHSCORES] [LIMIT offset count]", zrangebyscore, -4, "readonly", ONE_KEY,
            "O(log N + M) with M members returned",
            "Returns members in a sorted set within a range of scores."),
    command("zrevrangebyscore key max min [WITHSCORES] [LIMIT offset count]", zrevrangebyscore, -4, "readonly", ONE_KEY,
            "O(log N + M) with M members returned",
            "Returns members in a sorted set within a range of scores in reverse order."),
    command("zcount key min max", zcount, 4, "readonly fast", ONE_KEY,
            "O(log N)",
            "Returns the count of members in a sorted set that have scores within a range."),
    command("zpopmin key [count]", zpopmin, -2, "write fast", ONE_KEY,
            "O(log N) for each member",
            "Returns the lowest-scoring members from a sorted set after removing them.",
            "Two nodes that pop at the same time may pop the same member."),
    command("zpopmax key [count]", zpopmax, -2, "write fast", ONE_KEY,
            "O(log N) for each member",
            "Returns the highest-scoring members from a sorted set after removing them.",
            "Two nodes that pop at the same time may pop the same member."),
    command("zscan key cursor [MATCH pattern] [COUNT count]", zscan, -3, "readonly", ONE_KEY,
            "O(1) a call, O(N) in all",
            "Iterates over members and scores of a sorted set."),
)
# fmt: on
