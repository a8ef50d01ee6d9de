"""Commands on deadlines answer as a real Redis does; time stands still but for what a test moves."""

from random import Random

import pytest

from tests.commands.beside_redis import Pair

FAR_S = 4_000_000_000
NUMBERS = ["100", "200", "0", "-1", "x", str(10**18), "50", "5000"]
OPTIONS: list[list[str]] = [[], [], ["NX"], ["XX"], ["NX", "XX"], ["GT", "LT"], ["WHAT"]]


def request(rng: Random) -> list[str]:
    """A random request, valid or not; its answer does not depend on what time it is."""
    key, number = rng.choice(["a", "b", "c", "l"]), rng.choice(NUMBERS)
    options = rng.choice(OPTIONS)
    at = FAR_S + rng.choice([0, 1, 2])
    return rng.choice(
        [
            ["EXPIRE", key, number, *options],
            ["PEXPIRE", key, rng.choice(["100000", "-5"]), *options],
            ["EXPIREAT", key, str(at), *rng.choice([*OPTIONS, ["GT"], ["LT"]])],
            ["PEXPIREAT", key, str(at * 1000), *rng.choice([*OPTIONS, ["GT"], ["LT"]])],
            ["EXPIREAT", key, "10"],
            ["PERSIST", key],
            ["SET", key, "1"],
            ["SET", key, "2", "EX", number],
            ["SET", key, "2", "PXAT", str(at * 1000)],
            ["SET", key, "3", "KEEPTTL"],
            ["SETEX", key, number, "v"],
            ["PSETEX", key, "100000", "v"],
            ["GETEX", key, *rng.choice([[], ["PERSIST"], ["EX", number], ["EXAT", str(at)], ["EX"], ["WHAT"]])],
            ["APPEND", key, "1"],
            ["INCR", key],
            ["GETSET", key, "5"],
            ["DEL", key],
            ["EXISTS", key],
            ["TYPE", key],
            ["LPUSH", "l", "x"],
            ["GET", key],
            ["MSET", key, "1"],
        ]
    )


@pytest.mark.redis_tools
@pytest.mark.parametrize("seed", range(3))
def test_random_requests(pair: Pair, seed: int) -> None:
    rng = Random(seed)
    pair.begin()
    for _ in range(800):
        words = request(rng)
        ours, theirs = pair.both(*words)
        assert ours == theirs, words
        ours, theirs = pair.both("EXPIRETIME", words[1])
        if theirs in ((b":", -1), (b":", -2)) or ours in ((b":", -1), (b":", -2)):
            assert ours == theirs, words


GETEX_CASES = """
SET a 1
GETEX a EXAT 4000000000 EXAT 4000000001
EXPIRETIME a
GETEX a EX x EXAT 4000000002
GETEX a EX x EX 0 EX 100
GETEX a EX 100 EX x
GETEX a EX 100 EX 0
GETEX a EX 100 PX 200
GETEX a EX 100 EX
GETEX a PERSIST EX 100
GETEX a EX 100 PERSIST
GETEX a PERSIST PERSIST
EXPIRETIME a
GETEX a WHAT WHAT
GETEX a EX EX
GETEX b EX x
GETEX b EX 100 EX 0
"""


@pytest.mark.redis_tools
def test_an_option_of_getex_may_come_again(pair: Pair) -> None:
    assert pair.differing(GETEX_CASES) == []
