"""Commands on sorted sets answer as a real Redis does."""

from random import Random
from typing import cast

import pytest

from tests.commands.beside_redis import Answer, Pair

pytestmark = pytest.mark.redis_tools

MEMBERS = list("abcdefgh")
SCORES = ["1", "2", "3.5", "-2", "0.25", "inf", "-inf", "1e2", "nan", "x", "0"]
LIMITS = ["1", "(1", "-inf", "+inf", "2", "(3.5", "x", "0", "("]
ADD_OPTIONS = ["NX", "XX", "GT", "LT", "CH", "INCR"]


def request(rng: Random) -> list[str]:
    """A random request, valid or not."""
    key, member, score = rng.choice(["z", "y", "text"]), rng.choice(MEMBERS), rng.choice(SCORES)
    low, high = rng.choice(LIMITS), rng.choice(LIMITS)
    start, stop = str(rng.randint(-9, 9)), str(rng.randint(-9, 9))
    more = [rng.choice(SCORES), rng.choice(MEMBERS)] if rng.random() < 0.4 else []
    window = rng.choice([[], ["REV"], ["LIMIT", start, stop], ["WITHSCORES"], ["LIMIT", "0"]])
    return rng.choice(
        [
            ["ZADD", key, *rng.sample(ADD_OPTIONS, rng.choice([0, 0, 0, 1, 2])), score, member, *more],
            ["ZINCRBY", key, score, member],
            ["ZREM", key, member, rng.choice(MEMBERS)],
            ["ZSCORE", key, member],
            ["ZMSCORE", key, member, rng.choice(MEMBERS)],
            ["ZCARD", key],
            ["ZRANK", key, member],
            ["ZREVRANK", key, member],
            ["ZRANGE", key, start, stop, *rng.choice([[], ["WITHSCORES"], ["REV"], ["REV", "WITHSCORES"], ["WHAT"]])],
            ["ZRANGE", key, low, high, "BYSCORE", *window],
            ["ZRANGEBYSCORE", key, low, high, *rng.choice([[], ["WITHSCORES"], ["LIMIT", "1", "2"]])],
            ["ZREVRANGEBYSCORE", key, high, low, *rng.choice([[], ["WITHSCORES"], ["LIMIT", "0", "1"]])],
            ["ZREVRANGE", key, start, stop],
            ["ZCOUNT", key, low, high],
            ["ZPOPMIN", key, *rng.choice([[], ["2"], ["-1"], ["x"], ["0"]])],
            ["ZPOPMAX", key, *rng.choice([[], ["2"], ["9"]])],
            ["TYPE", key],
            ["DEL", key] if rng.random() < 0.1 else ["EXISTS", key],
            ["SET", "text", "v"],
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_random_requests(pair: Pair, seed: int) -> None:
    rng = Random(seed)
    pair.begin()
    for _ in range(800):
        words = request(rng)
        ours, theirs = pair.both(*words)
        assert ours == theirs, words


@pytest.mark.parametrize(
    "line",
    [
        "ZADD",
        "ZADD z",
        "ZADD z 1",
        "ZADD z 1 a 2",
        "ZADD z NX XX 1 a",
        "ZADD z GT NX 1 a",
        "ZADD z INCR 1 a 2 b",
        "ZINCRBY z 1",
        "ZRANGE z 0",
        "ZRANGE z 0 1 LIMIT 0 1",
        "ZRANGE z a b",
        "ZCOUNT z 1",
        "ZPOPMIN z 1 2",
        "ZRANK z",
        "ZREVRANGE z 0 1 LIMIT 0 1",
        "ZREVRANGE z x 1 LIMIT 0 1",
        "ZREVRANGE text 0 1 LIMIT 0 0",
        "ZREVRANGE z 0 1 LIMIT 0 -2",
        "ZREVRANGE z 0 1 LIMIT x 1",
        "ZREVRANGE z 0 1 LIMIT 0",
        "ZRANGE z 0 1 BYSCORE BYSCORE",
        "ZRANGE z x 1 BYSCORE BYSCORE",
        "ZRANGE z 0 1 REV REV",
        "ZADD z XX NX INCR 1 a",
        "ZADD z INCR -inf inf",
        "ZADD z XX INCR -inf inf",
        "ZADD z GT INCR -inf inf",
    ],
)
def test_what_is_refused(pair: Pair, line: str) -> None:
    pair.begin()
    pair.both("ZADD", "z", "inf", "inf", "1", "a")
    pair.both("SET", "text", "v")
    ours, theirs = pair.both(*line.split())
    assert ours == theirs and theirs[0] == b"-"


@pytest.mark.parametrize(
    "line",
    [
        "ZREVRANGE z 0 1 LIMIT 1 -1",
        "ZREVRANGE z 0 1 WITHSCORES LIMIT 0 -1",
        "ZRANGE z 0 1 LIMIT 1 -1",
        "ZRANGE z 0 1 WITHSCORES WITHSCORES",
        "ZRANGE z 0 1 BYSCORE LIMIT 0 0 LIMIT 0 1",
        "ZADD z NX INCR -inf inf",
        "ZADD z NX CH INCR -inf inf",
        "ZADD z XX INCR -inf absent",
    ],
)
def test_what_is_unusual(pair: Pair, line: str) -> None:
    pair.begin()
    pair.both("ZADD", "z", "inf", "inf", "1", "a")
    ours, theirs = pair.both(*line.split())
    assert ours == theirs and theirs[0] != b"-"


def test_scan_gives_every_member_once(pair: Pair) -> None:
    pair.begin()
    for number in range(3000):
        pair.both("ZADD", "z", str(number), f"m{number}")
    cursor = b"0"
    found: list[object] = []
    while True:
        answer, _ = pair.both("ZSCAN", "z", cursor, "COUNT", "100")
        next_cursor, members = cast("tuple[Answer, Answer]", answer[1:])
        cursor = cast("bytes", next_cursor[1])
        found += [cast("Answer", name)[1] for name in members[1::2]]
        if cursor == b"0":
            break
    assert len(found) == len(set(found)) == 3000
