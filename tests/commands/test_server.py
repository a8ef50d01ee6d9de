"""INFO, COMMAND and CONFIG."""

import pytest

from marmoset.commands import COMMANDS
from marmoset.commands.syntax import parse
from marmoset.session import Clients, Session
from tests.commands.beside_redis import Answer, Pair, answers, new_node, request

CASES = r"""
COMMAND NOSUCH
COMMAND COUNT x
COMMAND GETKEYS
COMMAND GETKEYS get
COMMAND GETKEYS get a
COMMAND GETKEYS GET a
COMMAND GETKEYS mset a 1 b 2 c 3
COMMAND GETKEYS nosuch a
COMMAND GETKEYS ping a
COMMAND GETKEYS get a b
COMMAND GETKEYS del a b c
COMMAND GETKEYS lmove a b left right
COMMAND GETKEYS SINTERCARD 2 a b
COMMAND GETKEYS SINTERCARD 1 a LIMIT 3
COMMAND GETKEYS SINTERCARD 3 a b
COMMAND GETKEYS SINTERCARD 0 a b
COMMAND GETKEYS SINTERCARD x a b
COMMAND GETKEYS SINTERCARD 9223372036854775807 a b
COMMAND GETKEYS SINTERCARD 1
COMMAND GETKEYS MEMORY USAGE a
COMMAND GETKEYS memory usage a SAMPLES 3
COMMAND GETKEYS MEMORY USAGE
COMMAND GETKEYS MEMORY NOSUCH a
COMMAND GETKEYS CLIENT LIST
COMMAND INFO nosuch
COMMAND DOCS nosuch
COMMAND LIST FILTERBY
COMMAND LIST FILTERBY PATTERN
COMMAND LIST FILTERBY NOSUCH x
COMMAND LIST FILTERBY MODULE nosuch
COMMAND LIST FILTERBY PATTERN nosuch*
COMMAND LIST x
CONFIG NOSUCH
CONFIG
CONFIG GET
CONFIG GET nosuch
CONFIG GET save
CONFIG GET appendonly
CONFIG GET APPENDONLY
CONFIG GET appendonly save nosuch
"""


@pytest.mark.redis_tools
def test_as_redis(pair: Pair) -> None:
    assert pair.differing(CASES) == []


@pytest.mark.redis_tools
@pytest.mark.parametrize("name", ["get", "mset", "client|setname", "sadd", "lrange", "linsert", "spop", "del"])
def test_command_docs_has_the_shape_of_redis(pair: Pair, name: str) -> None:
    """What arguments are called, of what type they are, and which belong together; the texts are our own."""
    ours, theirs = pair.both("COMMAND", "DOCS", name)
    assert ours[:2] == theirs[:2]
    assert shape(ours[2]) == shape(theirs[2])


def shape(docs: object) -> list[tuple[object, ...]]:
    """The arguments, as (name, type, flags, token, arguments); what a group of them is called is left out."""
    assert isinstance(docs, tuple)
    fields = dict(zip(docs[1::2], docs[2::2], strict=True))
    found: list[tuple[object, ...]] = []
    for argument in fields.get((b"$", b"arguments"), (b"*",))[1:]:
        each = dict(zip(argument[1::2], argument[2::2], strict=True))
        parts = shape(argument)
        found.append(
            (
                not parts and each[b"$", b"name"],
                *(each.get((b"$", part)) for part in (b"type", b"flags", b"token")),
                parts,
            )
        )
    return found


@pytest.mark.redis_tools
@pytest.mark.parametrize("name", ["get", "set", "sadd", "hset", "lpush", "exists", "scan", "multi", "ping"])
def test_command_info_has_the_shape_of_redis(pair: Pair, name: str) -> None:
    ours, theirs = (description(answer) for answer in pair.both("COMMAND", "INFO", name))
    assert [ours[0], ours[1], *ours[3:6]] == [theirs[0], theirs[1], *theirs[3:6]]
    assert [part[0] for part in ours] == [part[0] for part in theirs]
    if name not in ("ping", "multi"):
        assert {*ours[2]} == {*theirs[2]} and {*ours[6]} == {*theirs[6]}


def description(answer: Answer) -> list[Answer]:
    """The parts of the one command that COMMAND INFO was asked about."""
    (parts,) = answer[1:]
    assert isinstance(parts, tuple)
    return list(parts[1:])


@pytest.fixture
def session() -> Session:
    return Session(new_node(), Clients(), 1, "10.0.0.1:1")


def ask(session: Session, *words: str | int) -> Answer:
    (answer,) = answers(session.receive(request(*words)))
    return answer


def test_info_has_the_lines_that_tools_look_for(session: Session) -> None:
    session.receive(request("SET", "k", "v"))
    (_, text) = ask(session, "INFO")
    assert isinstance(text, bytes)
    lines = text.split(b"\r\n")
    for line in (
        b"# Server",
        b"redis_version:7.0.15",
        b"connected_clients:1",
        b"rejected_connections:0",
        b"role:master",
        b"db0:keys=1,expires=0,avg_ttl=0",
    ):
        assert line in lines
    (_, server) = ask(session, "INFO", "server")
    assert isinstance(server, bytes) and server.startswith(b"# Server\r\n") and b"# Clients" not in server
    assert ask(session, "INFO", "nosuch") == (b"$", b"")


def test_command_lists_every_command(session: Session) -> None:
    assert ask(session, "COMMAND", "COUNT") == (b":", b"%d" % len(COMMANDS))
    assert len(ask(session, "COMMAND")) == len(ask(session, "COMMAND", "INFO")) == len(COMMANDS) + 1
    assert len(ask(session, "COMMAND", "DOCS")) == 2 * len(COMMANDS) + 1
    assert {name[1] for name in ask(session, "COMMAND", "LIST")[1:]} == {name.encode() for name in COMMANDS}  # type: ignore[index]
    (_, *found) = ask(session, "COMMAND", "LIST", "FILTERBY", "PATTERN", "l*pop")
    assert found == [(b"$", b"lpop")]
    assert ask(session, "COMMAND", "LIST", "FILTERBY", "PATTERN", "L*pO[P]") == (b"*", (b"$", b"lpop"))


def test_config_get_knows_the_settings_of_the_node(session: Session) -> None:
    answer = ask(session, "CONFIG", "GET", "gossip_*")
    assert (b"$", b"gossip_port") in answer and (b"$", b"7946") in answer
    assert ask(session, "CONFIG", "GET", "maxclients") == (b"*", (b"$", b"maxclients"), (b"$", b"10000"))


def test_a_choice_takes_its_values_with_it() -> None:
    (first, *rest) = parse("LIB-NAME name | LIB-VER version")
    assert first.kind == "oneof" and [(part.token, part.name) for part in first.parts] == [
        ("LIB-NAME", "name"),
        ("LIB-VER", "version"),
    ]
    assert not rest
    (_, where, pivot, element) = parse("key BEFORE|AFTER pivot element")
    assert [part.token for part in where.parts] == ["BEFORE", "AFTER"] and (pivot.name, element.name) == (
        "pivot",
        "element",
    )
