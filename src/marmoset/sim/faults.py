"""What goes wrong (beside the floors): faults drawn by weight, one after another, while clients write.

A fault that cannot be done just now is left out. Enough members are always kept that a majority can be brought
together again: a member is taken away only while those that stay are more than half of the largest electorate that
anybody knows.
"""

from contextlib import suppress
from random import Random
from typing import Final, final

from marmoset.errors import UsageError
from marmoset.ids import id_text
from marmoset.node import Exit, Notify
from marmoset.node.links import SPONSORING
from marmoset.sim.burials import AUTOMATIC, check_burial
from marmoset.sim.cluster import Cluster
from marmoset.sim.history import Breach
from marmoset.sim.host import Host
from marmoset.sim.profiles import HOUR_MS, Knobs
from marmoset.sim.world import US_PER_MS

SKEW_MS_MAX: Final = 3000
"""Within half of `clock_skew_max`, so that any two clocks agree well enough."""
FAR_MS: Final = 30_000
PAUSES_MS: Final = (100, 700, 3000, 7000)
SLEEPS_MS: Final = (20_000, 60_000)
"""Longer than anybody is waited for in a profile that buries: to these clusters it is what an hour is to others."""


@final
class Faults:
    """The faults of one run."""

    def __init__(self, cluster: Cluster, knobs: Knobs, rng: Random) -> None:
        self.cluster = cluster
        self.knobs = knobs
        self.rng = rng
        self.counts = cluster.counts
        self._away: list[Host] = []
        """Who is made an exile just now, and is no part of any majority."""

    def one(self) -> str:
        """Do something; what it was."""
        weights = self.knobs.weights
        if not weights:
            return ""
        names = list(weights)
        name = self.rng.choices(names, [weights[each] for each in names])[0]
        done = self._do(name)
        return f"{name} {done}" if done else ""

    def let_begin(self) -> str:
        """Let everybody hear everybody, with clocks that agree: a group has to begin first."""
        self.cluster.network.heal()
        for host in self.cluster.hosts:
            host.time.skew_ms = 0
        return ""

    def _do(self, name: str) -> str:
        if name.startswith("cut"):
            return self._cut(name)
        if name == "heal":
            return self._heal()
        if name in ("crash", "power_off", "leave"):
            return self._take_away(name)
        if name == "restart":
            return self._restart()
        if name == "crash_sponsor":
            return self._crash_sponsor()
        if name == "join":
            return self._join()
        if name in ("exile", "contradict"):
            return self._exile() if name == "exile" else self._contradict()
        return self._slow(name) if name in ("pause", "sleep", "lag") else self._clock(name)

    # -- the network

    def _cut(self, name: str) -> str:
        rng = self.rng
        names = [host.name for host in self.cluster.hosts]
        if len(names) < 2 or len(self.cluster.network.cuts) > 3 * len(names) * len(names) // 4:
            return ""
        if name == "cut_one_way":
            pairs = [tuple(rng.sample(names, 2))]
        elif name == "cut_node":
            one = rng.choice(names)
            pairs = [pair for other in names if other != one for pair in ((one, other), (other, one))]
        elif name == "cut_group":
            group = set(rng.sample(names, rng.randint(1, len(names) // 2)))
            pairs = [(a, b) for a in names for b in names if (a in group) != (b in group)]
        else:  # only neighbours in a ring still hear each other
            ring = rng.sample(names, len(names))
            near = {(a, b) for a, b in zip(ring, ring[1:] + ring[:1], strict=True)}
            pairs = [(a, b) for a in names for b in names if a != b and (a, b) not in near and (b, a) not in near]
        if not pairs:
            return ""
        self.cluster.network.cut([(a, b) for a, b in pairs])
        self.counts["cuts"] += 1
        return f"{len(pairs)} ways"

    def _heal(self) -> str:
        if not self.cluster.network.cuts:
            return ""
        self.cluster.network.heal()
        self.counts["heals"] += 1
        return "all"

    # -- members

    def _spare(self, count: int = 1) -> list[Host]:
        """Hosts so many of which can be taken away with a majority staying, of everybody that anyone counts or is
        letting in. Whom an exile has let in is not known to the others, and brings no majority together with them."""
        here = [host for host in self.cluster.hosts if host.is_serving and not self._is_away(host)]
        rosters = [host.node.replica.roster.members for host in here if host.node is not None]
        serving = [h for h in here if h.node is not None and all(h.node.replica.me in roster for roster in rosters)]
        if len(serving) <= count:
            return []
        nodes = [host.node for host in self.cluster.hosts if host.node is not None]
        electorate = {replica for node in nodes for replica in node.replica.roster.electorate()}
        joining = sum(node.state in ("waiting", "joining") for node in nodes)
        is_safe = 2 * (len(serving) - count) > len(electorate) + joining
        return serving if is_safe or self.knobs.quorum == "one" else []

    def _is_away(self, host: Host) -> bool:
        """Whether a host is cut off to be buried, or was buried and does not know it yet."""
        assert host.node is not None
        me = host.node.replica.me
        rosters = [other.node.replica.roster for other in self.cluster.hosts if other.node is not None]
        return host in self._away or any(me in roster.buried or me in roster.graves for roster in rosters)

    def _take_away(self, name: str) -> str:
        spare = self._spare()
        if not spare:
            return ""
        host = self.rng.choice(spare)
        if name == "leave":
            if len(spare) <= max(2, self.knobs.nodes - 2):
                return ""
            if host.is_stopped:
                return ""
            assert host.node is not None
            host.node.leave()
            host.settle()
        else:
            host.crash(silent=name == "power_off")
            self.counts["crashes"] += 1
        return host.name

    def _restart(self) -> str:
        down = [host for host in self.cluster.hosts if host.node is None]
        return self.cluster.restart(self.rng.choice(down)) if down else ""

    def _crash_sponsor(self) -> str:
        """Have somebody join, and the machine that lets it in end in the middle of that, both of them now and then."""
        cluster, rng = self.cluster, self.rng
        newcomer = self._restart() or self._join()
        joining = next((host for host in cluster.hosts if host.name == newcomer), cluster.hosts[0])
        delay_us, tries = rng.choice([0, 0, 2000, 20_000]), 600  # a name that was there before is asked for first
        wanted = rng.choice([_is_sponsor, self._is_known_sponsor, self._is_known_sponsor])

        def look() -> None:
            nonlocal tries
            tries -= 1
            sponsors = [host for host in self._spare() if wanted(host)]
            if sponsors:
                host = rng.choice(sponsors)
                run = host.run
                cluster.world.after(delay_us, lambda: end(host, run))
            elif tries:
                cluster.world.after(5 * US_PER_MS, look)

        def end(host: Host, run: int) -> None:
            if host.run == run and host in self._spare():
                host.crash(silent=rng.random() < 0.5)
                self.counts["crashes"] += 1
                self.counts["sponsors_lost"] += 1
                if joining.node is not None and not joining.is_serving and rng.random() < 0.5:
                    joining.crash(silent=True)

        if newcomer:
            look()
        return newcomer

    def _is_known_sponsor(self, host: Host) -> bool:
        """Whether a host has let somebody in who is not born, and others know it."""
        if host.node is None:
            return False
        unborn = host.node.replica.roster.unborn_of(host.node.replica.me)
        others = [other.node for other in self.cluster.hosts if other is not host and other.is_serving]
        return any(r in other.replica.roster.members for r in unborn for other in others if other is not None)

    def _join(self) -> str:
        if sum(host.node is not None for host in self.cluster.hosts) >= self.knobs.nodes + 2:
            return ""
        return self.cluster.add_host().name

    def _exile(self) -> str:
        """Somebody cannot be heard, or is stopped, goes on writing, is buried, and comes back; sometimes two of them,
        who hear each other."""
        rng, cluster = self.rng, self.cluster
        count = rng.choice([1, 1, 2])
        spare = [] if self._away else [host for host in self._spare(count) if not host.is_stopped]
        if len(spare) < max(2, count):
            return ""
        away = rng.sample(spare, count)
        names = [host.name for host in away]
        pairs = [(a, b.name) for a in names for b in cluster.hosts if b.name not in names]
        stopped = count == 1 and rng.random() < 0.3
        if stopped:
            away[0].stop()
        else:
            cluster.network.cut([*pairs, *((b, a) for a, b in pairs)])
        self._away = away
        runs = [host.run for host in away]
        silent_us = self.knobs.unreachable_after_ms * US_PER_MS + rng.randint(0, 1_000_000)

        def bury() -> None:
            judges = [host for host in cluster.hosts if host.is_serving and not host.is_stopped and host not in away]
            for victim in away:
                if judges and victim.node is not None:
                    judge = rng.choice(judges)
                    assert judge.node is not None
                    with suppress(UsageError):
                        judge.node.bury(id_text(victim.node.replica.me), force=False)
                    judge.settle()

        tries = 8000 if count == 1 and rng.random() < 0.5 else 0
        in_the_middle, most = rng.random() < 0.7, 0

        def go_again() -> None:
            """It is back, and is cut off again before it is done, or stops in the middle of its submissions."""
            nonlocal tries, most, stopped
            tries -= 1
            back = away[0]
            coming = back.node is not None and back.node.state == "rehabilitating"
            left = back.node.rehabilitating.operations_left if coming and back.node is not None else 0
            most = max(most, left)
            if coming and not back.is_stopped and (not in_the_middle or 0 < left < most):
                tries, stopped = 0, in_the_middle
                self._away = away
                self.counts["exiled_again"] += 1
                if stopped:
                    back.stop()
                else:
                    cluster.network.cut([*pairs, *((b, a) for a, b in pairs)])
                cluster.world.after(silent_us, bury)
                cluster.world.after(silent_us + rng.randint(100_000, 3_000_000), heal)
            elif tries and back.run == runs[0]:
                cluster.world.after(US_PER_MS // 2, go_again)

        def heal() -> None:
            self._away = []
            cluster.network.cuts.difference_update([*pairs, *((b, a) for a, b in pairs)])
            for host, run in zip(away, runs, strict=True):
                if stopped and host.run == run and host.is_stopped:
                    host.go_on()
            if tries:
                go_again()

        cluster.world.after(silent_us, bury)
        more_ms = self.knobs.presumed_dead_after_ms if self.knobs.presumed_dead_after_ms < HOUR_MS else 0
        cluster.world.after(silent_us + rng.randint(100_000, 3_000_000 + more_ms * US_PER_MS), heal)
        return " and ".join(names)

    def _contradict(self) -> str:
        """Two members bury each other, one after the other, each together with all that are between them; neither hears
        of the other's burial in time, those between may have heard of one."""
        rng, cluster = self.rng, self.cluster
        spare = [] if self._away else [host for host in self._spare(2) if not host.is_stopped]
        if len(spare) < 4:
            return ""
        first, second = self._away = rng.sample(spare, 2)
        silent_us = self.knobs.unreachable_after_ms * US_PER_MS + rng.randint(0, 1_000_000)

        def around(host: Host) -> list[tuple[str, str]]:
            others = [other.name for other in cluster.hosts if other is not host]
            return [pair for other in others for pair in ((host.name, other), (other, host.name))]

        def bury(judge: Host, victim: Host) -> None:
            if judge.is_serving and victim.is_serving and judge.node is not None and victim.node is not None:
                with suppress(UsageError):
                    judge.node.bury(id_text(victim.node.replica.me), force=False)
                    self.counts["burials_contradictory"] += judge.node.replica.me in victim.node.replica.roster.buried
                judge.settle()

        def turn() -> None:
            cluster.network.cut(around(first))
            cluster.network.cuts.difference_update(set(around(second)) - set(around(first)))
            cluster.network.kick()
            cluster.world.after(2 * silent_us, lambda: bury(second, first))
            cluster.world.after(2 * silent_us + rng.randint(0, 3_000_000), end)

        def end() -> None:
            self._away = []
            cluster.network.cuts.difference_update([*around(first), *around(second)])
            cluster.network.kick()

        cluster.network.cut(around(second))
        cluster.world.after(silent_us, lambda: bury(first, second))
        cluster.world.after(silent_us + rng.choice([0, 5000, 50_000]), turn)
        return f"{first.name} and {second.name}"

    # -- hosts

    def _slow(self, name: str) -> str:
        awake = [host for host in self.cluster.hosts if host.node is not None and not host.is_stopped]
        if len(awake) < 2:
            return ""
        host, rng = self.rng.choice(awake), self.rng
        if name == "lag":
            host.lag_us = rng.choice([0, 20_000, 150_000])
            return f"{host.name} {host.lag_us}"
        host.stop()
        self.counts["pauses"] += 1
        self.counts["sleeps"] += name == "sleep"
        length_ms, run = rng.choice(PAUSES_MS if name == "pause" else SLEEPS_MS), host.run

        def wake() -> None:
            if host.run == run and host.is_stopped:
                host.go_on()

        self.cluster.world.after(length_ms * US_PER_MS, wake)
        return f"{host.name} {length_ms} ms"

    def _clock(self, name: str) -> str:
        host, rng = self.rng.choice(self.cluster.hosts), self.rng
        if name == "skew":
            host.time.skew_ms = rng.randint(-SKEW_MS_MAX, SKEW_MS_MAX)
        elif name == "jump":
            host.time.skew_ms = max(-SKEW_MS_MAX, min(SKEW_MS_MAX, host.time.skew_ms + rng.choice([-2000, -50, 2000])))
        else:
            if any(abs(other.time.skew_ms) > SKEW_MS_MAX for other in self.cluster.hosts):
                return ""  # two wrong clocks may believe each other
            host.time.skew_ms = rng.choice([-FAR_MS, FAR_MS])
        self.counts["clock_changes"] += 1
        return f"{host.name} {host.time.skew_ms}"


def _is_sponsor(host: Host) -> bool:
    return host.node is not None and any(link.state == SPONSORING for link in host.node.links.values())


def watch_exit(cluster: Cluster, host: Host, effect: Exit) -> None:
    """A node has ended by itself: whoever says that it has left has handed on everything that it had."""
    cluster.trace.line(cluster.world.now_us, f"{host.name} exits {effect.code} {effect.why}")
    witness = host.witness
    if effect.why == "left":
        cluster.counts["leaves"] += 1
        assert witness is not None
        others = [h.witness.vector for h in cluster.hosts if h is not host and h.is_serving and h.witness is not None]
        own = witness.vector.get(witness.me, 0)
        if others and all(vector.get(witness.me, 0) < own for vector in others):
            raise Breach(f"{host.name} has left, and nobody has everything that it wrote (4.2)")


def watch_notice(cluster: Cluster, host: Host, notice: Notify) -> None:
    """A node says something: it is traced and counted."""
    cluster.trace.line(cluster.world.now_us, f"{host.name} says {notice.level} {notice.event} {notice.fields}")
    if notice.event == "presumed dead":
        if not cluster.knobs.may_bury_the_living:
            raise Breach(f"{host.name} is alive and was presumed dead by {notice.fields.get('by')}")
        cluster.counts["buried_alive"] += 1
    if notice.event == "began a new group":
        cluster.counts["groups_begun"] += 1
        cluster.counts["groups_elected"] += bool(host.config.bootstrap_expect)
        if cluster.counts["groups_begun"] > 1:
            raise Breach(f"{host.name} begins a second group (4.1)")
    if notice.event == "link lost":
        cluster.counts["links_lost"] += 1
    elif notice.event == "serving":
        cluster.counts["joins"] += int(bool(host.config.join))
    elif "witnesses" in notice.fields:
        cluster.counts["burials"] += 1
        cluster.counts["burials_automatic"] += notice.event == AUTOMATIC
        cluster.counts["burials_early"] += notice.event == AUTOMATIC and bool(notice.fields["early"])
        check_burial(cluster, host, notice)
