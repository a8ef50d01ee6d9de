"""MEMORY beside a real Redis: what it takes, what it refuses, and answers of the same shape."""

from tests.commands.beside_redis import Pair

CASES = r"""
MEMORY
MEMORY NOSUCH
MEMORY USAGE
MEMORY USAGE nosuch
MEMORY USAGE nosuch SAMPLES 5
SET a 1
MEMORY USAGE a SAMPLES
MEMORY USAGE a SAMPLES x
MEMORY USAGE a SAMPLES -1
MEMORY USAGE a NOSUCH 5
MEMORY USAGE a SAMPLES 5 6
"""


def test_memory_answers_as_redis(pair: Pair) -> None:
    assert pair.differing(CASES) == []


def bytes_of(pair: Pair, *words: str | int) -> int:
    answer = pair.ours("MEMORY", "USAGE", *words)
    kind, number = answer
    assert kind == b":" and isinstance(number, bytes)
    return int(number)


def test_what_keys_take_grows_with_what_they_hold(pair: Pair) -> None:
    for name, add in (("s", "SADD"), ("l", "RPUSH")):
        pair.both(add, name, *range(100))
        few = bytes_of(pair, name)
        pair.both(add, name, *range(1000, 3000))
        whole, sampled = bytes_of(pair, name, "SAMPLES", 0), bytes_of(pair, name)
        assert 3 * few < whole and 0.8 < sampled / whole < 1.2
