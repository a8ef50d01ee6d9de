"""WHY: what is said about members and keys is what is the case."""

import pytest

from marmoset.codec.operations import Assign, Bury, Flush
from marmoset.errors import UsageError
from marmoset.ids import id_text
from marmoset.node.explaining import REPLICAS_MAX, TRAIL_MAX, Trail
from tests.node.group import Alone, Group


def a_group(size: int) -> Group:
    return Group(size, unreachable_after=2000, presumed_dead_after=20_000)


def why(group: Group, number: int, name: str) -> str:
    return "\n".join(group[number].why(name.encode()))


def test_about_a_member_that_is_well() -> None:
    group = a_group(3)
    group.until(group.is_at_rest)
    told = why(group, 1, "n2")
    assert told.startswith(f"n2 ({id_text(group[2].replica.me)})")
    assert "roster: member, at 127.0.0.1:7002, let in by n1" in told
    assert "liveness: alive" in told and "; linked" in told
    assert "frontier: it has everything that is here" in told
    assert "ago: linked" in told and "unreachable" not in told
    assert "this is the node that is asked; it is serving" in why(group, 1, "n1")
    assert why(group, 1, id_text(group[2].replica.me)) == why(group, 1, "n2")


def test_about_one_that_is_gone_who_says_so_and_what_its_burial_waits_for() -> None:
    group = a_group(3)
    group.until(group.is_at_rest)
    group.hosts[2].crash()
    group.write(1, b"v")
    group.run(12_000)
    told = why(group, 1, "n3")
    assert "liveness: unreachable" in told and "not linked, it is dialled again and again" in told
    assert "buried after 20.0 s" in told and "unreachable: n2 finds it so for" in told
    assert "burial: waits for witnesses; so far nobody, of a majority of 3" in told
    assert "frontier: it is not known to have 1 of n1; that is kept until it has, or is buried" in told
    assert "ago: liveness: unreachable, was suspect" in told and "ago: link lost" in told
    group.until(lambda: bool(group[1].replica.roster.graves and group[2].replica.roster.graves))
    told = why(group, 1, "n3")
    assert "roster: presumed dead and forgotten, its final seq is" in told and "ago: roster: forgotten" in told
    witness = [n for n in ("n1", "n2") if f"buried on the word of {n}" in why(group, 1, "n3") + why(group, 2, "n3")]
    assert witness


def test_about_a_cut_without_a_majority_on_either_side() -> None:
    group = a_group(4)
    group.until(group.is_at_rest)
    group.cut(3, 4)
    group.run(60_000)
    told = why(group, 1, "n3")
    assert "burial: never by us alone: we are answered by n2, which with this node is no majority of 4" in told
    assert "burial: logged" not in told


def test_about_burials_that_contradict_one_another() -> None:
    """Two of four have buried each other by force; the others have heard of both: nothing can take effect for them."""
    alone = Alone(presumed_dead_after=20_000)
    b, _, _ = alone.let_in(50), alone.let_in(60, "n3"), alone.let_in(70, "n4")
    alone.hear(b, alone.batch(50, [Bury(60)]))
    alone.node.replica.submit_roster([Bury(50)])
    alone.node.end_turn()
    told = "\n".join(alone.node.why(b"n3"))
    assert "roster: presumed dead" in told and "burial: logged by n2 as" in told
    assert "burial: waits until n4 is known to have the burial of n2, n3" in told
    assert "n2, who logged it, is buried too: burials that contradict one another" in told
    assert "MARMOSET BURY … FORCE" in told
    assert alone.node.replica.roster.counted() == sorted([alone.node.replica.me, 50, 60, 70])


def test_about_a_key_it_says_who_has_to_speak_and_since_when() -> None:
    group = a_group(3)
    group.until(group.is_at_rest)
    with pytest.raises(UsageError, match="neither a member nor a key"):
        group[1].why(b"k")
    group.cut(3)
    group.do(1, Assign(b"k", b"v"))
    group.run(3000)
    told = why(group, 1, "k")
    assert told.startswith("key k\n0 window entries, 1 batches in the log")
    assert "n1:3, logged 3.0 s ago: waits for n3" in told
    assert why(group, 2, "k").splitlines()[1:] == told.splitlines()[1:]
    group.do(1, Flush())
    group.run(100)
    assert "2 batches in the log" in why(group, 1, "k"), "what is gone may still have metadata"
    group.network.heal()
    group.do(2, Assign(b"k", b"w"))
    group.until(group.is_at_rest)
    assert why(group, 1, "k") == "key k\n0 window entries, 0 batches in the log\nnothing is kept beside the value"


def test_a_trail_is_bounded() -> None:
    trail = Trail()
    for i in range(REPLICAS_MAX + 50):
        for j in range(TRAIL_MAX + 5):
            trail.note(i, f"n{i}", j, f"event {j}")
    assert trail.told(0, 100) == [] and trail.named("n0") == []
    assert len(trail.told(100, 1000)) == TRAIL_MAX
    assert trail.told(100, 1020)[0] == "1.0 s ago: event 20"


def test_the_frontier_says_how_far_each_member_is_behind() -> None:
    group = a_group(3)
    group.until(group.is_at_rest)
    group.cut(3)
    group.write(1, b"first")
    group.run(4000)
    group.write(1, b"second")
    rows = {str(row["name"]): row for row in group[1].frontier()}
    assert rows["n3"]["lag_operations"] == 2 and rows["n3"]["lag_ms"] == 4000
    group.run(500)
    rows = {str(row["name"]): row for row in group[1].frontier()}
    assert rows["n2"]["lag_operations"] == rows["n2"]["lag_ms"] == 0
    assert rows["n3"]["lag_ms"] == 4500 and int(rows["n3"]["reported_ms_ago"]) >= 4000
    assert rows["n1"]["lag_ms"] == rows["n1"]["reported_ms_ago"] == 0
