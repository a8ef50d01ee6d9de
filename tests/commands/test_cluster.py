"""MARMOSET, and what clients of one node see of the others."""

import pytest

from tests.commands.beside_redis import Answer, answers, request
from tests.commands.group import Group


def row(answer: object) -> dict[str, object]:
    """A flat map, from RESP2."""
    assert isinstance(answer, tuple) and answer[0] == b"*"
    names, values = answer[1::2], answer[2::2]
    return {
        name[1].decode(): int(value[1]) if value[0] == b":" else value[1].decode()
        for name, value in zip(names, values, strict=True)
    }


def fault(answer: Answer) -> bytes:
    assert answer[0] == b"-" and isinstance(answer[1], bytes)
    return answer[1]


@pytest.fixture(scope="module")
def group() -> Group:
    return Group(3)


def test_status_is_a_flat_map(group: Group) -> None:
    group.members[0]("SET", "k", "v")
    group.run(2000)
    for member in group.members:
        status = row(member("MARMOSET", "STATUS"))
        assert status["members"] == 3 and status["keys"] == 1
        assert status["log_batches"] == status["log_bytes"] == status["window_entries"] == 0
        assert {"name", "id", "version", "state"} <= status.keys()


def test_members_and_frontier_have_a_row_for_each(group: Group) -> None:
    (_, *members) = group.members[1]("MARMOSET", "MEMBERS")
    rows = [row(each) for each in members]
    assert {each["name"] for each in rows} == {"n0", "n1", "n2"}
    assert {each["state"] for each in rows} == {"alive"}
    (_, *frontier) = group.members[1]("MARMOSET", "FRONTIER")
    assert len(frontier) == 3
    assert {"lag_operations", "lag_ms", "reported_ms_ago"} <= row(frontier[0]).keys()


def test_why_is_about_members_and_keys(group: Group) -> None:
    (_, *lines) = group.members[1]("MARMOSET", "WHY", "n0")
    assert any(line[1].startswith(b"roster: member") for line in lines)  # type: ignore[index]
    assert fault(group.members[1]("MARMOSET", "WHY", "nosuch")).startswith(b"ERR neither a member nor a key")


def test_in_resp3_they_are_maps(group: Group) -> None:
    session = group.members[2].session
    session.receive(request("HELLO", 3))
    (status, members) = answers(session.receive(request("MARMOSET", "STATUS") + request("MARMOSET", "MEMBERS")))
    session.receive(request("HELLO", 2))
    assert status[0] == b"%" and [each[0] for each in members[1:]] == [b"%"] * 3  # type: ignore[index]


def test_help_names_every_subcommand(group: Group) -> None:
    (_, *lines) = group.members[0]("MARMOSET", "HELP")
    text = b"\n".join(line[1] for line in lines)  # type: ignore[index]
    for word in (b"STATUS", b"MEMBERS", b"FRONTIER", b"CONFLICTS key", b"BURY name [FORCE]", b"LEAVE", b"HELP"):
        assert word in text


def test_what_is_wrong_with_a_request_is_said(group: Group) -> None:
    member = group.members[0]
    assert fault(member("MARMOSET")) == b"ERR wrong number of arguments for 'marmoset' command"
    assert fault(member("MARMOSET", "STATUS", "x")) == b"ERR wrong number of arguments for 'marmoset|status' command"
    assert fault(member("MARMOSET", "NOSUCH")) == b"ERR unknown subcommand 'NOSUCH'. Try MARMOSET HELP."
    assert fault(member("MARMOSET", "BURY", "n1", "NOW")) == b"ERR syntax error"
    assert b"nosuch" in fault(member("MARMOSET", "BURY", "nosuch"))
    assert fault(member("MARMOSET", "BURY", "n0")).startswith(b"ERR ")
    assert fault(member("MARMOSET", "BURY", "n1")).startswith(b"ERR ")
    assert member.node.state == "serving"


@pytest.mark.parametrize(
    "change", [("SET", "k", "theirs"), ("DEL", "k"), ("FLUSHALL",), ("APPEND", "k", "x")], ids=lambda words: words[0]
)
def test_what_arrives_from_another_node_touches_what_is_watched(group: Group, change: tuple[str, ...]) -> None:
    here, there = group.members[:2]
    here("SET", "k", "v")
    group.run(1000)
    here("WATCH", "k")
    there(*change)
    here("MULTI")
    here("SET", "mine", "1")
    group.run(1000)
    assert here("EXEC") == (b"*", None)
    assert here("EXISTS", "mine") == (b":", b"0")


def test_what_has_not_arrived_does_not_touch_it(group: Group) -> None:
    here, there = group.members[:2]
    here("SET", "k", "v")
    group.run(1000)
    here("WATCH", "k")
    there("SET", "k", "theirs")
    here("MULTI")
    here("SET", "k", "mine")
    assert here("EXEC") == (b"*", (b"+", b"OK"))
    group.run(1000)
    assert here("GET", "k") == there("GET", "k")


def test_a_key_of_two_types_shows_one_and_tells_of_the_other(group: Group) -> None:
    one, other = group.members[:2]
    one("SADD", "both", "x", "y")
    other("RPUSH", "both", "a", "b")
    group.run(1000)
    for member in group.members:
        assert member("TYPE", "both") == (b"+", b"set")
        (_, found) = member("MARMOSET", "CONFLICTS", "both")
        assert found == (b"*", (b"$", b"type"), (b"$", b"list"), (b"$", b"value"), (b"*", (b"$", b"a"), (b"$", b"b")))
    assert one("DEL", "both") == (b":", b"1")
    group.run(2000)
    for member in group.members:
        assert member("MARMOSET", "CONFLICTS", "both") == (b"*",)
        assert member("EXISTS", "both") == (b":", b"0")


def test_a_turn_with_large_values_is_cut_and_everything_is_sent_at_its_end(group: Group) -> None:
    here, there = group.members[:2]
    data = b"".join(request("SET", f"large{i}", b"x" * 300_000) for i in range(10))
    before = here.node.replica.counters["batches_local"]
    here.session.receive(data)
    cut = here.node.replica.counters["batches_local"] - before
    assert 2 <= cut <= 5
    group.run(50)  # what was cut in the turn does not wait for the next gossip
    assert there("STRLEN", "large9") == (b":", b"300000")
    here.session.receive(request("SET", "own", b"y" * (2 << 20)))
    group.run(50)
    assert there("STRLEN", "own") == (b":", b"%d" % (2 << 20))


def test_a_sorted_set_that_is_hidden_is_shown_too() -> None:
    group = Group(2)
    first, second = group.members
    first.session.receive(request("SADD", "both", "x"))
    second.session.receive(request("ZADD", "both", 2, "m", "1.5", "l"))
    group.run(1000)
    for member in group.members:
        assert member("TYPE", "both") == (b"+", b"set")
        (_, found) = member("MARMOSET", "CONFLICTS", "both")
        shown = (b"*", (b"$", b"l"), (b"$", b"1.5"), (b"$", b"m"), (b"$", b"2"))
        assert found == (b"*", (b"$", b"type"), (b"$", b"zset"), (b"$", b"value"), shown)


def test_a_member_that_cannot_be_reached_is_buried_by_the_majority() -> None:
    group = Group(3)
    first, _, gone = group.members
    group.cut.add(gone)
    group.run(10_000)
    (_, *members) = first("MARMOSET", "MEMBERS")
    assert {each["name"]: each["state"] for each in map(row, members)}["n2"] == "unreachable"
    assert first("MARMOSET", "BURY", "n2") == (b"+", b"OK")
    group.run(5000)
    assert row(first("MARMOSET", "STATUS"))["members"] == 2


def test_a_member_that_leaves_answers_reads_until_it_is_gone() -> None:
    group = Group(2)
    first, second = group.members
    second("SET", "k", "v")
    assert second("MULTI") == (b"+", b"OK")
    assert second("SET", "k", "w") == (b"+", b"QUEUED")
    second.node.leave()
    assert second.node.state == "leaving"
    assert fault(second("EXEC")) == (
        b"EXECABORT Transaction discarded because of: LOADING marmoset is leaving its group"
    )
    assert second("GET", "k") == (b"$", b"v")
    assert fault(second("SET", "k", "w")).startswith(b"LOADING")
    group.run(15_000)
    assert second.exited is not None and second.exited.code == 0
    assert first("GET", "k") == (b"$", b"v")
    assert row(first("MARMOSET", "STATUS"))["members"] == 1


def test_a_client_can_have_a_member_leave() -> None:
    group = Group(2)
    assert group.members[1]("MARMOSET", "LEAVE") == (b"+", b"OK")
    group.run(15_000)
    assert group.members[1].exited is not None and group.members[1].exited.code == 0


@pytest.mark.parametrize("words", [("LEAVE",), ("BURY", "n1", "FORCE"), ("REPLAY", "ALL")])
def test_what_closes_the_open_batch_is_refused_in_a_transaction(words: tuple[str, ...]) -> None:
    """A transaction is one batch; and what it wrote behind a leave was acknowledged, and reached nobody."""
    group = Group(2)
    first, second = group.members
    assert first("MULTI") == (b"+", b"OK")
    assert first("SET", "before", "1") == (b"+", b"QUEUED")
    assert b"not allowed" in fault(first("MARMOSET", *words))
    assert first("SET", "behind", "2") == (b"+", b"QUEUED")
    assert fault(first("EXEC")).startswith(b"EXECABORT")
    group.run(3000)
    assert first.node.state == "serving" and row(second("MARMOSET", "STATUS"))["members"] == 2
    assert second("GET", "before") == second("GET", "behind") == (b"$", None)


def test_a_report_that_is_empty_and_rows_that_are_not_there(group: Group) -> None:
    ask = group.members[0]
    assert ask("MARMOSET", "REPORT") == ask("MARMOSET", "REPORT", 5) == (b"*",)
    assert ask("MARMOSET", "REPLAY", "ALL") == ask("MARMOSET", "DISMISS", "all") == (b":", b"0")
    for word in ("REPLAY", "DISMISS"):
        assert b"no operation '000000000000007:1' is in the report" in fault(ask("MARMOSET", word, "000000000000007:1"))
        assert b"wrong number of arguments" in fault(ask("MARMOSET", word))
    assert b"syntax error" in fault(ask("MARMOSET", "REPORT", 1, 2))
    assert b"not an integer" in fault(ask("MARMOSET", "REPORT", "x"))
