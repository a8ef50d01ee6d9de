"""Commands on sets answer as a real Redis does."""

import pytest

from marmoset.crdts.split import SplitSet
from marmoset.session import Clients, Session
from tests.commands.beside_redis import Pair, new_node, request

CASES = r"""
SADD s a b c a
SADD s a
SADD s d ""
SADD s
SADD
SCARD s
SCARD nosuch
SCARD
SMEMBERS s
SMEMBERS nosuch
SISMEMBER s a
SISMEMBER s z
SISMEMBER nosuch a
SISMEMBER s
SMISMEMBER s a z b
SMISMEMBER nosuch a b
SMISMEMBER s
SREM s a a z
SREM nosuch a
SREM s
SREM s b c d ""
EXISTS s
SET t 1
SADD t a
SREM t a
SCARD t
SMEMBERS t
SISMEMBER t a
SMISMEMBER t a

SADD s a b c
SMOVE s t a
SMOVE s t z
SMOVE nosuch t a
SMOVE s s b
SMOVE s s z
SMEMBERS s
SMEMBERS t
SET x 1
SMOVE s x b
SMOVE x s b
SMOVE nosuch x b
SMOVE s x nosuch
SMOVE x nosuch b
SMOVE s t
SADD t b
SMOVE s t b
SMOVE s t c
EXISTS s
SMEMBERS t

SPOP nosuch
SPOP nosuch 0
SPOP nosuch 5
SPOP nosuch -1
SPOP nosuch x
SADD s a
SPOP s
EXISTS s
SADD s a b c
SPOP s 0
SPOP s -1
SPOP s x
SPOP s 9223372036854775808
SPOP s 10
EXISTS s
SADD s a
SPOP s 1 2
SPOP
SET x 1
SPOP x
SPOP x 1
SPOP x 0
SPOP x -1

SRANDMEMBER nosuch
SRANDMEMBER nosuch 0
SRANDMEMBER nosuch 5
SRANDMEMBER nosuch -5
SRANDMEMBER nosuch x
SADD s a
SRANDMEMBER s
SRANDMEMBER s 0
SRANDMEMBER s 1
SRANDMEMBER s -3
SRANDMEMBER s 5
SADD s b c
SRANDMEMBER s 5
SRANDMEMBER s x
SRANDMEMBER s ""
SRANDMEMBER s 9223372036854775807
SRANDMEMBER s 9223372036854775808
SRANDMEMBER s -9223372036854775808
SRANDMEMBER s 1 2
SRANDMEMBER
SET x 1
SRANDMEMBER x
SRANDMEMBER x 0
SRANDMEMBER x 1
SRANDMEMBER x -1
SRANDMEMBER x x

SADD s a b c
SADD t b c d
SADD u c
SUNION s t u
SUNION s nosuch
SUNION nosuch
SUNION
SINTER s t u
SINTER s nosuch
SINTER nosuch
SINTER s s
SINTER
SDIFF s t u
SDIFF s nosuch t
SDIFF nosuch s
SDIFF s s
SDIFF
SET x 1
SUNION s x
SUNION x
SUNION nosuch x
SINTER s x
SINTER nosuch x
SINTER x nosuch
SDIFF s x
SDIFF nosuch x
SDIFF x
SUNIONSTORE d s t
SMEMBERS d
SINTERSTORE d s t
SMEMBERS d
SDIFFSTORE d s t
SMEMBERS d
SUNIONSTORE d s x
SMEMBERS d
SINTERSTORE d nosuch x
SDIFFSTORE d nosuch x
SMEMBERS d
SDIFFSTORE d s s
EXISTS d
SINTERSTORE x s nosuch
EXISTS x
SUNIONSTORE s s t
SMEMBERS s
RPUSH l 1
SUNIONSTORE l s
TYPE l
SUNIONSTORE nosuch nosuch
SUNIONSTORE d
SINTERSTORE d
SDIFFSTORE

SADD s a b c
SADD t b c d
SINTERCARD 2 s t
SINTERCARD 1 s
SINTERCARD 2 s t LIMIT 1
SINTERCARD 2 s t LIMIT 0
SINTERCARD 2 s t limit 10
SINTERCARD 2 s t LIMIT -1
SINTERCARD 2 s t LIMIT x
SINTERCARD 2 s t LIMIT
SINTERCARD 2 s t NOSUCH 1
SINTERCARD 2 s t LIMIT 1 LIMIT 2
SINTERCARD 0 s
SINTERCARD -1 s
SINTERCARD x s
SINTERCARD 3 s t
SINTERCARD 1 s t
SINTERCARD 2 s nosuch
SET x 1
SINTERCARD 2 s x
SINTERCARD 2 nosuch x
SINTERCARD 1
SINTERCARD

SADD s a b c
SSCAN s 0
SSCAN s 0 COUNT 100
SSCAN s 0 MATCH [ab]
SSCAN s 0 match a count 100
SSCAN s 0 COUNT 0
SSCAN s 0 COUNT x
SSCAN s 0 TYPE set
SSCAN s 0 NOSUCH
SSCAN s x
SSCAN s ""
SSCAN nosuch 0
SSCAN nosuch 0 NOSUCH
SSCAN nosuch x
SSCAN s
SET x 1
SSCAN x 0
SSCAN x 0 NOSUCH
SSCAN x x
SADD n 1 2 3
SSCAN n 0 MATCH [12] COUNT 2
"""


@pytest.mark.redis_tools
def test_as_redis(pair: Pair) -> None:
    assert pair.differing(CASES) == []


@pytest.mark.interpreted
def test_an_intersection_is_counted_up_to_the_limit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(new_node(), Clients(), 1, "10.0.0.1:1")
    for key in ("s", "t"):
        session.receive(request("SADD", key, *range(5000)))
    looked_at = 0
    contains = SplitSet.__contains__

    def counting(value: SplitSet, element: object) -> bool:
        nonlocal looked_at
        looked_at += 1
        return contains(value, element)

    session.receive(request("SSCAN", "s", 0) + request("SSCAN", "t", 0))
    monkeypatch.setattr(SplitSet, "__contains__", counting)
    assert session.receive(request("SINTERCARD", 2, "s", "t", "LIMIT", 10)) == b":10\r\n"
    assert looked_at == 10
    assert session.receive(request("SINTERCARD", 2, "s", "t")) == b":5000\r\n"
