"""Removing keys whose deadline has passed (floor 5, DESIGN.md section 5).

A replica whose clock has passed a deadline treats the key as absent at once. The key is removed by an ordinary reset,
and only when the known clocks of all counted members have passed the deadline: a clock that is known came behind
everything that its owner did before, so by then every PERSIST or EXPIRE that still believed in the key has been
observed here. The replica that set the deadline logs the reset; if that one is gone, the present member with the
lowest id does. Skew only delays removal.
"""

from typing import Final

from marmoset.clocks import stamp_ms
from marmoset.codec.operations import Reset
from marmoset.replication.replica import Replica

RESET_BYTES: Final = 8
"""What a reset takes in a batch beside its key, at most."""


def observe_time(replica: Replica) -> None:
    """Let reads know what our clock says: the hybrid clock, which is never behind the wall clock or a peer's. O(1)."""
    replica.keyspace.now_ms = max(replica.wall_ms(), stamp_ms(replica.clock.stamp))


def remove_passed(replica: Replica, limit: int) -> int:
    """Log the removal of some keys whose deadline all members have passed; how many. O(shards + limit x log n +
    members)."""
    keyspace = replica.keyspace
    deadlines = keyspace.deadlines
    if not deadlines.count:
        return 0
    observe_time(replica)
    clocks = replica.stability.clocks
    known_ms = min(
        (stamp_ms(clocks.get(member, 0)) for member in replica.roster.counted() if member != replica.me),
        default=keyspace.now_ms,
    )
    present = replica.roster.present()
    if not deadlines.left_to.issubset(present):
        deadlines.look_again()
    removed = 0
    for shard, key in deadlines.take_passed(min(known_ms, keyspace.now_ms + 1), limit):
        deadline = deadlines.get(shard, key)
        if deadline is None:
            continue  # it stood in the queue twice, and is removed
        remover = deadline[1] if deadline[1] in present else present[0]
        if remover == replica.me:
            replica.submit(Reset(key))
            replica.end_of_command(len(key) + RESET_BYTES)
            removed += 1
        else:
            deadlines.left_to.add(remover)
    return removed
