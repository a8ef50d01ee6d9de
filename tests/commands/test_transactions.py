"""Transactions answer as a real Redis does."""

import pytest

from tests.commands.beside_redis import Pair

CASES = r"""
MULTI
SET a 1
INCR a
GET a
EXEC
EXEC
DISCARD

MULTI
MULTI
SET a 1
EXEC
GET a

MULTI
NOSUCH
SET a 1
EXEC
GET a

MULTI
SET a
EXEC

MULTI
SET a 1
WATCH b
EXEC

MULTI
SET a x
INCR a
SADD a x
GET a
EXEC

MULTI
EXEC

MULTI
SET a 1
DISCARD
GET a
EXEC

MULTI x
EXEC x
DISCARD x
UNWATCH x
WATCH

MULTI
SET a 1
EXEC x
EXEC
GET a

MULTI
DISCARD x
SET a 1
EXEC

MULTI
CLIENT NOSUCH
EXEC

MULTI
CLIENT
EXEC

MULTI
CLIENT GETNAME x
EXEC

MULTI
CLIENT GETNAME
COMMAND NOSUCH
EXEC

MULTI
PING
ECHO hello
SELECT 0
UNWATCH
PING a b
DBSIZE
EXEC

WATCH a
SET a 1
MULTI
GET a
EXEC

WATCH a
SET a 1
UNWATCH
MULTI
GET a
EXEC

WATCH a b
SET c 1
MULTI
GET c
EXEC

WATCH a
MULTI
SET a 1
EXEC
MULTI
SET a 2
EXEC

WATCH a
DEL a
MULTI
PING
EXEC

SET a 1
WATCH a
DEL a
MULTI
PING
EXEC

SET a 1
WATCH a
FLUSHALL
MULTI
PING
EXEC

SADD s a
WATCH s
SREM s nosuch
MULTI
PING
EXEC

WATCH a
SET a 1
DISCARD
MULTI
DISCARD
MULTI
PING
EXEC

WATCH a
SET a 1
MULTI
DISCARD
MULTI
PING
EXEC

WATCH a
SET a 1
MULTI
NOSUCH
EXEC

WATCH a a a
WATCH a
MULTI
PING
EXEC

WATCH a
SET a 1
WATCH a
MULTI
PING
EXEC

SET a 1
MULTI
RESET
EXEC

WATCH a
SET a 1
RESET
MULTI
PING
EXEC

MULTI
LPOP nosuch 2
LPOP nosuch
HGETALL nosuch
SMEMBERS nosuch
GET nosuch
EXEC

MULTI
FLUSHALL
SET a 1
KEYS *
EXEC
"""


@pytest.mark.redis_tools
def test_as_redis(pair: Pair) -> None:
    assert pair.differing(CASES) == []


@pytest.mark.redis_tools
def test_hello_is_queued_and_what_follows_it_is_answered_in_the_new_protocol(pair: Pair) -> None:
    reads = ["HGETALL h", "GET nosuch"]
    requests = ["SET a 1", *reads, "HELLO 3", *reads, "HELLO 9", "HELLO 2", *reads]
    pair.begin()
    pair.both("HSET", "h", "f", "v")
    pair.both("MULTI")
    for words in requests:
        ours, theirs = pair.both(*words.split())
        assert ours == theirs == (b"+", b"QUEUED")
    ours, theirs = pair.both("EXEC")
    hellos = requests.index("HELLO 3") + 1, requests.index("HELLO 2") + 1
    assert len(ours) == len(theirs) == len(requests) + 1
    for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if at in hellos:
            assert one[0] == other[0]  # type: ignore[index]
        else:
            assert one == other, at
    assert pair.both("GET", "nosuch") == ((b"$", None), (b"$", None))
