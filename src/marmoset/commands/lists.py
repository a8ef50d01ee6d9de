"""Commands on lists (floor 8): sequences in FugueMax order."""

from typing import TYPE_CHECKING, cast

from marmoset.codec.operations import Scalar, SequenceAssign, SequenceRemove
from marmoset.commands.database import END, PER_RANGE_BYTES, PER_VALUE_BYTES, text
from marmoset.commands.parsing import bounds, count, count_within, integer
from marmoset.commands.table import ONE_KEY, TWO_KEYS, Several, command, table
from marmoset.crdts.sequence import Sequence
from marmoset.replication.plain_writes import push_each_plainly
from marmoset.resp.errors import (
    COUNT_NEGATIVE,
    INDEX_OUT_OF_RANGE,
    MAXLEN_NEGATIVE,
    NO_SUCH_KEY,
    RANK_ZERO,
    SYNTAX,
    CommandError,
    wrong_arity,
)
from marmoset.resp.replies import NULL_ARRAY, OK, ZERO, Reply

if TYPE_CHECKING:
    from marmoset.session import Session

CHUNK = 512
"""How many elements a search looks at in one piece."""


def lpush(session: "Session", args: list[bytes]) -> Reply:
    """LPUSH key element [element ...]."""
    if len(args) == 3:
        return session.database.insert(args[1], 0, [args[2]])
    values = args[2:]
    values.reverse()
    return session.database.insert(args[1], 0, values)


def rpush(session: "Session", args: list[bytes]) -> Reply:
    """RPUSH key element [element ...]."""
    if len(args) == 3:
        return session.database.insert(args[1], END, [args[2]])
    return session.database.insert(args[1], END, args[2:])


def _push_several(session: "Session", requests: list[list[bytes]], *, is_front: bool) -> list[Reply]:
    values: list[Scalar] = [args[2] for args in requests]
    return cast("list[Reply]", push_each_plainly(session.database.replica, requests[0][1], values, is_front))


def _lpush_several(session: "Session", requests: list[list[bytes]]) -> list[Reply]:
    return _push_several(session, requests, is_front=True)


def _rpush_several(session: "Session", requests: list[list[bytes]]) -> list[Reply]:
    return _push_several(session, requests, is_front=False)


def lpushx(session: "Session", args: list[bytes]) -> Reply:
    """LPUSHX key element [element ...]."""
    return ZERO if session.database.list_at(args[1]) is None else lpush(session, args)


def rpushx(session: "Session", args: list[bytes]) -> Reply:
    """RPUSHX key element [element ...]."""
    return ZERO if session.database.list_at(args[1]) is None else rpush(session, args)


def _pop(session: "Session", name: str, args: list[bytes], *, left: bool) -> Reply:
    if len(args) > 3:
        raise CommandError(wrong_arity(name))
    database = session.database
    wanted = count(args[2]) if len(args) > 2 else None
    sequence = database.list_at(args[1])
    if sequence is None:
        return None if wanted is None else NULL_ARRAY
    length = len(sequence)
    number = min(length, 1 if wanted is None else wanted)
    start, stop = (0, number) if left else (length - number, length)
    values = [text(value) for value in sequence.slice(start, stop)]
    database.cut(name, args[1], sequence, start, stop)
    if wanted is None:
        return values[0]
    return values if left else values[::-1]


def lpop(session: "Session", args: list[bytes]) -> Reply:
    """LPOP key [count]: two nodes that pop at the same time may pop the same element."""
    return _pop(session, "lpop", args, left=True)


def rpop(session: "Session", args: list[bytes]) -> Reply:
    """RPOP key [count]."""
    return _pop(session, "rpop", args, left=False)


def llen(session: "Session", args: list[bytes]) -> Reply:
    """LLEN key."""
    sequence = session.database.list_at(args[1])
    return 0 if sequence is None else len(sequence)


def lrange(session: "Session", args: list[bytes]) -> Reply:
    """LRANGE key start stop."""
    start, stop = integer(args[2]), integer(args[3])
    sequence = session.database.list_at(args[1])
    if sequence is None:
        return []
    return [text(value) for value in sequence.slice(*bounds(start, stop, len(sequence)))]


def lindex(session: "Session", args: list[bytes]) -> Reply:
    """LINDEX key index."""
    sequence = session.database.list_at(args[1])
    if sequence is None:
        return None
    index = integer(args[2])
    return text(sequence[index]) if -len(sequence) <= index < len(sequence) else None


def lset(session: "Session", args: list[bytes]) -> Reply:
    """LSET key index element: an assignment to the element; it does not bring back one that is concurrently removed."""
    sequence = session.database.list_at(args[1])
    if sequence is None:
        raise CommandError(NO_SUCH_KEY)
    index = integer(args[2])
    if not -len(sequence) <= index < len(sequence):
        raise CommandError(INDEX_OUT_OF_RANGE)
    element = sequence.id_at(index + len(sequence) if index < 0 else index)
    session.database.submit(SequenceAssign(args[1], element, args[3]))
    return OK


def _positions(sequence: Sequence, element: bytes, *, backwards: bool, limit: int) -> "list[int]":
    """Where an element stands, at most `limit` places, in the order of the search. O(n)."""
    found: list[int] = []
    length = len(sequence)
    starts = range(0, length, CHUNK)
    for start in reversed(starts) if backwards else starts:
        values = sequence.slice(start, min(length, start + CHUNK))
        here = [start + i for i, value in enumerate(values) if text(value) == element]
        found += here[::-1] if backwards else here
        if limit and len(found) >= limit:
            return found[:limit]
    return found


def linsert(session: "Session", args: list[bytes]) -> Reply:
    """LINSERT key BEFORE | AFTER pivot element."""
    where = args[2].upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise CommandError(SYNTAX)
    sequence = session.database.list_at(args[1])
    if sequence is None:
        return ZERO
    found = _positions(sequence, args[3], backwards=False, limit=1)
    if not found:
        return -1
    return session.database.insert(args[1], found[0] + (where == b"AFTER"), [args[4]])


def lrem(session: "Session", args: list[bytes]) -> Reply:
    """LREM key count element."""
    wanted = integer(args[2])
    database = session.database
    sequence = database.list_at(args[1])
    if sequence is None:
        return ZERO
    found = _positions(sequence, args[3], backwards=wanted < 0, limit=abs(wanted))
    database.cut_at("lrem", args[1], sequence, sorted(found))
    return len(found)


def ltrim(session: "Session", args: list[bytes]) -> Reply:
    """LTRIM key start stop."""
    start, stop = integer(args[2]), integer(args[3])
    database = session.database
    sequence = database.list_at(args[1])
    if sequence is not None:
        length = len(sequence)
        start, stop = bounds(start, stop, length)
        if start >= stop:
            database.cut("ltrim", args[1], sequence, 0, length)
        else:
            database.cut_around("ltrim", args[1], sequence, start, stop)
    return OK


def _not_negative(word: bytes, fault: str) -> int:
    number = integer(word, fault)
    if number < 0:
        raise CommandError(fault)
    return number


def lpos(session: "Session", args: list[bytes]) -> Reply:
    """LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]."""
    rank, wanted, longest = 1, None, 0
    for at in range(3, len(args), 2):
        word = args[at].upper()
        if at + 1 == len(args) or word not in (b"RANK", b"COUNT", b"MAXLEN"):
            raise CommandError(SYNTAX)
        if word == b"RANK":
            rank = count_within(args[at + 1])
            if rank == 0:
                raise CommandError(RANK_ZERO)
        elif word == b"COUNT":
            wanted = _not_negative(args[at + 1], COUNT_NEGATIVE)
        else:
            longest = _not_negative(args[at + 1], MAXLEN_NEGATIVE)
    sequence = session.database.list_at(args[1])
    if sequence is None:
        return None if wanted is None else []
    backwards = rank < 0
    limit = 0 if wanted == 0 else abs(rank) - 1 + (1 if wanted is None else wanted)
    found = _positions(sequence, args[2], backwards=backwards, limit=limit)
    if longest:
        length = len(sequence)
        found = [at for at in found if (length - 1 - at if backwards else at) < longest]
    found = found[abs(rank) - 1 :]
    if wanted is None:
        return found[0] if found else None
    return found


def _move(session: "Session", source: bytes, target: bytes, *, from_left: bool, to_left: bool) -> Reply:
    database = session.database
    sequence = database.list_at(source)
    if sequence is None:
        return None
    database.list_at(target)  # of another type: refused before anything is done
    at = 0 if from_left else len(sequence) - 1
    value = text(sequence[at])
    ranges = sequence.ranges(at, at + 1)
    database.charge("lmove", len(value) + PER_VALUE_BYTES + PER_RANGE_BYTES * len(ranges))
    # First what comes: a list that is rotated onto itself is never empty, so that its deadline stays.
    database.insert(target, 0 if to_left else END, [value])
    database.submit(SequenceRemove(source, ranges))
    return value


def _side(word: bytes) -> bool:
    if word.upper() not in (b"LEFT", b"RIGHT"):
        raise CommandError(SYNTAX)
    return word.upper() == b"LEFT"


def lmove(session: "Session", args: list[bytes]) -> Reply:
    """LMOVE source destination LEFT | RIGHT LEFT | RIGHT: both sides in one batch."""
    return _move(session, args[1], args[2], from_left=_side(args[3]), to_left=_side(args[4]))


def rpoplpush(session: "Session", args: list[bytes]) -> Reply:
    """RPOPLPUSH source destination."""
    return _move(session, args[1], args[2], from_left=False, to_left=True)


# fmt: off
TABLE = table("list",
    command("lpush key element [element ...]", lpush, -3, "write denyoom fast", ONE_KEY,
            "O(log n) for each call and O(1) for each element",
            "Prepends one or more elements to a list. Creates the key if it doesn't exist.",
            "What is pushed at the same time at one end stands one run behind the other, never interleaved.",
            several=Several(_lpush_several, 3)),
    command("rpush key element [element ...]", rpush, -3, "write denyoom fast", ONE_KEY,
            "O(log n) for each call and O(1) for each element",
            "Appends one or more elements to a list. Creates the key if it doesn't exist.",
            "What is pushed at the same time at one end stands one run behind the other, never interleaved.",
            several=Several(_rpush_several, 3)),
    command("lpushx key element [element ...]", lpushx, -3, "write denyoom fast", ONE_KEY,
            "O(log n) for each call and O(1) for each element",
            "Prepends elements to a list, only when the list exists.",
            "What is pushed at the same time at one end stands one run behind the other, never interleaved."),
    command("rpushx key element [element ...]", rpushx, -3, "write denyoom fast", ONE_KEY,
            "O(log n) for each call and O(1) for each element",
            "Appends elements to a list, only when the list exists.",
            "What is pushed at the same time at one end stands one run behind the other, never interleaved."),
    command("lpop key [count]", lpop, -2, "write fast", ONE_KEY,
            "O(log n) and O(1) for each element",
            "Returns and removes the first elements of a list. Deletes the key if the last one was popped.",
            "Two nodes may pop the same element."),
    command("rpop key [count]", rpop, -2, "write fast", ONE_KEY,
            "O(log n) and O(1) for each element",
            "Returns and removes the last elements of a list. Deletes the key if the last one was popped.",
            "Two nodes may pop the same element."),
    command("llen key", llen, 2, "readonly fast", ONE_KEY,
            "O(1)", "Returns the length of a list."),
    command("lrange key start stop", lrange, 4, "readonly", ONE_KEY,
            "O(log n) and O(1) for each element", "Returns a range of elements from a list."),
    command("lindex key index", lindex, 3, "readonly", ONE_KEY,
            "O(log n)", "Returns an element from a list by its index."),
    command("lset key index element", lset, 4, "write denyoom", ONE_KEY,
            "O(log n)", "Sets the value of an element in a list by its index.",
            "Of concurrent ones the later wins; an element that is concurrently removed stays removed."),
    command("linsert key BEFORE|AFTER pivot element", linsert, 5, "write denyoom", ONE_KEY,
            "O(n)", "Inserts an element before or after another element in a list.",
            "What is inserted at the same place at the same time is not interleaved."),
    command("lrem key count element", lrem, 4, "write", ONE_KEY,
            "O(n)", "Removes elements from a list. Deletes the key if the last one was removed.",
            "Removes what is visible here."),
    command("ltrim key start stop", ltrim, 4, "write", ONE_KEY,
            "O(log n) and O(1) for each element removed",
            "Removes elements from both ends of a list. Deletes the key if all were removed.",
            "Removes what is visible here: what is concurrently pushed stays."),
    command("lpos key element [RANK rank] [COUNT num-matches] [MAXLEN len]", lpos, -3, "readonly", ONE_KEY,
            "O(n)", "Returns the index of matching elements in a list."),
    command("lmove source destination LEFT|RIGHT LEFT|RIGHT", lmove, 5, "write denyoom", TWO_KEYS,
            "O(log n)", "Pops an element from one list, pushes it to another and returns it.",
            "If two nodes move an element at the same time, it arrives twice."),
    command("rpoplpush source destination", rpoplpush, 3, "write denyoom", TWO_KEYS,
            "O(log n)", "Pops the last element of a list, pushes it to the front of another and returns it.",
            "If two nodes move an element at the same time, it arrives twice."),
)
# fmt: on
