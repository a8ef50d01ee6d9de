"""Requests that say the same and come in one pipeline are run as one: with the outcome of running each by itself."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.codec.operations import AnyOperation
from marmoset.commands import COMMANDS
from marmoset.commands.table import Several, SeveralHandler
from marmoset.crdts.sequence_chain import PIECE_MAX
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.errors import InternalError
from marmoset.hashing import shard_of
from marmoset.ids import Dot
from marmoset.node import Node
from marmoset.resp.replies import Reply
from marmoset.session import SEVERAL_MAX, Clients, Session
from tests.commands.beside_redis import Answer, answers, new_node, request
from tests.commands.group import Group

Words = tuple[bytes, ...]
SPLIT_ABOVE = 16
KEYS = {"SADD": b"e", "SISMEMBER": b"e", "HSET": b"h", "HGET": b"h", "LPUSH": b"l", "RPUSH": b"l"}
BETWEEN = ("DEL", "EXPIRE 100", "PEXPIRE 0", "TYPE", "MULTI", "EXEC", "WATCH", "NOSUCH", "LPOP", "SET x", "LPUSH v w")

numbers = st.integers(0, 40).map(lambda number: b"%d" % number)


def request_of(name: str, key: bytes, first: bytes, second: bytes) -> Words:
    words = (name.encode(), key, first, second)
    return words if name == "HSET" else words[:3]


def alike(name: str) -> st.SearchStrategy[list[Words]]:
    """Requests of which nearly all say the same."""
    keys = st.sampled_from([KEYS[name]] * 30 + list(KEYS.values()))
    return st.lists(st.builds(request_of, st.just(name), keys, numbers, numbers), min_size=1, max_size=12)


def between(text: str, key: bytes) -> list[Words]:
    name, *rest = text.encode().split()
    return [(name, *rest) if name in (b"MULTI", b"EXEC") else (name, key, *rest)]


others = st.builds(between, st.sampled_from(BETWEEN), st.sampled_from(list(KEYS.values())))
pipelines = st.lists(st.one_of(*map(alike, KEYS), *map(alike, KEYS), others), min_size=1, max_size=3).map(
    lambda parts: [words for part in parts for words in part]
)


def encoded(requests: list[Words]) -> bytes:
    return b"".join(request(*words) for words in requests)


def outcome(node: Node, session: Session) -> object:
    """All that may depend on how requests were run."""
    replica, seen = node.replica, []
    for key in sorted(set(KEYS.values())):
        value = replica.keyspace.get(key)
        seen.append(
            (key, type(value), sorted(value.items()) if isinstance(value, (dict, SplitMap)) else _listed(value))
        )
    last = session.last_command and session.last_command.name
    return seen, replica.next_seq, replica.open_batch.rows, session.last_write, session.commands, last, session.queue


def _listed(value: object) -> object:
    if isinstance(value, (set, SplitSet)):
        return sorted(value)
    return value if value is None or isinstance(value, (bytes, int)) else list(value)  # type: ignore[call-overload]


class Alone:
    """A group of one with a client. Somebody may listen."""

    def __init__(self, *, is_heard: bool = False, split_above: int = SPLIT_ABOVE) -> None:
        self.node = new_node(split_above=split_above)
        self.session = Session(self.node, Clients(), 1, "127.0.0.1:5000")
        self.told: list[tuple[AnyOperation, Dot, int]] = []
        if is_heard:
            self.node.replica.listener = lambda *heard: self.told.append(heard)

    def several(self, requests: list[Words]) -> list[Answer]:
        return answers(self.session.receive(encoded(requests)))

    def singly(self, requests: list[Words]) -> list[Answer]:
        return [answer for words in requests for answer in answers(self.session.receive(request(*words)))]


@settings(max_examples=150, deadline=None)
@given(st.lists(pipelines, max_size=8), st.booleans())
def test_a_pipeline_does_what_its_requests_do_singly(stream: list[list[Words]], is_heard: bool) -> None:
    one, other = Alone(is_heard=is_heard), Alone(is_heard=is_heard)
    for requests in stream:
        assert one.several(requests) == other.singly(requests)
        assert outcome(one.node, one.session) == outcome(other.node, other.session)
    for each in (one, other):
        each.node.end_turn()
    assert one.told == other.told
    one.node.replica._check()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(pipelines, st.integers(0, 5)), max_size=10), st.booleans())
def test_a_pipeline_tells_the_others_what_its_requests_tell(
    stream: list[tuple[list[Words], int]], is_heard: bool
) -> None:
    groups, told = (Group(2), Group(2)), (list[object](), list[object]())
    for group, heard in zip(groups, told, strict=True):
        if is_heard:
            group.members[0].node.replica.listener = lambda *what, heard=heard: heard.append(what)
    for requests, what in stream:
        for group, is_one in zip(groups, (True, False), strict=True):
            session = group.members[what == 5].session  # the other one writes now and then: then there is no chain
            for data in [encoded(requests)] if is_one else [request(*words) for words in requests]:
                session.receive(data)
        for one, other in zip(*(group.members for group in groups), strict=True):
            assert outcome(one.node, one.session) == outcome(other.node, other.session)
        assert told[0] == told[1]
        if what:
            for group in groups:
                group.settle()
    for group in groups:
        group.settle()
    shown = [outcome(member.node, member.session)[0] for group in groups for member in group.members]  # type: ignore[index]
    assert shown == shown[:1] * 4
    for member in groups[0].members:
        member.node.replica._check()


@pytest.mark.parametrize("count_max", [1, 2, 7, 70])
def test_batches_end_where_they_would_have_ended(count_max: int) -> None:
    logs = []
    for is_one in (True, False):
        group = Group(2)
        first, _ = group.members
        first("SADD", "e", "first")
        group.settle()
        first.node.replica.batch_operations_max = count_max
        requests: list[Words] = [(b"SADD", b"e", b"%d" % at) for at in range(200)]
        for data in [encoded(requests)] if is_one else [request(*words) for words in requests]:
            first.session.receive(data)
        first.node.replica.commit()
        log = first.node.replica.log
        logs.append([(each.first, each.last) for each in log.entries.values()])
    assert logs[0] == logs[1] and len(logs[0]) >= 200 // count_max


@pytest.mark.parametrize("name", ["LPUSH", "RPUSH"])
def test_more_pushes_than_a_piece_has_are_written_down_all_the_same(name: str) -> None:
    noted = []
    for is_one in (True, False):
        group = Group(2)
        first, second = group.members
        first("RPUSH", "l", "first")
        group.settle()
        for start in range(0, PIECE_MAX + 300, 50):
            requests: list[Words] = [(name.encode(), b"l", b"%d" % at) for at in range(start, start + 50)]
            for data in [encoded(requests)] if is_one else [request(*words) for words in requests]:
                first.session.receive(data)
        made = first.node.replica.keyspace.shards[shard_of(b"l")].insertions[b"l"].made
        noted.append([each for piece in made for each in piece.insertions()])
        second(name, "l", "at the same time")
        group.run(2000)
        assert _listed(first.node.replica.keyspace.get(b"l")) == _listed(second.node.replica.keyspace.get(b"l"))
        first.node.replica._check()
    assert noted[0] == noted[1] and len(noted[0]) > PIECE_MAX + 300


def test_most_requests_of_a_pipeline_are_run_as_one() -> None:
    """Else the other tests would find nothing."""
    for name, key in KEYS.items():
        command, sizes = COMMANDS[name.lower()], list[int]()
        assert command.several is not None
        counted = replace(command.several, handler=_counted(command.several.handler, sizes))
        alone = Alone(split_above=1000)
        alone.session._lookup = {name.encode(): replace(command, several=counted)}
        alone.several([request_of(name, key, b"%d" % (at % 5), b"v") for at in range(SEVERAL_MAX + 11)])
        assert sizes == [SEVERAL_MAX, 9], name


def _counted(handler: SeveralHandler, sizes: list[int]) -> SeveralHandler:
    def count(session: Session, requests: list[list[bytes]]) -> list[Reply]:
        replies = handler(session, requests)
        sizes.append(len(replies))
        return replies

    return count


def test_what_stands_behind_one_may_say_less() -> None:
    requests = [(b"SADD", b"e", b"x"), (b"PING",), (b"SADD", b"e"), (b"SADD",), (b"SADD", b"e", b"y"), (b"SADD", b"e")]
    assert Alone().several(requests) == Alone().singly(requests)


@pytest.mark.parametrize(("name", "kind"), [("SADD", SplitSet), ("HSET", SplitMap)])
def test_a_collection_that_grows_is_kept_in_parts_all_the_same(name: str, kind: type) -> None:
    one, other = Alone(), Alone()
    for start in range(0, 4 * SPLIT_ABOVE, 7):
        requests = [request_of(name, KEYS[name], b"%d" % (at % 50), b"v") for at in range(start, start + 9)]
        assert one.several(requests) == other.singly(requests)
        assert outcome(one.node, one.session) == outcome(other.node, other.session)
    assert isinstance(one.node.replica.keyspace.get(KEYS[name]), kind)


def test_where_it_cannot_be_done_it_is_not_tried_again_for_each() -> None:
    sizes: list[int] = []
    command, alone = COMMANDS["sadd"], Alone()
    assert command.several is not None
    counted = replace(command.several, handler=_counted(command.several.handler, sizes))
    alone.session._lookup = {b"SADD": replace(command, several=counted)}
    alone.several([(b"SADD", b"e", b"%d" % at) for at in range(40)])  # which takes it to its parts
    assert sizes == [0]


def test_they_are_charged_what_each_is() -> None:
    one, other = Alone(), Alone()
    requests: list[Words] = [(b"RPUSH", b"l", b"value")] * 40
    assert one.several(requests) == other.singly(requests)
    assert one.node.replica._open_bytes == other.node.replica._open_bytes > 40 * len("RPUSH l value")


def test_none_is_run_that_is_to_be_refused() -> None:
    alone = Alone()
    requests: list[Words] = [(b"RPUSH", b"l", b"value")] * 5
    alone.several(requests)
    alone.node.memory_limit.is_full = True
    assert [answer[0] for answer in alone.several(requests)] == [b"-"] * 5
    assert alone.several([(b"LLEN", b"l")]) == [(b":", b"5")]


def test_an_internal_error_is_the_answer_to_each_of_them() -> None:
    alone = Alone()

    def broken(session: Session, requests: list[list[bytes]]) -> list[Reply]:
        raise InternalError("broken on purpose")

    alone.session._lookup = {b"SADD": replace(COMMANDS["sadd"], several=Several(broken, 3))}
    first, *others = alone.several([(b"SADD", b"e", b"x")] * 4)
    assert first == (b":", b"1")
    assert [kind for kind, _ in others] == [b"-"] * 3 and b"internal error" in others[0][1]  # type: ignore[operator]
    assert alone.session.commands == 4
