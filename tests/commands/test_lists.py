"""Commands on lists answer as a real Redis does."""

import pytest

from tests.commands.beside_redis import Pair
from tests.commands.group import Group

CASES = r"""
LPUSH l a b c
RPUSH l x y
LRANGE l 0 -1
LPUSHX l z
RPUSHX l w v
LPUSHX nosuch a
RPUSHX nosuch a
LPUSH l
RPUSH
LPUSHX l
LLEN l
LLEN nosuch
LLEN
LINDEX l 0
LINDEX l -1
LINDEX l 100
LINDEX l -100
LINDEX l x
LINDEX nosuch 0
LINDEX nosuch x
LINDEX l
LRANGE l 0 0
LRANGE l -3 -1
LRANGE l 3 1
LRANGE l 100 200
LRANGE l -100 2
LRANGE l -100 100
LRANGE l -1 -3
LRANGE l -100 -50
LRANGE l 2 9223372036854775807
LRANGE l x 1
LRANGE l 1 x
LRANGE nosuch 0 -1
LRANGE nosuch x 1
LRANGE l 0
RPUSH l ""
LRANGE l -1 -1

RPUSH l a b c d e f g
LPOP l
RPOP l
LPOP l 2
RPOP l 2
LPOP l 0
RPOP l 0
LPOP l -1
RPOP l -1
LPOP l x
LPOP l 9223372036854775808
LPOP l 1 2
RPOP l 1 2
LPOP
LPOP l 100
EXISTS l
LPOP l
RPOP l
LPOP l 1
RPOP l 1
LPOP l 0
LPOP l -1
LPOP l x
RPUSH l a b
RPOP l 100
EXISTS l

SET x 1
LPUSH x a
RPUSH x a
LPUSHX x a
RPUSHX x a
LPOP x
RPOP x 1
LPOP x 0
LPOP x -1
LLEN x
LINDEX x 0
LINDEX x x
LRANGE x 0 -1
LRANGE x a b
LSET x 0 a
LSET x a a
LINSERT x BEFORE a b
LINSERT x NOSUCH a b
LREM x 0 a
LREM x a a
LTRIM x 0 1
LTRIM x a 1
LPOS x a
LPOS x a RANK 0
LMOVE x l LEFT RIGHT
LMOVE x l LEFT NOSUCH
RPOPLPUSH x l
RPUSH l a
LMOVE l x LEFT RIGHT
RPOPLPUSH l x
LMOVE nosuch x LEFT RIGHT
RPOPLPUSH nosuch x
LRANGE l 0 -1

RPUSH l a b c
LSET l 0 A
LSET l -1 C
LSET l 3 x
LSET l -4 x
LSET l x x
LSET nosuch 0 x
LSET nosuch x x
LSET l 0
LRANGE l 0 -1
LINSERT l BEFORE b 1
LINSERT l after b 2
LINSERT l BEFORE nosuch 1
LINSERT nosuch BEFORE b 1
LINSERT nosuch NOSUCH b 1
LINSERT l NOSUCH b 1
LINSERT l BEFORE b
LINSERT l AFTER C end
LINSERT l BEFORE A start
LRANGE l 0 -1

RPUSH l a b a c a d a
LREM l 1 a
LRANGE l 0 -1
LREM l -2 a
LRANGE l 0 -1
LREM l 0 nosuch
LREM l 0 a
LRANGE l 0 -1
LREM l x a
LREM nosuch 0 a
LREM nosuch x a
LREM l 0
LREM l -9223372036854775808 b
LREM l 9223372036854775807 c
LREM l 0 d
EXISTS l

RPUSH l a b c d e f
LTRIM l 1 -2
LRANGE l 0 -1
LTRIM l 0 100
LRANGE l 0 -1
LTRIM l x 1
LTRIM l 1 x
LTRIM nosuch 0 1
LTRIM nosuch x 1
LTRIM l 1
LTRIM l -2 -1
LRANGE l 0 -1
LTRIM l 5 1
EXISTS l
RPUSH l a b
LTRIM l 100 200
EXISTS l

RPUSH l a b c 1 2 3 c c
LPOS l c
LPOS l c RANK 2
LPOS l c RANK -1
LPOS l c RANK 4
LPOS l c RANK -3
LPOS l c RANK -4
LPOS l c COUNT 2
LPOS l c COUNT 0
LPOS l c COUNT 100
LPOS l c RANK -1 COUNT 2
LPOS l c RANK -2 COUNT 0
LPOS l c RANK 2 COUNT 1
LPOS l c RANK 5 COUNT 0
LPOS l nosuch
LPOS l nosuch COUNT 1
LPOS l nosuch COUNT 0
LPOS l c MAXLEN 2
LPOS l c MAXLEN 3
LPOS l c COUNT 0 MAXLEN 7
LPOS l c RANK -1 COUNT 0 MAXLEN 1
LPOS l c RANK -1 MAXLEN 1
LPOS l c RANK 2 COUNT 0 MAXLEN 7
LPOS l c MAXLEN 0
LPOS l c RANK 0
LPOS l c RANK x
LPOS l c COUNT -1
LPOS l c COUNT x
LPOS l c MAXLEN -1
LPOS l c MAXLEN x
LPOS l c RANK
LPOS l c NOSUCH 1
LPOS l c NOSUCH x
LPOS l c COUNT x RANK
LPOS l c RANK 9223372036854775807
LPOS l c RANK -9223372036854775807 COUNT 0
LPOS nosuch c
LPOS nosuch c COUNT 1
LPOS nosuch c RANK 0
LPOS l c COUNT 1 COUNT 2
LPOS l

RPUSH l a b c
LMOVE l m LEFT RIGHT
LMOVE l m right left
LRANGE m 0 -1
LMOVE l l LEFT RIGHT
LMOVE m m LEFT RIGHT
LRANGE m 0 -1
LMOVE l m LEFT RIGHT
EXISTS l
LMOVE nosuch m LEFT RIGHT
LMOVE m l UP RIGHT
LMOVE m l LEFT DOWN
LMOVE m l LEFT
RPOPLPUSH m l
RPOPLPUSH m m
RPOPLPUSH m m
RPOPLPUSH nosuch m
RPOPLPUSH m
LRANGE m 0 -1
LRANGE l 0 -1

RPUSH q a
PEXPIREAT q 4000000000000
RPOPLPUSH q q
PEXPIRETIME q
LMOVE q q LEFT RIGHT
PEXPIRETIME q
LMOVE q q LEFT LEFT
PEXPIRETIME q
LRANGE q 0 -1
RPOPLPUSH q r
PEXPIRETIME q
PEXPIRETIME r
RPOPLPUSH r q
PEXPIRETIME q
WATCH q
RPOPLPUSH q q
MULTI
EXEC

RPUSH q a b c
LMOVE q q LEFT RIGHT
LMOVE q q LEFT LEFT
LMOVE q q RIGHT RIGHT
LMOVE q q RIGHT LEFT
LRANGE q 0 -1
"""


@pytest.mark.redis_tools
def test_as_redis(pair: Pair) -> None:
    assert pair.differing(CASES) == []


def test_a_rotation_keeps_list_and_deadline_everywhere_while_another_pops_what_it_moved() -> None:
    group = Group(2)
    one, other = group.members
    one("RPUSH", "q", "a")
    one("PEXPIREAT", "q", 4_000_000_000_000)
    group.run(2_000)
    one("RPOPLPUSH", "q", "q")
    assert other("LPOP", "q") == (b"$", b"a")
    group.run(2_000)
    for member in group.members:
        assert member("LRANGE", "q", 0, -1) == (b"*", (b"$", b"a"))
        assert member("PEXPIRETIME", "q") == (b":", b"4000000000000")
