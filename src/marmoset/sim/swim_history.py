"""Histories of membership alone (beside the floors): one thing after another goes wrong, and the rules must hold.

A history is a row of *episodes* in one `SwimCluster`: a member is slow, is paused, hears nobody, is cut off with
others, or crashes. Each ends with a heal. What must hold, whatever the seed:

- nobody who is well is held unreachable by another one who is well, and on their side of a cut: who is slow or deaf
  takes nobody down. Not judged is the moment after the heal of a cut, when rumours of both sides meet;
- whoever was paused blames nobody for the time that it lost;
- nobody is suspected on the word of somebody who is held unreachable himself;
- a member that is held unreachable had the time to refute that the number of its accusers, as far as the one who holds
  it so can have heard of them, leaves it: all of it on the word of one (Lifeguard's LHA-Suspicion);
- a suspicion, or worse, is ended by a newer incarnation alone;
- a crash is known to everybody in time, and nobody holds the dead alive again;
- after a heal everybody holds everybody alive, in time; and all are followed by all, always.

Everything follows from the seed.
"""

from collections import Counter
from math import log
from random import Random
from typing import Final, final

from marmoset.codec.packets import SAYS_SUSPECT, SAYS_UNREACHABLE, Claim, decode_packet
from marmoset.membership.profiles import LOOPBACK
from marmoset.membership.states import ALIVE, SUSPECT, UNREACHABLE
from marmoset.membership.suspicion import shortest_ms
from marmoset.sim.history import Breach
from marmoset.sim.swim_cluster import Member, SwimCluster, index_of, replica_of

SIZES: Final = (3, 4, 5, 8, 16)
EPISODES: Final = ("slow", "flapping", "paused", "deaf", "cut", "crash")
EPISODES_OF_A_RUN: Final = 8
LOSSES: Final = (0.0, 0.0, 0.01)
WARM_UP_MS: Final = 2000
CRASH_KNOWN_MS: Final = 20_000
"""Within this everybody knows of a crash."""
HEALED_MS: Final = 60_000
"""Within this everybody holds everybody alive after a heal."""
POLL_MS: Final = 200


class Stuck(Exception):
    """Something that must happen has not happened in time."""


@final
class SwimHistory:
    """One history, and what is known of it from outside."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(f"{seed} swim history")
        self.profile = LOOPBACK
        size = self.rng.choice(SIZES)
        loss = self.rng.choice(LOSSES)
        self.cluster = SwimCluster(seed, self.profile, size, loss_share=loss, double_share=loss)
        self.cluster.on_change = self._changed
        self.cluster.on_arrival = self._arrived
        self.cluster.on_digest = self._digest
        self.counts: Counter[str] = Counter()
        self.unwell: set[int] = set()
        """Members to which something is done; others are well."""
        self.woken: int | None = None
        """Who was paused, and is to blame nobody for that."""
        self.side: set[int] = set()
        """Members on one side of a cut."""
        self.down: set[int] = set()
        self._suspected: dict[tuple[int, int], tuple[int, int]] = {}
        """(who, whom) to when that suspicion began, and how many were reachable then."""
        self._accusers: dict[tuple[int, int], set[int]] = {}
        """(who, whom) to those who may have been heard as accusers."""
        self._under: dict[tuple[int, int], int] = {}
        """(who, whom) to the incarnation under which it was suspected or held unreachable."""
        self._unreachable: dict[tuple[int, int], int] = {}
        """(who, whom) to since when it holds it unreachable."""
        self._certain: set[tuple[int, int]] = set()
        """(who, whom) where somebody was heard to be certain."""

    @property
    def up(self) -> list[int]:
        """Members that have not crashed."""
        return [member.index for member in self.cluster.members if member.index not in self.down]

    def play(self) -> None:
        """All episodes.

        Raises:
            Breach: a rule does not hold.
            Stuck: the cluster does not heal in time.
        """
        self._run(WARM_UP_MS)
        for _ in range(EPISODES_OF_A_RUN):
            name = self.rng.choice(EPISODES)
            self.counts[name] += 1
            getattr(self, f"_{name}")()
            self._heal()

    # -- episodes

    def _some(self, most: int) -> list[int]:
        up = self.up
        chosen = self.rng.sample(up, min(len(up) - 1, self.rng.randint(1, most)))
        self.unwell.update(chosen)
        return chosen

    def _slow(self) -> None:
        """A few are slow, again and again."""
        chosen = self._some(max(1, len(self.up) // 8))
        for _ in range(self.rng.randint(1, 4)):
            for index in chosen:
                self.cluster.slow(index, self.rng.randint(500, 8000))
            self._run(self.rng.randint(500, 8000))

    def _flapping(self) -> None:
        """One is cut off for a moment, again and again, so that it is suspected and refutes, and may end so."""
        (index,) = self._some(1)
        others = [other for other in self.up if other != index]
        for _ in range(self.rng.randint(1, 3)):
            self.cluster.cut([index], others)
            self._run(self.rng.randint(300, 1500))
            self.cluster.heal()
            self._run(self.rng.choice([0, 200, 1000]))
        if self.rng.random() < 0.5 and len(self.up) > 2:
            self._end(index)

    def _paused(self) -> None:
        """One runs not at all for a time, now and then while it suspects others because it was cut off."""
        (index,) = self._some(1)
        if self.rng.random() < 0.5:
            self.cluster.cut([index], [other for other in self.up if other != index])
            self._run(self.rng.randint(500, 2500))
            self.cluster.heal()
        self.cluster.pause(index)
        self._run(self.rng.choice([1000, 5000, 60_000]))
        self.woken = index
        self.cluster.go_on(index)

    def _deaf(self) -> None:
        """One hears nobody, and says what it thinks of that to all."""
        (index,) = self._some(1)
        self.cluster.cut([other for other in self.up if other != index], [index], one_way=True)
        self._run(self.rng.randint(1000, 20_000))

    def _cut(self) -> None:
        """Two sides do not hear each other, until everybody knows that."""
        up = self.up
        self.side = set(self.rng.sample(up, self.rng.randint(1, len(up) - 1)))
        rest = [index for index in up if index not in self.side]
        self.cluster.cut(sorted(self.side), rest)
        self._run(self.rng.randint(1000, 30_000))

    def _crash(self) -> None:
        if len(self.up) > 2:
            (index,) = self._some(1)
            self._end(index)

    def _end(self, index: int) -> None:
        self.cluster.crash(index)
        self.down.add(index)
        self._run_until(
            lambda: set(self.cluster.states(index)) == {UNREACHABLE}, CRASH_KNOWN_MS, f"the end of {index} is not known"
        )

    def _heal(self) -> None:
        self.cluster.heal()
        for member in self.cluster.members:
            member.free_us = min(member.free_us, self.cluster.world.now_us)
        self._run_until(self.cluster.all_alive, HEALED_MS, "not everybody is held alive after the heal")
        self._run(self.rng.randint(0, 3000))
        self.unwell.clear()
        self.side.clear()
        self.woken = None
        for index in self.down:
            if set(self.cluster.states(index)) != {UNREACHABLE}:
                raise Breach(f"{index} has crashed and is held {sorted(set(self.cluster.states(index)))} again")

    # -- time

    def _run(self, ms: int) -> None:
        for _ in range(0, ms, POLL_MS):
            self.cluster.run_ms(POLL_MS)
            self._check()

    def _run_until(self, holds: object, limit_ms: int, problem: str) -> None:
        assert callable(holds)
        began_ms = self.cluster.now_ms
        while not holds():
            if self.cluster.now_ms - began_ms > limit_ms:
                raise Stuck(f"{problem}, after {limit_ms} ms")
            self._run(POLL_MS)

    # -- what must hold

    def _check(self) -> None:
        self.cluster._check()
        everybody = {replica_of(member) for member in self.cluster.members}
        for member in self.cluster.members:
            if set(member.swim.peers) != everybody - {replica_of(member)}:
                raise Breach(f"{member.index} does not follow all members any more")

    def _arrived(self, member: Member, data: bytes) -> None:
        for update in decode_packet(data).updates:
            if isinstance(update, Claim) and update.kind in (SAYS_SUSPECT, SAYS_UNREACHABLE):
                pair = (member.index, index_of(update.subject))
                self._accusers.setdefault(pair, set()).add(index_of(update.by))
                if update.kind == SAYS_UNREACHABLE:
                    self._certain.add(pair)

    def _digest(self, member: Member, by: int) -> None:
        for subject in self.up:
            self._accusers.setdefault((member.index, subject), set()).add(index_of(by))

    def _changed(self, member: Member, subject: int, before: str, state: str) -> None:
        pair = (member.index, index_of(subject))
        incarnation = member.swim.peers[subject].incarnation
        if state != ALIVE:
            self._under[pair] = incarnation
        elif incarnation <= self._under.pop(pair, -1):
            raise Breach(f"{pair[0]} holds {pair[1]} alive again, which is still in incarnation {incarnation}")
        if state == SUSPECT:
            self.counts["suspicions"] += 1
            self._judge_accusers(member, subject)
            came_back = before == UNREACHABLE
            self._suspected[pair] = (self.cluster.now_ms, member.swim.view.reachable - came_back)
        elif state == UNREACHABLE:
            self.counts["verdicts"] += 1
            self._judge_time(pair, before)
            self._judge_verdict(*pair)
        if state != SUSPECT:
            for table in (self._suspected, self._accusers):
                table.pop(pair, None)
            self._certain.discard(pair)
        self._unreachable.pop(pair, None)
        if state == UNREACHABLE:
            self._unreachable[pair] = self.cluster.now_ms

    def _judge_accusers(self, member: Member, subject: int) -> None:
        suspicion = member.swim.peers[subject].suspicion
        for by in sorted(() if suspicion is None else suspicion.accusers):
            since_ms = self._unreachable.get((member.index, index_of(by)), self.cluster.now_ms)
            if since_ms < self.cluster.now_ms:
                raise Breach(
                    f"{member.index} suspects {index_of(subject)} on the word of {index_of(by)}, which it holds "
                    f"unreachable since {self.cluster.now_ms - since_ms} ms"
                )

    def _judge_time(self, pair: tuple[int, int], before: str) -> None:
        if before != SUSPECT or pair not in self._suspected:
            raise Breach(f"{pair[0]} holds {pair[1]} unreachable without having suspected it")
        began_ms, reachable = self._suspected[pair]
        accusers = len({pair[0], *self._accusers.get(pair, ())} - {pair[1]})
        shortest = shortest_ms(self.profile, reachable)
        needed = max(0, min(self.profile.confirmations, reachable - 2))
        longest = self.profile.suspicion_stretch * shortest
        if not needed or (accusers > 1 and pair in self._certain):
            due = float(shortest)
        elif accusers == 1:
            due = float(longest)
        else:
            due = max(shortest, longest - (longest - shortest) * log(min(accusers, needed + 1)) / log(needed + 1))
        took = self.cluster.now_ms - began_ms
        if took < due - 2:
            raise Breach(f"{pair[0]} gives {pair[1]} {took} ms to refute, on the word of {accusers}: {due:.0f} are due")

    def _judge_verdict(self, who: int, whom: int) -> None:
        if self.side and not self.cluster.cuts:
            return  # what one side said of the other is still under way, and may overtake its refutation
        unwell = self.unwell if who != self.woken else self.unwell - {who}
        if unwell.isdisjoint((who, whom)) and whom not in self.down and (who in self.side) == (whom in self.side):
            raise Breach(f"{who} holds {whom} unreachable, and both are well")


def play(seed: int) -> tuple[str, bool, dict[str, int]]:
    """One history: what is wrong, whether it is a breach, or else only late, and what was provoked."""
    history = SwimHistory(seed)
    try:
        history.play()
    except Breach as breach:
        return str(breach), True, dict(history.counts)
    except Stuck as stuck:
        return str(stuck), False, dict(history.counts)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}", True, dict(history.counts)
    return "", False, dict(history.counts)
