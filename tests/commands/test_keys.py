"""Commands on keys of any type answer as a real Redis does."""

import pytest

from tests.commands.beside_redis import Pair

CASES = r"""
TYPE a
SET a 1
TYPE a
INCR n
TYPE n
SADD s x
TYPE s
HSET h f v
TYPE h
RPUSH l x
TYPE l
TYPE
TYPE a b
DBSIZE
DBSIZE x
EXISTS a n s h l nosuch a a
EXISTS
DEL a a nosuch
DEL
UNLINK n s
UNLINK
DBSIZE
EXISTS a
FLUSHALL NOSUCH
FLUSHALL SYNC SYNC
DBSIZE
FLUSHALL async
DBSIZE
SET a 1
FLUSHDB NOSUCH
FLUSHDB SYNC ASYNC
FLUSHDB SYNC
DBSIZE
RANDOMKEY
RANDOMKEY x
SET one 1
RANDOMKEY

SET hello 1
SET hallo 1
SET hxllo 1
SET hllo 1
SET heello 1
SET "h*llo" 1
SET "" 1
SET "[x]" 1
SET "a\\b" 1
KEYS h?llo
KEYS h*llo
KEYS h[ae]llo
KEYS h[^e]llo
KEYS h[a-b]llo
KEYS h[b-a]llo
KEYS "h\\*llo"
KEYS "h[\\*e]llo"
KEYS h[ae
KEYS h[
KEYS h[^
KEYS [
KEYS ""
KEYS *
KEYS **
KEYS ?
KEYS "\\"
KEYS "a\\\\b"
KEYS "\\[x\\]"
KEYS "[[]x]"
KEYS "h[a\\]e]llo"
KEYS "h[a-]llo"
KEYS "h[]e]llo"
KEYS h*o*
KEYS h***o
KEYS HELLO
KEYS
KEYS a b

SET a 1
SADD s x
HSET h f v
RPUSH l x
SCAN 0
SCAN 0 COUNT 100
SCAN 0 MATCH s*
SCAN 0 match * count 1000 type set
SCAN 0 TYPE HASH
SCAN 0 TYPE list
SCAN 0 TYPE zset
SCAN 0 TYPE nosuch
SCAN 0 COUNT 0
SCAN 0 COUNT -1
SCAN 0 COUNT x
SCAN 0 COUNT
SCAN 0 COUNT x MATCH
SCAN 0 MATCH
SCAN 0 NOSUCH 1
SCAN 0 MATCH a MATCH s COUNT 1000
SCAN x
SCAN ""
SCAN " 0"
SCAN 0x
SCAN 18446744073709551616
SCAN
"""


@pytest.mark.redis_tools
def test_as_redis(pair: Pair) -> None:
    assert pair.differing(CASES) == []
