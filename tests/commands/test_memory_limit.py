"""Commands past `maxmemory`: which are refused, in whose words, and that what is refused changes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.commands import COMMANDS
from marmoset.commands.server import size_in_words
from marmoset.resp.errors import OUT_OF_MEMORY
from marmoset.session import Clients, Session
from tests.commands.beside_redis import Answer, Pair, answers, new_node, request

REFUSED = (b"-", OUT_OF_MEMORY.encode())
WRITES = sorted(
    {row.name.decode() if isinstance(row.name, bytes) else row.name for row in COMMANDS.values() if row.is_write}
)


def full_session() -> Session:
    """Some keys of every type, and no room for more."""
    session = Session(new_node(maxmemory=100), Clients(), 1, "127.0.0.1:5000")
    for words in (
        ("SET", "s", "1"),
        ("RPUSH", "l", "a", "b", "c"),
        ("SADD", "u", "a", "b", "c"),
        ("HSET", "h", "f", "1", "g", "2"),
        ("ZADD", "z", "1", "a", "2", "b"),
    ):
        assert ask(session, *words)[0] != b"-"
    node = session.database.node
    node.end_turn()
    for _ in range(2):
        node.memory_limit.handle_interval()
    assert node.memory_limit.is_full
    return session


def ask(session: Session, *words: str | bytes | int) -> Answer:
    (answer,) = answers(session.receive(request(*words)))
    return answer


CASES = r"""
SET k v

SET s v EX 100

SETEX k 10 v

SETNX k v

GETSET s v

MSET a 1 b 2

APPEND s x

INCR s

DECRBY s 2

INCRBYFLOAT s 0.5

HSET h f v

HSETNX h n v

HINCRBY h f 1

LPUSH l a

RPUSHX l a

LSET l 0 a

LINSERT l BEFORE a b

RPOPLPUSH l m

LMOVE l m LEFT RIGHT

SADD u a

SUNIONSTORE v u

ZADD z 1 a

ZINCRBY z 1 a

GET s

GETDEL s

DEL s

UNLINK l

EXPIRE s 100

PERSIST s

HDEL h f

LPOP l

LREM l 0 a

LTRIM l 0 0

SREM u a

SPOP v

SMOVE u v a

ZREM z a

ZPOPMIN z

FLUSHALL

MULTI
SET a 1
EXEC

MULTI
SET a 1
DISCARD
"""


def test_the_same_commands_are_refused_as_by_redis(pair: Pair) -> None:
    """Beside a Redis whose maxmemory is below what an empty one takes."""
    differing: list[str] = []
    limit = pair.node.memory_limit
    try:
        for case in CASES.strip().split("\n\n"):
            pair.begin()
            limit.is_full = False
            for words in (
                ("SET", "s", "1"),
                ("RPUSH", "l", "a", "b", "c"),
                ("SADD", "u", "a"),
                ("HSET", "h", "f", "1"),
                ("ZADD", "z", "1", "a"),
            ):
                pair.both(*words)
            pair.theirs("CONFIG", "SET", "maxmemory", "1")
            limit.is_full = True
            for line in case.splitlines():
                ours, theirs = pair.both(*line.split())
                if ours != theirs:
                    differing.append(f"{line}\n     ours {ours}\n    Redis {theirs}")
            pair.theirs("CONFIG", "SET", "maxmemory", "0")
    finally:
        pair.theirs("CONFIG", "SET", "maxmemory", "0")
    assert differing == []


WORDS = st.sampled_from(["s", "l", "u", "h", "z", "n", "a", "b", "f", "1", "0", "2", "-1", "LEFT", "RIGHT", "BEFORE"])


@given(st.sampled_from(WRITES), st.lists(WORDS, min_size=1, max_size=5))
def test_what_is_refused_changes_nothing_and_what_is_not_only_takes_away(name: str, words: list[str]) -> None:
    session = full_session()
    database = session.database
    seq, keys = database.replica.next_seq, dict(snapshot(session))
    used = database.keyspace.usage.total()
    answer = ask(session, name, *words)
    if answer == REFUSED:
        assert database.replica.next_seq == seq and dict(snapshot(session)) == keys
    else:
        database.node.end_turn()
        for _ in range(2):
            while not database.keyspace.usage.measure(1000):
                pass
        assert database.keyspace.usage.total() <= used + 400, "but for an entry in another table"


def snapshot(session: Session) -> list[tuple[bytes, object]]:
    keyspace = session.database.keyspace
    found: list[tuple[bytes, object]] = []
    for key in list(keyspace.keys()):
        value = keyspace.get(key)
        found.append((key, value if isinstance(value, (bytes, int)) else sorted(value)))  # type: ignore[arg-type]
    return found


def test_a_transaction_that_was_queued_before_is_refused_whole() -> None:
    session = full_session()
    node = session.database.node
    node.memory_limit.is_full = False
    ask(session, "MULTI")
    assert ask(session, "DEL", "s") == ask(session, "SET", "s", "2") == (b"+", b"QUEUED")
    node.memory_limit.is_full = True
    assert ask(session, "EXEC") == (
        b"-",
        b"EXECABORT Transaction discarded because of: " + OUT_OF_MEMORY.encode(),
    )
    assert ask(session, "GET", "s") == (b"$", b"1")


def test_a_transaction_that_only_takes_away_runs() -> None:
    """Redis refuses to queue anything then, since its queues have no bounds; ours have."""
    session = full_session()
    ask(session, "MULTI")
    ask(session, "DEL", "s")
    assert ask(session, "EXEC") == (b"*", (b":", b"1"))


def test_there_is_room_again_when_enough_was_deleted() -> None:
    session = full_session()
    assert ask(session, "SET", "k", "v") == REFUSED
    assert ask(session, "DEL", "s", "l", "u", "h", "z") == (b":", b"5")
    session.database.node.end_turn()
    assert ask(session, "SET", "k", "v") == (b"+", b"OK")


def info(session: Session, section: str) -> dict[str, str]:
    (_, text) = ask(session, "INFO", section)
    assert isinstance(text, bytes)
    return dict(line.split(":", 1) for line in text.decode().split("\r\n") if ":" in line)


def test_info_has_the_fields_of_redis() -> None:
    session = full_session()
    memory = info(session, "memory")
    assert memory["maxmemory"] == "100" and memory["maxmemory_human"] == "100B"
    assert memory["maxmemory_policy"] == "noeviction"
    assert 1000 < int(memory["used_memory"]) == int(memory["used_memory_dataset"]) < 5000
    assert memory["used_memory_human"].endswith("K")
    assert memory["mem_not_counted_for_evict"] == "0"
    assert info(session, "stats")["evicted_keys"] == "0"


def test_the_settings_can_be_asked_for_as_redis_spells_them() -> None:
    session = Session(new_node(maxmemory=1 << 30, maxmemory_policy="evict-replicated"), Clients(), 1, "127.0.0.1:5000")
    assert ask(session, "CONFIG", "GET", "maxmemory") == (b"*", (b"$", b"maxmemory"), (b"$", b"1073741824"))
    answer = ask(session, "CONFIG", "GET", "maxmemory-policy")
    assert answer == (b"*", (b"$", b"maxmemory-policy"), (b"$", b"evict-replicated"))


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1_572_864, "1.50M"), (1 << 31, "2.00G"), (1 << 41, "2.00T")],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert size_in_words(size) == words
