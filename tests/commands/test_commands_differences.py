"""Where marmoset answers otherwise than Redis 7.0, on purpose: each difference with its reason.

What stands in no row here is a fault if it differs.
"""

from typing import NamedTuple

import pytest

from marmoset.commands import COMMANDS
from marmoset.resp.parser import split_inline
from tests.commands.beside_redis import Pair, RedisClient, request


class Difference(NamedTuple):
    """The last line of some requests is answered otherwise."""

    requests: str
    ours: bytes
    theirs: bytes
    reason: str


DIFFERENCES = [
    Difference(
        "SET a 5103\nINCRBYFLOAT a -0.01",
        b"5102.99",
        b"5102.99000000000000021",
        "decimals are exact, so that sums do not depend on the order in which increments arrive",
    ),
    Difference(
        "SET a 9223372036854775807\nINCRBYFLOAT a -0.25",
        b"9223372036854775806.75",
        b"9223372036854775807",
        "for the same reason: Redis adds in 64 bits",
    ),
    Difference(
        "INCRBYFLOAT a 0x10",
        b"ERR value is not a valid float",
        b"16",
        "a number is decimal digits: what the C library takes beside them is no part of the wire format",
    ),
    Difference(
        "INCRBYFLOAT a 1e400",
        b"ERR value is not a valid float",
        b"1000000000",
        "decimals have at most 340 digits before and behind the point, enough for every double",
    ),
    Difference(
        "ZADD z 0.1 d\nZSCORE z d",
        b"0.1",
        b"0.10000000000000001",
        "scores are exact decimals as well: one is shown as it was given, not as the double next to it",
    ),
    Difference(
        "ZADD z 3 d\nZINCRBY z 0.1 d",
        b"3.1",
        b"3.1000000000000001",
        "for the same reason: a sum of scores is exact",
    ),
    Difference(
        "ZADD z 1 a\nZRANGEBYSCORE z 0x1 2",
        b"ERR min or max is not a float",
        b"",
        "the limits of scores are decimal digits, as scores are: what the C library takes beside them is refused",
    ),
    Difference(
        'ZADD z 1 a\nZRANGEBYSCORE z "" 2',
        b"ERR min or max is not a float",
        b"",
        "a limit that is empty is refused, too; Redis reads it as 0",
    ),
    Difference(
        "SET a 1\nPEXPIREAT a 70368744177664",
        b"ERR invalid expire time in 'pexpireat' command",
        b"1",
        "the wire format has 46 bits for a time in milliseconds, which is up to the year 4199",
    ),
    Difference("SELECT 1", b"ERR DB index is out of range", b"OK", "there is one database"),
    Difference(
        "RPUSH l c\nLPOS l c RANK -9223372036854775808",
        b"ERR value is out of range, value must between",
        b"",
        "the least integer has no absolute value; later releases of Redis refuse it too",
    ),
    Difference(
        "CLIENT SETINFO LIB-NAME x",
        b"OK",
        b"ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.",
        "from Redis 7.2: clients send it at the start",
    ),
    Difference(
        "WATCH absent\nFLUSHALL\nMULTI\nEXEC",
        b"",
        b"",
        "a FLUSHALL touches every watched key, whether it was there or not",
    ),
    Difference(
        "RPUSH l a b\nWATCH l\nLTRIM l 0 -1\nMULTI\nEXEC",
        b"",
        b"",
        "an LTRIM that removes nothing is no operation: it does not touch a watched key",
    ),
    Difference(
        "SADD s a\nWATCH s\nSADD s a\nMULTI\nEXEC",
        b"",
        b"",
        "adding what is there adds it again, so that it survives a removal that is under way: it is a change",
    ),
    Difference(
        "MSET a 1 b 2\nRENAME a b",
        b"ERR unknown command",
        b"OK",
        "the table has the commands that are there, not all of Redis",
    ),
    Difference(
        "SHUTDOWN NOSUCH",
        b"ERR use MARMOSET LEAVE",
        b"ERR syntax error",
        "a member leaves its group, which takes agreement",
    ),
    Difference("CONFIG SET maxmemory 0", b"ERR unknown subcommand", b"OK", "settings are changed at the start"),
    Difference(
        "MULTI\nMARMOSET STATUS",
        b"QUEUED",
        b"ERR unknown command 'MARMOSET', with args beginning with: 'STATUS' ",
        "what no Redis has is in one container command",
    ),
]


@pytest.mark.redis_tools
@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.requests.splitlines()[-1])
def test_difference(pair: Pair, row: Difference) -> None:
    pair.begin()
    for line in row.requests.splitlines():
        ours, theirs = pair.both(*split_inline(line.encode()))
    assert ours != theirs
    if row.ours:
        assert isinstance(ours[1], bytes) and ours[1].startswith(row.ours)
    if row.theirs:
        assert isinstance(theirs[1], bytes) and theirs[1].startswith(row.theirs)


@pytest.mark.redis_tools
def test_hello_says_more(pair: Pair) -> None:
    """Clients decide by `version` what they may send; what we are stands beside it."""
    ours, theirs = (dict(zip(a[1::2], a[2::2], strict=True)) for a in pair.both("HELLO", pair.protocol))
    assert ours.pop((b"$", b"marmoset_version"))
    assert ours.keys() == theirs.keys()
    for name in (b"server", b"proto", b"mode", b"role", b"modules"):
        assert ours[b"$", name] == theirs[b"$", name]


@pytest.mark.redis_tools
def test_a_small_set_is_scanned_in_one_step(pair: Pair) -> None:
    """Redis goes by COUNT; here a collection of up to 1,024 is given at once, which SCAN's promise allows."""
    pair.both("SADD", "s", *range(1000))
    for command in ("SSCAN", "HSCAN"):
        pair.both("HSET", "h", *range(1000))
        answer = pair.ours(command, command[0].lower(), 0, "COUNT", 10)
        assert answer[1] == (b"$", b"0") and len(answer[2]) == 1001  # type: ignore[arg-type]


FLAGS = {"write", "readonly", "denyoom", "fast", "movablekeys"}
ARITY = {"command|getkeys": "refuses a call without arguments before it looks at the command"}
NOT_IN_REDIS_7_0 = {"client|setinfo", "client|no-touch"}


@pytest.mark.redis_tools
def test_the_table_has_the_arity_flags_and_keys_of_redis(redis_port: int) -> None:
    """Tips and key specifications are left empty, `since` is not kept, and only the flags that matter here are."""
    redis = RedisClient(redis_port)
    rows = [row for command in COMMANDS.values() for row in (command, *command.subcommands.values())]
    rows = [row for row in rows if not row.full_name.startswith("marmoset") and row.full_name not in NOT_IN_REDIS_7_0]
    ((_, *answers),) = redis.send(request("COMMAND", "INFO", *(row.full_name for row in rows)), 1)
    redis.close()
    differing = []
    for row, answer in zip(rows, answers, strict=True):
        assert isinstance(answer, tuple)
        _, _, arity, flags, *keys = answer[:7]
        ours = (row.arity, {*row.flags.split()} & FLAGS, row.keys)
        theirs = (int(arity[1]), {flag[1].decode() for flag in flags[1:]} & FLAGS, tuple(int(key[1]) for key in keys))
        if ours != theirs and row.full_name not in ARITY:
            differing.append((row.full_name, ours, theirs))
    assert differing == []
