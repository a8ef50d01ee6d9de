"""WAIT: who counts, what it never says, and who is held up by it."""

import pytest

from marmoset.codec.operations import Bury
from marmoset.session import Session
from tests.commands.beside_redis import answers, request
from tests.commands.group import Group, Member


def ready(member: Member) -> list[bool]:
    told: list[bool] = []
    member.session.on_ready = lambda: told.append(True)
    return told


def test_with_nobody_else_it_waits_for_the_time_that_was_given() -> None:
    group = Group(1)
    (alone,) = group.members
    told = ready(alone)
    assert alone.session.receive(request("SET", "k", "v") + request("WAIT", 1, 500) + request("GET", "k")) == b"+OK\r\n"
    assert alone.session.is_blocked
    group.run(450)
    assert alone.session.is_blocked and not told and alone.session.resume() == b""
    group.run(100)
    assert told == [True] and alone.session.resume() == b":0\r\n$1\r\nv\r\n"
    assert not alone.session.is_blocked and alone("GET", "k") == (b"$", b"v")


def test_it_answers_as_soon_as_enough_have_it_long_before_the_next_gossip() -> None:
    group = Group(3)
    here = group.members[0]
    told = ready(here)
    group.run(2000)
    assert here.session.receive(request("SET", "k", "v") + request("WAIT", 2, 0)) == b"+OK\r\n"
    assert here.node.waiting.known_by((here.node.replica.me, here.node.replica.next_seq - 1)) == 0
    group.settle()  # no time passes
    assert told and here.session.resume() == b":2\r\n"
    assert here("WAIT", 2, 0) == (b":", b"2"), "known already"


def test_what_is_not_known_to_be_there_is_not_counted() -> None:
    group = Group(3)
    here, _, away = group.members
    group.run(2000)
    group.cut.add(away)
    told = ready(here)
    here.session.receive(request("SET", "k", "v") + request("WAIT", 2, 3000))
    group.run(2500)
    assert not told
    group.run(1000)
    assert here.session.resume() == b":1\r\n"


def test_the_buried_and_the_unborn_do_not_count() -> None:
    group = Group(3)
    here, _, gone = group.members
    here("SET", "k", "v")
    group.run(1000)
    dot = (here.node.replica.me, here.node.replica.next_seq - 1)
    assert here.node.waiting.known_by(dot) == 2
    here.node.replica.submit_roster([Bury(gone.node.replica.me)])
    assert here.node.waiting.known_by(dot) == 1
    member = here.node.replica.roster.members[group.members[1].node.replica.me]
    member.born = False
    assert here.node.waiting.known_by(dot) == 0


def test_a_client_that_wrote_nothing_has_everything_everywhere() -> None:
    group = Group(2)
    assert group.members[1]("WAIT", 1, 0) == (b":", b"1")


def test_what_was_written_under_an_id_that_is_lost_is_known_to_nobody() -> None:
    group = Group(2)
    here = group.members[0]
    told = ready(here)
    group.cut.update(group.members)
    here.session.receive(request("SET", "k", "v") + request("WAIT", 1, 0))
    (waiter,) = here.node.waiting._waiters
    waiter.dot = (waiter.dot[0] ^ 1, waiter.dot[1])
    group.run(1000)
    assert told and here.session.resume() == b":0\r\n"


def test_inside_a_transaction_it_answers_at_once_and_counts_what_the_transaction_wrote() -> None:
    group = Group(2)
    here = group.members[0]
    group.run(2000)
    data = b"".join((request("MULTI"), request("SET", "k", "v"), request("WAIT", 1, 0), request("EXEC")))
    assert here.session.receive(data) == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:0\r\n"
    assert not here.session.is_blocked
    group.run(1000)
    assert here("WAIT", 1, 0) == (b":", b"1")


def test_only_its_own_client_waits() -> None:
    group = Group(2)
    here = group.members[0]
    group.cut.update(group.members)
    here.session.receive(request("SET", "k", "v") + request("WAIT", 1, 0))
    other = Session(here.node, here.session.clients, 2, "10.0.0.2:1")
    assert answers(other.receive(request("GET", "k"))) == [(b"$", b"v")]
    group.run(60_000)
    assert here.session.is_blocked, "for ever"
    here.session.close()
    assert not here.node.waiting._waiters, "who is gone is forgotten"


def test_several_in_one_pipeline_and_a_fault_of_the_protocol_behind_them() -> None:
    group = Group(1)
    (alone,) = group.members
    told = ready(alone)
    data = request("INCR", "n") + request("WAIT", 1, 100) + request("INCR", "n") + request("WAIT", 1, 100)
    assert alone.session.receive(data + b"*x\r\n") == b":1\r\n"
    group.run(200)
    assert alone.session.resume() == b":0\r\n:2\r\n" and alone.session.is_blocked
    group.run(200)
    assert alone.session.resume() == b":0\r\n-ERR Protocol error: invalid multibulk length\r\n"
    assert alone.session.closing and len(told) == 2


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("x", "1"), b"-ERR value is not an integer or out of range\r\n"),
        (("1", "x"), b"-ERR timeout is not an integer or out of range\r\n"),
        (("1", "-1"), b"-ERR timeout is negative\r\n"),
        (("1",), b"-ERR wrong number of arguments for 'wait' command\r\n"),
        (("0", "0"), b":0\r\n"),
        (("-3", "0"), b":0\r\n"),
    ],
)
def test_arguments_are_judged_as_redis_does(words: tuple[str, ...], answer: bytes) -> None:
    (alone,) = Group(1).members
    assert alone.session.receive(request("WAIT", *words)) == answer
