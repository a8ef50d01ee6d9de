"""A write that an unexpected exception breaks off in the middle ends a member: what it has is not what it tells."""

from collections.abc import Callable

import pytest

from marmoset.codec.operations import Resubmit, SequenceInsert, SetAdd
from marmoset.codec.runs import BatchWriter
from marmoset.commands.table import Command
from marmoset.errors import InternalError
from marmoset.keyspace import Keyspace
from marmoset.node import Exit, Node, Notify
from marmoset.replication.rehabilitation import Exile
from marmoset.replication.report import CHANGED, Row
from tests.commands.beside_redis import answers, request
from tests.commands.group import Group, Member
from tests.replication.group import first_of_all

Words = tuple[str | int, ...]

WRITES: tuple[Words, ...] = (
    ("SET", "k", "v"),
    ("INCR", "n"),
    ("APPEND", "k", "v"),
    ("SADD", "s", "x"),
    ("HSET", "h", "f", "v"),
    ("ZADD", "z", 1, "x"),
    ("ZADD", "z", 2, "x"),
    ("RPUSH", "l", "x"),
    ("LPUSH", "l", "x", "y"),
    ("LSET", "l", 0, "x"),
    ("DEL", "k"),
    ("EXPIRE", "k", 100),
    ("FLUSHALL",),
)
BEFORE: tuple[Words, ...] = (
    ("SET", "k", "v"),
    ("SADD", "s", "y"),
    ("HSET", "h", "g", "v"),
    ("ZADD", "z", 1, "x"),
    ("RPUSH", "l", "x"),
)


def no_memory(*_: object, **_more: object) -> None:
    raise MemoryError


def prepared(size: int) -> Member:
    member = Group(size).members[0]
    for words in BEFORE:
        assert member(*words)[0] != b"-"
    member.group.settle()
    return member


def broken_off(name: str | int) -> tuple[bytes, bytes]:
    what = f"ERR internal error in '{str(name).lower()}'"
    return b"-", f"{what}; a write was broken off, and this node ends: restart it, others fill it".encode()


def ends_with_its_turn(node: Node) -> bool:
    node.effects.clear()
    node.end_turn()
    return any(isinstance(effect, Exit) and "broken off" in effect.why for effect in node.effects)


@pytest.mark.parametrize("write", WRITES, ids=lambda words: "-".join(map(str, words)))
def test_a_write_that_is_broken_off_ends_the_node_with_its_turn(write: Words) -> None:
    member = prepared(2)
    replica = member.node.replica
    replica.listener = no_memory
    assert member(*write) == broken_off(write[0])
    replica.listener = None
    for words in WRITES:
        assert member(*words)[0] != b"-", "it ends with the turn"
    for words in WRITES[:-1]:  # those that say the same run as one
        assert all(answer[0] != b"-" for answer in answers(member.session.receive(request(*words) * 4)))
    assert ends_with_its_turn(member.node) and replica.unsound
    assert member("SET", "k", "v")[0] == b"-"


@pytest.mark.parametrize("write", WRITES, ids=lambda words: "-".join(map(str, words)))
def test_a_node_that_is_alone_goes_on_with_the_data_that_nobody_else_has(write: Words) -> None:
    member = prepared(1)
    replica = member.node.replica
    replica.listener = no_memory
    kind, text = member(*write)
    assert kind == b"-" and isinstance(text, bytes) and text.endswith(b"the connection goes on")
    replica.listener = None
    assert not replica.is_changing and not ends_with_its_turn(member.node)
    for words in (*WRITES[:-1], ("GET", "n")):
        assert member(*words)[0] != b"-"
    member.node.replica._check()


def test_a_node_that_is_alone_goes_on_when_a_write_of_its_own_is_broken_off() -> None:
    member = prepared(1)
    member("PEXPIRE", "k", 1000)
    member.node.replica.listener = no_memory
    with pytest.raises(MemoryError):
        member.group.run(20_000)
    member.node.replica.listener = None
    assert not member.node.replica.is_changing and not ends_with_its_turn(member.node)


def test_what_a_program_broke_off_is_not_forgotten_over_an_error_of_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    member = prepared(1)
    member.node.replica.is_changing = True  # as the Python face has it
    row = Command("fail", no_memory, 1, "readonly", (0, 0, 0), "server", "Fails.", "O(1)")
    monkeypatch.setattr(member.session, "_lookup", {b"FAIL": row, **member.session._lookup})
    assert member("FAIL") == broken_off("fail")
    assert member("SADD", "s", "x")[0] == b":" and member("APPEND", "k", "v")[0] == b":"
    member.node.replica.listener = no_memory
    for words in (("SADD", "s", "z"), ("APPEND", "k", "v")):
        assert member(*words) == broken_off(words[0])
    assert ends_with_its_turn(member.node)


def test_what_was_still_to_be_reported_ends_with_the_node_and_is_told() -> None:
    member = prepared(2)
    exile = Exile(first_of_all(7), 7, 0)
    member.node.rehabilitating.report.put(Row((7, 1), SetAdd(b"lost", [b"z"]), 1, CHANGED, "a", exile))
    member.node.replica.listener = no_memory
    member("SET", "k", "v")
    assert ends_with_its_turn(member.node)
    told = [effect for effect in member.node.effects if isinstance(effect, Notify) and effect.event == "not submitted"]
    assert [effect.fields["key"] for effect in told] == ["lost"]


def test_what_was_refused_before_anything_was_changed_ends_nothing() -> None:
    member = prepared(2)
    replica = member.node.replica
    nowhere = (replica.me, 999_999)
    with pytest.raises(InternalError) as refused:
        replica.submit(SequenceInsert(b"l", nowhere, None, [b"v"]))
    assert not refused.value.changed and not replica.is_changing
    assert not ends_with_its_turn(member.node)


@pytest.mark.interpreted
def test_what_was_refused_when_something_was_changed_ends_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise InternalError("too late")

    member = prepared(2)
    with monkeypatch.context() as patched:
        patched.setattr(Keyspace, "effect", refuse)
        assert member("APPEND", "k", "v") == broken_off("append")
    assert ends_with_its_turn(member.node)


@pytest.mark.interpreted
def test_a_claim_that_is_broken_off_ends_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    member = prepared(2)
    with monkeypatch.context() as patched:
        patched.setattr(BatchWriter, "add", no_memory)
        with pytest.raises(MemoryError):
            member.node.replica.claim(Resubmit(12345, [(1, 1)]))
    assert ends_with_its_turn(member.node)


@pytest.mark.parametrize("words", [("INCR", "k"), ("SADD", "k", "x"), ("SET", "k"), ("LSET", "l", 9, "x"), ("NOSUCH",)])
def test_an_error_of_a_command_does_not(words: Words) -> None:
    member = prepared(2)
    assert member(*words)[0] == b"-"
    assert not member.node.replica.is_changing and not ends_with_its_turn(member.node)


def failing_at(call: int, function: Callable[..., object]) -> Callable[..., object]:
    calls = 0

    def counted(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            raise MemoryError
        return function(*args)

    return counted


@pytest.mark.interpreted
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize(
    ("write", "name"),
    [
        (("SET", "k", "v"), "extend"),
        (("INCR", "n"), "extend"),
        (("SADD", "s", "x"), "extend"),
        (("HSET", "h", "f", "v"), "extend"),
        (("ZADD", "z", 2, "x"), "extend"),
        (("LPUSH", "l", "x"), "extend_pushes"),
        (("RPUSH", "l", "x", "y"), "add"),
        (("APPEND", "k", "v"), "add"),
    ],
    ids=lambda words: "-".join(map(str, words)) if isinstance(words, tuple) else None,
)
def test_so_does_one_that_fails_where_it_is_put_down(
    write: Words, name: str, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, or among several that are run as one."""
    member = prepared(2)
    with monkeypatch.context() as patched:
        patched.setattr(BatchWriter, name, failing_at(call, getattr(BatchWriter, name)))
        found = answers(member.session.receive(request(*write) * 5))
    assert broken_off(write[0]) in found
    assert ends_with_its_turn(member.node)
