"""Nodes that really exchange: rest, leaving out, cuts, slow links, clocks, burials and leaving."""

import itertools

import pytest

from marmoset.codec.messages import Batch, CaughtUp, Direct, KnownRow, Refuse, Report, Resumed
from marmoset.codec.operations import (
    Assign,
    Bury,
    Expire,
    Flush,
    Increment,
    Join,
    MapAssign,
    MapIncrement,
    Reset,
    SequenceInsert,
    SetAdd,
)
from marmoset.codec.wire import decode_operations
from marmoset.commands.database import request_bytes
from marmoset.crdts.sequence import Sequence
from marmoset.errors import UsageError
from marmoset.hashing import SHARDS
from marmoset.ids import id_text
from marmoset.node.pacing import EXPIRE_PAUSE_MS
from marmoset.replication.replica import OPEN_BYTES_MAX
from marmoset.sim.network import Conditions
from marmoset.sim.workload import request
from tests.node.group import Alone, Group

HOUR = 3_600_000


# -- at rest


def test_at_rest_the_keyspace_has_plain_values_and_nothing_beside_them() -> None:
    """The stored value is the plain Python value; reads never look at a window, and at rest there is none."""
    group = Group(3)
    group.do(1, Assign(b"text", b"v"), Increment(b"counter", 5), SetAdd(b"set", [b"x", b"y"]))
    group.do(
        2, MapAssign(b"map", [b"f", b"1"]), MapIncrement(b"map", b"f", 2), SequenceInsert(b"list", None, None, [b"a"])
    )
    group.do(3, Increment(b"counter", 7), SetAdd(b"set", [b"z"]), Assign(b"gone", b"v"), Reset(b"gone"))
    assert group.until(group.is_at_rest) < 5000
    for node in group.nodes():
        keyspace, replica = node.replica.keyspace, node.replica
        found = {key: keyspace.get(key) for key in list(keyspace.keys())}
        sequence = found.pop(b"list")
        assert type(sequence) is Sequence and list(sequence) == [b"a"]
        assert found == {b"text": b"v", b"counter": 12, b"set": {b"x", b"y", b"z"}, b"map": {b"f": 3}}
        assert [type(value) for _, value in sorted(found.items())] == [int, dict, set, bytes]
        assert len(keyspace.shards) == SHARDS and keyspace._flushed == {}
        assert all(slots.windows == {} and slots.beside == {} for slots in keyspace.shards)
        assert sequence.removed_count == 0
        assert len(replica.log) == 0 and replica.log.queues == {} and replica.log.size_bytes == 0
        status = node.status()
        assert (status["log_batches"], status["log_bytes"], status["window_entries"], status["folding_batches"]) == (
            0,
        ) * 4
        assert all(vector == replica.seen for vector in replica.stability.known.values())
    group.check()


@pytest.mark.interpreted
def test_reads_never_look_at_a_window() -> None:
    group = Group(2)
    group[1].replica.chain.end()
    group.do(1, Increment(b"n", 5), SetAdd(b"s", [b"x"]))
    keyspace = group[1].replica.keyspace
    assert keyspace.window(b"n") is not None
    windows = [slots.windows for slots in keyspace.shards]
    for slots in keyspace.shards:
        del slots.windows
    assert keyspace.get(b"n") == 5 and keyspace.get(b"s") == {b"x"} and len(keyspace) == 2
    for slots, kept in zip(keyspace.shards, windows, strict=True):
        slots.windows = kept


def test_a_flushall_is_equal_everywhere_and_leaves_nothing() -> None:
    group = Group(3)
    group.do(1, SequenceInsert(b"list", None, None, [b"a", b"b"]), SetAdd(b"s", [b"x"]))
    group.run(50)
    group.do(2, Flush())
    group.do(3, SetAdd(b"s", [b"concurrent"]))
    group.until(group.is_at_rest)
    assert group.values(b"s") == [{b"concurrent"}] * 3 and group.values(b"list") == [None] * 3


@pytest.mark.parametrize("size", [3, 6])
def test_each_batch_crosses_each_link_about_once(size: int) -> None:
    group = Group(size)
    group.until(group.is_at_rest)
    for node in group.nodes():
        assert all(link.stream is not None and link.stream.is_caught_up for link in node.linked.values())
    group.network.bytes = 0
    payload = b"x" * 20_000
    group.write(1, payload)
    group.until(lambda: group.values() == [payload] * size)
    group.run(300)
    assert group.network.bytes < 1.5 * (size - 1) * len(payload), "everybody hears it from its origin alone"


# -- cuts


def test_a_cut_that_heals_heals_by_itself_and_both_sides_kept_what_they_wrote() -> None:
    group = Group(3)
    group.until(group.is_at_rest)
    group.cut(3)
    group.do(1, Increment(b"n", 1), SetAdd(b"s", [b"majority"]))
    group.do(3, Increment(b"n", 10), SetAdd(b"s", [b"minority"]))
    group.run(7000)
    assert group.values(b"n") == [1, 1, 10]
    states = {row["name"]: row["state"] for row in group[1].members()}
    assert states == {"n1": "alive", "n2": "alive", "n3": "unreachable"}
    assert len(group[1].replica.log) and not group[1].replica.roster.buried, "time alone buries nobody"
    group.network.heal()
    group.until(group.is_at_rest)
    assert group.values(b"n") == [11] * 3 and group.values(b"s") == [{b"majority", b"minority"}] * 3
    assert {row["state"] for row in group[1].members()} == {"alive"}


def test_what_reaches_a_third_only_through_a_second_reaches_it() -> None:
    """1 and 3 cannot speak: what each asked others to leave out has to come by 2, and so has what each knows."""
    group = Group(3)
    group.until(group.is_at_rest)
    group.network.cut([("n1", "n3"), ("n3", "n1")])
    group.write(1, b"from 1")
    group.write(3, b"from 3", b"other")
    group.until(lambda: group.values() == [b"from 1"] * 3 and group.values(b"other") == [b"from 3"] * 3, 20_000)
    group.until(group.is_at_rest, 20_000)
    group.check()


def test_a_node_that_was_stopped_catches_up() -> None:
    group = Group(3)
    group.hosts[2].stop()
    for i in range(50):
        group.write(1 + i % 2, b"%d" % i)
        group.run(100)
    assert len(group[1].replica.log) >= 50
    group.hosts[2].go_on()
    group.until(group.is_at_rest)
    assert len(set(group.values())) == 1


def test_a_member_that_crashed_is_dialled_with_growing_pauses() -> None:
    alone = Alone(reconnect_min=100, reconnect_max=2000)
    link = alone.let_in(1 << 59)
    alone.node.handle_closed(link)
    alone.take()
    moments = []
    for _ in range(200):
        before = len(alone.dialled)
        alone.run(50)
        if len(alone.dialled) > before:
            moments.append(alone.time.now)
            alone.node.handle_dial_failed(alone.dialled[-1], "refused")
    pauses = [b - a for a, b in itertools.pairwise(moments)]
    assert pauses[0] <= 150 and max(pauses) <= 2100 and min(pauses[-3:]) >= 950
    assert len(set(pauses)) > 3, "with jitter"


def test_a_member_that_answers_and_refuses_is_dialled_with_growing_pauses_too() -> None:
    """Its burial takes no effect before the third is back, so that it is told *not yet* for as long as that is gone."""
    group = Group(3)
    buried, judge = sorted((1, 2), key=lambda number: group[number].replica.me)
    group.hosts[2].crash()
    group.run(3000)
    group[judge].bury(f"n{buried}", force=True)
    group.settle(judge)
    before = len(group.events(f"n{buried}", "linked"))
    group.run(60_000)
    assert not group[judge].replica.presumed_dead(group[buried].replica.me)
    assert 10 <= len(group.events(f"n{buried}", "linked")) - before <= 30


def test_a_link_that_has_lasted_is_dialled_again_at_once_however_long_somebody_else_is_gone() -> None:
    group = Group(3, reconnect_max=60_000)
    group.hosts[2].crash()
    group.run(300_000)
    first, second = group[1], group[2]
    for _ in range(5):
        first.close(first.linked[second.replica.me])
        first.end_turn()
        group.settle(1)
        group.run(1)
        assert group.until(lambda: first.replica.me in second.linked and second.replica.me in first.linked) < 500
        group.run(60_000)


# -- backpressure


def test_a_slow_peer_costs_a_node_nothing_but_the_log_and_gets_everything_in_the_end() -> None:
    group = Group(2, conditions=Conditions(window_bytes=8192), link_buffer_max=65_536)
    group.until(group.is_at_rest)
    group.hosts[1].stop()
    group.network.way_bytes_max = 0
    payload = b"x" * 10_000
    for i in range(100):
        group.write(1, payload, b"%d" % i)
        group.run(5)
    (link,) = group[1].linked.values()
    assert link.paused and link.stream is not None and link.stream.paused
    assert group.network.way_bytes_max < 5 * len(payload), "what is under way does not grow with what is written"
    assert link.stream.statistics()["behind_batches"] > 80
    assert group[1].status()["log_batches"] == 100
    group.hosts[1].go_on()
    group.until(group.is_at_rest)
    assert len(group[2].replica.keyspace) == 100


def test_a_link_that_is_lost_while_it_was_paused_resumes_from_vectors() -> None:
    group = Group(2, conditions=Conditions(window_bytes=8192))
    group.cut(2)
    for i in range(100):
        group.write(1, b"x" * 1000, b"%d" % i)
    group.run(12_000)  # the link breaks
    assert group[1].linked == {}
    group.network.heal()
    group.until(group.is_at_rest)
    assert len(group[2].replica.keyspace) == 100


def test_the_largest_write_behind_what_was_open_crosses_in_one_message() -> None:
    """What a session charges is more than what is written, but a context of many members is not charged at all."""
    limit = 1 << 20
    group = Group(8, batch_bytes_max=limit)
    host = group.hosts[0]
    session = host.connect(1)
    host.command(session, request(b"SET", b"k", b"x" * (limit - 49)), 0)
    group.run(2000)
    for number in range(2, 9):
        group.write(number, b"v", b"%d" % number)
    group.run(2000)
    half = (OPEN_BYTES_MAX - 1) // 2
    for size in (half, OPEN_BYTES_MAX - 1 - half):
        host.command(session, request(b"SET", b"a", b"y" * (size - request_bytes([b"SET", b"a", b""]))), 500)
    assert host.command(session, request(b"APPEND", b"k", b"z"), 500) == b":%d\r\n" % (limit - 48)
    group.until(group.is_at_rest)
    assert all(isinstance(value, bytes) and len(value) == limit - 48 for value in group.values())


@pytest.mark.parametrize("event", ["packet", "resumed", "closed"])
def test_a_report_never_says_a_clock_that_what_is_open_is_stamped_before(event: str) -> None:
    """Whatever happens within a turn: a key would be removed by its deadline before a PERSIST in time has come."""
    alone = Alone()
    other, link = alone.link(), alone.let_in(50)
    node = alone.node
    alone.said[link].clear()
    node.handle_paused(link)
    node.replica.submit(Expire(b"k", 0))
    alone.time.now += 5
    alone.time.wall += 5
    node.streaming.report_to_all()
    if event == "resumed":
        node.handle_resumed(link)
    else:
        node.links[link].pause(False)
        node.handle_packet("127.0.0.1:50", b"junk") if event == "packet" else node.handle_closed(other)
    alone.take()
    node.end_turn()
    alone.take()
    promised, said = 0, alone.said[link]
    assert {type(message) for message in said} >= {Report, Batch}
    for message in said:
        if isinstance(message, Report):
            promised = message.own.clock
        assert not isinstance(message, Batch) or message.stamp > promised


def test_what_is_held_is_asked_for_anew_when_it_waits_too_long() -> None:
    alone = Alone()
    b, c = alone.let_in(50), alone.let_in(60, "n3")
    for link, replica in ((b, 50), (c, 60)):
        alone.hear(link, CaughtUp(), alone.report(replica))
    assert any(isinstance(message, Direct) and message.origins == [60] for message in alone.said[b])
    late = alone.batch(50, [Assign(b"k", b"v")])
    assert isinstance(late, Batch)
    late = alone.batch(50, [Assign(b"k", b"v")], raised=[(60, 2)])
    alone.hear(b, late)
    assert alone.node.status()["held_bytes"] and alone.node.replica.keyspace.get(b"k") is None
    alone.run(3000)
    names = [type(message).__name__ for message in alone.said[b]]
    assert "Resume" in names and alone.node.status()["held_bytes"] == 0
    alone.hear(b, alone.batch(60, [Assign(b"k", b"first")]), late)
    assert alone.node.replica.keyspace.get(b"k") == b"v"


def test_what_a_stranger_brings_lets_go_what_other_streams_hold() -> None:
    """It is used with the stranger's `CaughtUp`, which is no batch (seed 1795660219 of `everything`)."""
    alone = Alone()
    b, c = alone.let_in(50), alone.let_in(60, "n3")
    for link, replica in ((b, 50), (c, 60)):
        alone.hear(link, CaughtUp(), alone.report(replica))
    alone.hear(b, alone.batch(50, [Assign(b"k", b"v")], raised=[(60, 2)]))
    assert alone.node.status()["held_bytes"]
    stranger, me = alone.link(), alone.node.replica.me
    alone.hear(stranger, alone.hello(70, "n4", vector=[(50, 1), (60, 2), (70, 0), (me, 2)], line=[60]))
    alone.hear(stranger, alone.batch(60, [Join(70, "n4", "127.0.0.1:70")]))
    assert alone.node.replica.keyspace.get(b"k") is None, "nobody has vouched for what it brings yet"
    alone.hear(stranger, CaughtUp())
    assert 70 in alone.node.replica.roster.members
    assert alone.node.replica.keyspace.get(b"k") == b"v" and alone.node.status()["held_bytes"] == 0


def test_a_leaver_does_not_wait_for_what_is_held_up() -> None:
    """The others keep nothing for it any more; all that it needs is to hear who has its leave."""
    alone = Alone()
    b, c = alone.let_in(50), alone.let_in(60, "n3")
    for link, replica in ((b, 50), (c, 60)):
        alone.hear(link, CaughtUp(), alone.report(replica))
    alone.hear(b, alone.batch(50, [Assign(b"k", b"v")], raised=[(60, 2)]))
    assert alone.node.status()["held_bytes"]
    alone.node.leave()
    alone.take()
    assert alone.node.status()["held_bytes"] == 0
    for link, replica in ((b, 50), (c, 60)):
        alone.hear(link, alone.report(replica))
    assert alone.exit is not None and alone.exit.code == 0


def test_the_fault_of_what_was_held_is_that_of_who_brought_it() -> None:
    alone = Alone()
    b, c = alone.let_in(50), alone.let_in(60, "n3")
    for link, replica in ((b, 50), (c, 60)):
        alone.hear(link, CaughtUp(), alone.report(replica))
    hostile = alone.batch(50, [Increment(b"k", "not a number")], raised=[(60, 2)])
    alone.hear(b, hostile)
    assert b not in alone.closed
    alone.hear(c, alone.batch(60, [Assign(b"k", b"v")]))
    assert b in alone.closed and c not in alone.closed
    assert [fields["peer"] for fields in alone.events("bad message")] == ["n2"]
    assert alone.node.replica.keyspace.get(b"k") == b"v"


# -- burials


def test_a_burial_needs_somebody_unreachable_and_a_majority() -> None:
    group = Group(3)
    with pytest.raises(UsageError, match="no member is called"):
        group[1].bury("nobody", force=False)
    with pytest.raises(UsageError, match="LEAVE"):
        group[1].bury("n1", force=True)
    with pytest.raises(UsageError, match="alive"):
        group[1].bury("n3", force=False)
    group.cut(3)
    group.run(8000)
    with pytest.raises(UsageError, match="majority"):
        group[3].bury("n1", force=False)
    group[1].bury("n3", force=False)
    group.settle(1)
    dead = group[3].replica.me
    group.until(lambda: dead in group[1].replica.roster.graves and dead in group[2].replica.roster.graves)
    assert group[1].replica.is_at_rest or group.until(lambda: group[1].replica.is_at_rest)
    group.network.heal()
    group.until(lambda: group[3].replica.me not in (0, dead) and group.is_whole())
    assert group[3].members()[2]["name"] == "n3"


def test_of_two_members_of_one_name_the_one_that_is_gone_is_buried_and_force_asks_for_the_id() -> None:
    group = Group(4)
    gone, alive = group[3].replica.me, group[4].replica.me
    for node in group.nodes():
        node.replica.roster.members[alive].name = "n3"
    with pytest.raises(UsageError, match=f"2 members are called 'n3'.*{id_text(alive)} \\(alive\\)"):
        group[1].bury("n3", force=False)
    group.cut(3)
    group.run(8000)
    with pytest.raises(UsageError, match=f"{id_text(gone)} \\(unreachable\\)"):
        group[1].bury("n3", force=True)
    group[1].bury("n3", force=False)
    group.settle(1)
    group.until(lambda: gone in group[1].replica.roster.graves)
    assert alive in group[1].replica.roster.present()


def test_a_burial_by_force_needs_neither_and_the_buried_is_told() -> None:
    group = Group(2)
    dead = group[2].replica.me
    group[1].bury("n2", force=True)
    group.settle(1)
    group.until(lambda: any(notice.event == "presumed dead" for name, notice in group.notices if name == "n2"))
    group.until(lambda: dead in group[1].replica.roster.graves and group.is_whole())
    assert group[2].replica.me != dead


def test_a_burial_by_id() -> None:
    group = Group(3)

    group.hosts[2].crash()
    gone = next(row for row in group[1].members() if row["name"] == "n3")
    group.run(8000)
    group[1].bury(str(gone["id"]), force=False)
    group.settle(1)
    group.until(group.is_at_rest)
    assert [id_text(r) for r in group[1].replica.roster.graves] == [gone["id"]]


def test_the_link_to_the_buried_is_paused_until_the_burial_has_taken_effect() -> None:
    alone = Alone()
    b, c, d = alone.let_in(50), alone.let_in(60, "n3"), alone.let_in(70, "n4")
    alone.hear(b, alone.batch(50, [Bury(60)]))
    assert [m.code for m in alone.said[c] if isinstance(m, Refuse)] == ["not yet"]
    assert (c in alone.closed, d in alone.closed) == (True, False)
    standing = {row["name"]: row["standing"] for row in alone.node.members()}
    assert standing["n3"] == "presumed dead" and standing["n4"] == "member"
    assert 60 in alone.node.replica.roster.counted()


def test_nobody_takes_their_own_burial_from_a_peer() -> None:
    alone = Alone()
    b = alone.let_in(50)
    alone.hear(b, alone.batch(50, [Bury(alone.node.replica.me)]))
    assert [m.code for m in alone.said[b] if isinstance(m, Refuse)] == ["not yet"]
    assert alone.node.state == "serving" and alone.node.replica.roster.buried == {}
    assert alone.events("a burial of this node is under way")


# -- leaving


def test_what_passes_at_once_is_gone_soon_however_much_it_is() -> None:
    alone = Alone()
    deadline_ms = alone.time.wall + 1000
    for number in range(5000):
        key = b"%d" % number
        alone.node.replica.submit(Assign(key, b"v"))
        alone.node.replica.submit(Expire(key, deadline_ms))
    alone.node.end_turn()
    alone.run(1000)
    assert len(alone.node.replica.keyspace) == 5000
    alone.run(2 * alone.config.gossip_interval + 5 * EXPIRE_PAUSE_MS)
    assert len(alone.node.replica.keyspace) == 0
    alone.run(1000)
    assert "expire" not in alone.node._armed, "nothing is looked for any more"


def test_who_leaves_is_forgotten_and_what_it_wrote_stays() -> None:
    group = Group(3)
    group.write(3, b"last words")
    group[3].leave()
    group.settle(3)
    assert group[3].state == "leaving"
    assert str(group[3].refusal(write=True)).startswith("LOADING") and group[3].refusal(write=False) is None
    group.until(lambda: "n3" in group.exits)
    assert group.exits["n3"].code == 0
    group.until(group.is_at_rest)
    assert group.is_whole() and group.values() == [b"last words"] * 2
    assert all(not node.replica.roster.graves for node in group.nodes())


def test_the_last_one_leaves_at_once() -> None:
    alone = Alone()
    alone.node.leave()
    alone.take()
    assert alone.exit is not None and alone.exit.code == 0 and alone.node.state == "left"


def test_a_node_that_never_joined_just_stops() -> None:
    alone = Alone(join=("127.0.0.1:7009",))
    alone.node.leave()
    alone.take()
    assert alone.exit is not None and alone.exit.code == 0


def test_to_leave_without_a_majority_says_what_is_not_confirmed() -> None:
    group = Group(3, leave_timeout=3000)
    group.cut(3)
    group[3].leave()
    group.settle(3)
    took = group.until(lambda: "n3" in group.exits)
    assert 2900 <= took <= 3300
    assert group.exits["n3"].code == 1 and "whether n1, n2 know it" in group.exits["n3"].why


def test_to_be_presumed_dead_while_leaving_ends_the_process_too() -> None:
    alone = Alone()
    b = alone.let_in(50)
    alone.node.leave()
    alone.take()
    assert alone.node.state == "leaving" and alone.exit is None
    alone.hear(b, Refuse("presumed dead", "", 1))
    alone.run(500)
    assert alone.exit is not None and alone.exit.code == 1 and alone.node.state == "left"


def test_a_leaver_tells_nobody_that_it_was_presumed_dead_by_a_burial_that_came_behind_its_leave() -> None:
    """Whoever it told would wipe its data, though the others may count it, and have buried who says that it is dead."""
    alone = Alone()
    b, c, d = alone.let_in(50), alone.let_in(60, "n3"), alone.let_in(70, "n4")
    alone.node.leave()
    alone.take()
    seen = alone.node.replica.seen
    vector = [(60, seen[60]), (70, seen[70] + 1)]  # 50 was buried and is forgotten, and so is who leaves
    alone.hear(d, Report(KnownRow(70, 100, 0, vector), [KnownRow(60, 100, 0, vector)]))
    alone.hear(b, alone.batch(50, [Bury(60)], raised=[]))  # it has not heard of the leave
    assert [m.code for m in alone.said[c] if isinstance(m, Refuse)] == ["not yet"] and d not in alone.closed
    assert alone.refusal(alone.hello(60, "n3")) == Refuse("not yet", "its burial has not yet taken effect", 0, 0)
    assert "burial: takes no effect here any more, as this node is leaving" in alone.node.why(b"n3")
    assert alone.node.state == "leaving"


def test_asking_twice_to_leave_changes_nothing() -> None:
    alone = Alone()
    alone.let_in(50)
    alone.node.leave()
    log = len(alone.node.replica.log)
    alone.node.leave()
    assert len(alone.node.replica.log) == log


# -- hostile


def test_a_member_that_sends_what_no_node_sends_is_cut_off_and_nothing_is_kept() -> None:
    from random import Random

    alone = Alone()
    rng = Random(3)
    alone.let_in(50)
    for _ in range(200):
        link = alone.link()
        alone.hear(link, alone.hello(50))
        alone.hear(link, rng.randbytes(rng.randint(0, 60)))
        alone.node._check()
    assert alone.node.counters["messages_bad"] > 150 and alone.node.counters["internal_errors"] == 0
    assert len(alone.node.links) <= 1 and alone.node.state == "serving"


@pytest.mark.parametrize("message", [Report, CaughtUp, Resumed])
def test_a_snapshot_or_a_stream_that_nobody_asked_for_is_a_fault(message: type) -> None:
    from marmoset.codec.messages import SnapshotEnd

    alone = Alone()
    b = alone.let_in(50)
    alone.hear(b, SnapshotEnd())
    assert b in alone.closed and alone.events("bad message")
    assert message is not None


# -- a batch that breaks in the middle


def _break_in_the_middle(alone: Alone) -> int:
    link = alone.let_in(50)
    alone.hear(link, alone.batch(50, [SequenceInsert(b"l", None, None, [b"a", b"b"])], count=2))
    seq = alone.node.replica.seen[50]
    backwards = SequenceInsert(b"l", (50, seq), (50, seq - 1), [b"x"])
    broken = alone.batch(50, [Assign(b"k", b"half"), backwards])
    alone.node.replica.submit(Assign(b"mine", b"v"))  # its turn has not ended when the batch comes
    alone.hear(link, broken)
    return link


def test_a_member_in_which_a_batch_breaks_ends_with_1_and_serves_nobody() -> None:
    alone = Alone()
    link = _break_in_the_middle(alone)
    assert alone.exit is not None and alone.exit.code == 1 and "half of a batch" in alone.exit.why
    assert alone.node.state == "left" and alone.events("unsound") and link in alone.closed
    assert alone.node.refusal(write=False) is not None and alone.node.refusal(write=True) is not None
    assert alone.node.counters["internal_errors"] == 1
    before = len(alone.notices)
    alone.hear(alone.link(), alone.hello(50))
    alone.run(3000)
    assert not alone.node.linked and len(alone.notices) == before, "nothing is taken in any more"


def test_what_its_clients_wrote_is_sent_before_it_ends() -> None:
    alone = Alone()
    other = alone.let_in(60, "n3")
    _break_in_the_middle(alone)
    sent = [m for m in alone.said[other] if isinstance(m, Batch) and m.origin == alone.node.replica.me]
    operations = [
        operation
        for message in sent
        for operation in decode_operations(message.operations, message.origin, message.first)
    ]
    assert Assign(b"mine", b"v") in operations


def test_a_newcomer_in_which_a_batch_breaks_begins_from_nothing() -> None:
    alone = Alone(join=("127.0.0.1:7009",))
    link = alone.link("127.0.0.1:7009")
    alone.hear(link, alone.hello(70, group=9, vector=[(70, 0)]))
    before = alone.node.replica.me
    alone.node.replica.become_unsound("on purpose")
    alone.node.end_turn()
    alone.node.handle_closed(link)
    alone.take()
    alone.run(1000)
    assert alone.exit is None and alone.node.state == "waiting"
    assert not alone.node.replica.unsound and alone.node.replica.me != before
    assert len(alone.dialled) == 2
