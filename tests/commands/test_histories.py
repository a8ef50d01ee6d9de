"""Random requests, valid and not, are answered as by a real Redis; and the same keys are there in the end."""

import pytest
from hypothesis import given, settings

from tests.commands.beside_redis import Answer, Pair, comparable, is_rounded_by_redis
from tests.commands.streams import KEYS, Words, streams

pytestmark = pytest.mark.redis_tools


@settings(max_examples=100)
@given(stream=streams)
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_stream_of_requests(redis_port: int, protocol: int, stream: list[Words]) -> None:
    pair = Pair(redis_port, protocol)
    queued: list[Words] = []
    try:
        for words in stream:
            ours, theirs = pair.both(*words)
            if is_rounded_by_redis(ours):
                return  # they differ from here on: see `test_commands_differences.py`
            if words[0] == b"EXEC" and ours[0] == b"*" and len(ours) == len(queued) + 1:
                assert _each(queued, ours) == _each(queued, theirs)
            else:
                assert comparable(words, ours) == comparable(words, theirs)
            if words[0] in (b"EXEC", b"DISCARD", b"MULTI"):
                queued = []
            elif ours == (b"+", b"QUEUED"):
                queued.append(words)
        pair.both(b"DISCARD")
        assert dump(pair) == {}
        pair.node.replica._check()
    finally:
        pair.close()


def _each(queued: list[Words], answer: Answer) -> list[Answer]:
    return [comparable(words, part) for words, part in zip(queued, answer[1:], strict=True)]  # type: ignore[arg-type]


READS = {
    b"string": (b"GET",),
    b"list": (b"LRANGE", b"0", b"-1"),
    b"set": (b"SMEMBERS",),
    b"hash": (b"HGETALL",),
}


def dump(pair: Pair) -> dict[bytes, tuple[Answer, Answer]]:
    """The keys that differ."""
    found: dict[bytes, tuple[Answer, Answer]] = {}
    for key in KEYS:
        kind = pair.both(b"TYPE", key)
        if kind[0] == kind[1] and kind[0][1] in READS:
            name, *rest = READS[kind[0][1]]
            words = (name, key, *rest)
            kind = tuple(comparable(words, answer) for answer in pair.both(*words))  # type: ignore[assignment]
        if kind[0] != kind[1]:
            found[key] = kind
    return found
