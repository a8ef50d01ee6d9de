"""When a key whose deadline has passed is removed: not before every clock that counts is known to have passed it."""

from random import Random

import pytest

from marmoset.codec.operations import Assign, Expire, SetAdd
from marmoset.crdts.deadline import Deadlines
from marmoset.replication.expiry import observe_time, remove_passed
from marmoset.replication.replica import LOCAL, OPEN_BYTES_MAX
from tests.replication.laboratory import ALL_KINDS, Laboratory, Subject


def pair() -> tuple[Laboratory, Subject, Subject]:
    lab = Laboratory(Random(1), ALL_KINDS, deadlines=True)
    first = lab.subjects[0]
    lab.join(first)
    while first.source is not None:
        lab.step_snapshot(first)
    return lab, first, lab.subjects[1]


def write(subject: Subject, *operations: Assign | Expire | SetAdd) -> None:
    observe_time(subject.replica)
    for operation in operations:
        subject.replica.submit(operation)
    subject.replica.commit()
    subject.note()


def test_a_persist_that_still_believed_in_the_key_is_not_lost() -> None:
    lab, here, there = pair()
    write(here, Assign(b"k", b"v"), Expire(b"k", lab.wall_ms + 100))
    lab.exchange(here, there, whole=True)
    write(there, Expire(b"k", 0))  # in time, and not yet known here
    lab.wall_ms += 1000
    observe_time(here.replica)
    assert here.replica.keyspace.get(b"k") is None, "what has passed is absent at once"
    assert remove_passed(here.replica, 10) == 0, "nobody knows yet what the other did before the deadline"
    lab.exchange(there, here, whole=True)
    lab.exchange(here, there, whole=True)
    assert remove_passed(here.replica, 10) == 0
    assert here.replica.keyspace.get(b"k") == b"v"
    assert here.replica.keyspace.deadline_ms(b"k") is None


def test_the_setter_removes_the_key_once_all_clocks_have_passed_and_nobody_else_does() -> None:
    lab, here, there = pair()
    write(here, Assign(b"k", b"v"), Expire(b"k", lab.wall_ms + 100))
    lab.exchange(here, there, whole=True)
    lab.wall_ms += 1000
    lab.exchange(there, here, whole=True)
    lab.exchange(here, there, whole=True)
    assert remove_passed(there.replica, 10) == 0, "the other one set the deadline"
    assert remove_passed(here.replica, 10) == 1
    here.replica.commit()
    lab.exchange(here, there, whole=True)
    assert len(there.replica.keyspace) == 0
    assert there.replica.keyspace.deadlines.count == 0


def test_the_removal_of_many_long_keys_is_cut_into_batches() -> None:
    lab, here, there = pair()
    keys = [b"%d" % i + b"k" * (OPEN_BYTES_MAX // 4) for i in range(20)]
    for key in keys:
        write(here, Assign(key, b"v"), Expire(key, lab.wall_ms + 100))
    lab.exchange(here, there, whole=True)
    lab.wall_ms += 1000
    lab.exchange(there, here, whole=True)
    before = here.replica.log.next_index
    assert remove_passed(here.replica, 100) == len(keys)
    here.replica.commit()
    batches = [entry for entry in here.replica.log.entries.values() if entry.index >= before]
    assert all(len(entry.framed) < 2 * OPEN_BYTES_MAX for entry in batches) and len(batches) > 2


def test_a_write_to_what_has_passed_begins_with_nothing() -> None:
    lab, here, there = pair()
    write(here, SetAdd(b"s", [b"old"]), Expire(b"s", lab.wall_ms + 100))
    lab.exchange(here, there, whole=True)
    lab.wall_ms += 1000
    write(there, SetAdd(b"s", [b"new"]))
    lab.exchange(there, here, whole=True)
    for subject in (here, there):
        observe_time(subject.replica)
        assert subject.replica.keyspace.get(b"s") == {b"new"}
        assert subject.replica.keyspace.deadline_ms(b"s") is None


@pytest.mark.parametrize("was_left", [False, True])
def test_who_is_gone_is_stood_in_for_by_the_lowest_id(was_left: bool) -> None:
    lab, here, there = pair()
    write(there, Assign(b"k", b"v"), Expire(b"k", lab.wall_ms + 100))
    lab.exchange(there, here, whole=True)
    if was_left:
        lab.wall_ms += 1000
        lab.exchange(there, here, whole=True)
        assert remove_passed(here.replica, 10) == 0 and here.replica.keyspace.deadlines.left_to == {there.replica.me}
    lab.leave(there)
    while here.replica.advance():
        here.replica.fold_slice(1000)
    lab.wall_ms += 1000
    assert remove_passed(here.replica, 10) == 1
    here.replica._check()


def test_old_deadlines_are_not_kept_until_their_time() -> None:
    """A session that is prolonged at each request has one deadline, not thousands."""
    lab, here, _ = pair()
    keyspace = here.replica.keyspace
    for turn in range(1000):
        write(here, Assign(b"k", b"v"), Expire(b"k", lab.wall_ms + 3_600_000 + turn))
        keyspace.deadlines._check()
    deadlines, keys = Deadlines(1), [b"%d" % i for i in range(1000)]
    for key in keys:
        deadlines.assign_plain(0, key, 1, 1 << 45)
    for key in keys:
        deadlines.reset(0, key, LOCAL)
        deadlines._check()


def test_nothing_is_behind_where_only_old_deadlines_are_left() -> None:
    deadlines = Deadlines(2)
    for shard in (0, 1):
        deadlines.assign_plain(shard, b"k", 1, 5)
    deadlines.reset(1, b"k", LOCAL)
    assert deadlines.take_passed(6, 1) == [(0, b"k")] and deadlines.is_behind
    deadlines.reset(0, b"k", LOCAL)
    assert not deadlines.is_behind


def test_all_that_passes_at_once_is_removed_in_slices() -> None:
    lab, here, there = pair()
    keys = [b"%d" % i for i in range(300)]
    for key in keys:
        write(here if key < b"2" else there, Assign(key, b"v"), Expire(key, lab.wall_ms + 100))
    for _ in range(2):
        lab.exchange(there, here, whole=True)
        lab.exchange(here, there, whole=True)
        lab.wall_ms += 1000
    removed = 0
    for subject in (here, there):
        while True:
            removed += remove_passed(subject.replica, 7)
            subject.replica._check()
            if not subject.replica.keyspace.deadlines.is_behind:
                break
        subject.replica.commit()
        subject.note()
    assert removed == len(keys)
    lab.exchange(there, here, whole=True)
    lab.exchange(here, there, whole=True)
    assert here.replica.keyspace.deadlines.count == there.replica.keyspace.deadlines.count == 0
    assert not here.replica.keyspace.deadlines.is_behind
