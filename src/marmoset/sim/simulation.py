"""One simulated run (beside the floors): a safety phase, a heal, a liveness phase with a bound.

*Safety*: clients write while faults happen; everything that must hold at any moment is checked at ticks and behind
every fault. *Heal*: cuts end, hosts go on, clocks agree, most of what crashed is started again, the rest stays dead
and has to be buried. *Liveness*: within `liveness_ms`, or later where a snapshot is still growing then, all have
everything, nothing is left in any log, the dead are forgotten; then what is shown is compared with the specification,
and nothing else may be kept.

One seed gives one trace: nothing here reads a clock, and every random draw comes from a generator that the seed
names.
"""

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Final, TextIO, final

from marmoset.errors import UsageError
from marmoset.ids import id_text
from marmoset.node import Notify
from marmoset.sim import checks
from marmoset.sim.cluster import Cluster
from marmoset.sim.faults import Faults, watch_exit, watch_notice
from marmoset.sim.history import Breach
from marmoset.sim.host import Host
from marmoset.sim.profiles import HOUR_MS, Knobs, draw
from marmoset.sim.returns import Returns
from marmoset.sim.trace import Trace
from marmoset.sim.workload import Workload
from marmoset.sim.world import US_PER_MS

HOLDS: Final = 0
BREACH: Final = 1
USAGE: Final = 2
STUCK: Final = 3
"""Exit codes of `marmoset sim`."""

REST_POLL_MS: Final = 250
SNAPSHOT_MS: Final = 10_000
STRETCH_MAX: Final = 4
"""Past the bound for liveness a run goes on as long as a snapshot has grown in the last `SNAPSHOT_MS`, up to so many
times the bound: with one element in a message it is many times as long as what it brings."""
KEYS_CHECKED: Final = 4
BEGIN_MS_MAX: Final = 4000
"""For how long faults happen while a group is to begin by vote, which may need all of the nodes."""
IDLE_MS_MAX: Final = 120_000
"""A respite is given when no operation was made for so long, which must not be where a majority is always in touch."""
RESPITE_MS: Final = 30_000
"""How long nothing goes wrong, at least, in a respite."""


def per_operation(counts: Mapping[str, int]) -> dict[str, float]:
    """How much went over the network for each operation: messages and bytes over links, and datagrams."""
    operations = max(1, counts["operations"])
    return {name: round(counts[name] / operations, 1) for name in ("messages", "bytes", "datagrams")}


@dataclass(slots=True)
class Outcome:
    """What became of a run."""

    seed: int
    knobs: Knobs
    code: int
    problem: str
    counts: dict[str, int]
    trace: str
    at_ms: int
    details: str = field(default="", repr=False)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "seed": self.seed,
            "code": self.code,
            "problem": self.problem,
            "simulated_ms": self.at_ms,
            "trace": self.trace,
            "counts": dict(sorted(self.counts.items())),
            "per_operation": per_operation(self.counts),
            "knobs": asdict(self.knobs),
        }


@final
class Simulation:
    """A run, from its seed to its outcome."""

    def __init__(self, seed: int, knobs: Knobs, trace_file: TextIO | None = None) -> None:
        self.seed = seed
        self.knobs = knobs
        self.trace = Trace(trace_file)
        self.cluster = Cluster(seed, knobs, self.trace)
        self.cluster.on_exit = watch_exit
        self.returns = Returns()
        self.cluster.on_notify = self._notified
        self.rng = Random(f"{seed} simulation")
        self.workload = Workload(knobs, Random(f"{seed} workload"))
        self.faults = Faults(self.cluster, knobs, Random(f"{seed} faults"))
        self._is_safety = True
        self._checked = 0
        self._removed: dict[str, int] = {}
        self._made_us = 0
        self._made = 0
        self._respite_us: int | None = None
        """Since when nothing goes wrong, so that clients can write again."""

    def run(self) -> Outcome:
        """Play it. Never raises for what the nodes do."""
        problem, details, code = "", "", HOLDS
        try:
            problem = self._safety()
            if not problem:
                self._heal()
                problem = self._liveness()
            code = STUCK if problem else HOLDS
        except Breach as breach:
            problem, code = str(breach), BREACH
        except Exception as fault:
            problem, code, details = f"{type(fault).__name__}: {fault}", BREACH, traceback.format_exc()
        return Outcome(
            self.seed,
            self.knobs,
            code,
            problem,
            self._counts(),
            self.trace.digest(),
            self.cluster.world.now_us // US_PER_MS,
            details,
        )

    def _notified(self, cluster: Cluster, host: Host, notice: Notify) -> None:
        watch_notice(cluster, host, notice)
        self.returns.handle_notice(cluster, host, notice)

    def _counts(self) -> dict[str, int]:
        cluster, counts = self.cluster, self.cluster.counts
        network = cluster.network
        counts["operations"] = len(cluster.history.records)
        counts["messages"] = network.messages
        counts["bytes"] = network.bytes
        counts["datagrams"] = network.datagrams
        counts["datagrams_lost"] = network.datagrams_lost
        counts["links_broken"] = network.breaks
        counts["links_paused"] = network.pauses
        counts["events"] = cluster.world.events
        counts["transactions"] = self.workload.transactions
        counts["watches_touched"] = self.workload.watches_touched
        counts["writes_refused"] = self.workload.refused
        counts["waits_answered"] = sum(waiter.replies for waiter in self.workload.waiters)
        counts["keys_checked"] = self._checked
        counts["expiries"] = len(cluster.history.expiries)
        for host in cluster.hosts:
            if host.node is not None:
                replica = host.node.replica
                counts["folds"] += replica.counters["batches_folded"]
                counts["forgotten"] += replica.counters["forgotten"]
                counts["evictions"] += host.node.counters["evicted_keys"]
        return dict(counts)

    # -- phases

    def _safety(self) -> str:
        """Let clients write and faults happen: an empty text, or why that came to nothing."""
        cluster, knobs, world = self.cluster, self.knobs, self.cluster.world
        for _ in range(knobs.nodes):
            cluster.add_host()
        world.after(knobs.turn_gap_us, self._turn)
        world.after(knobs.fault_gap_ms * US_PER_MS, self._fault)
        world.after(knobs.check_gap_ms * US_PER_MS, self._tick)
        while self._made < knobs.steps:
            if world.now_us - self._made_us >= IDLE_MS_MAX * US_PER_MS:
                if knobs.keeps_a_majority or self._respite_us is not None:
                    break
                self._made_us = self._respite_us = world.now_us
                cluster.counts["respites"] += 1
                self._recover(restarted_share=1.0)
            world.run_until(world.now_us + 50 * US_PER_MS)
            made = len(cluster.history.records)
            if made != self._made:
                self._made, self._made_us = made, world.now_us
                if self._respite_us is not None and world.now_us - self._respite_us > RESPITE_MS * US_PER_MS:
                    self._respite_us = None
        self._is_safety = False
        return f"no client could write for {IDLE_MS_MAX} ms" if self._made < knobs.steps else ""

    def _turn(self) -> None:
        """Some client says something; sooner or later the next one does, in bursts and lulls."""
        if not self._is_safety:
            return
        rng, cluster = self.rng, self.cluster
        serving = cluster.serving()
        if serving:
            host = rng.choice(serving)
            raw = self.workload.turn(host, [h.name for h in cluster.hosts])
            self.trace.line(cluster.world.now_us, f"{host.name} answers {raw!r}")
        gap = self.knobs.turn_gap_us
        gap_us = rng.randint(1000, 2_000_000) if rng.random() < 0.004 else rng.randint(0, 2 * gap)
        cluster.world.after(gap_us, self._turn)

    def _fault(self) -> None:
        if not self._is_safety:
            return
        cluster = self.cluster
        begun = cluster.counts["groups_begun"] or cluster.world.now_us < BEGIN_MS_MAX * US_PER_MS
        done = self.faults.one() if begun and self._respite_us is None else self.faults.let_begin()
        if self._respite_us is not None:
            self._help(is_late=True)
        if done:
            self.trace.line(cluster.world.now_us, f"fault {done}")
            self._check_one()
        gap_us = self.knobs.fault_gap_ms * US_PER_MS
        cluster.world.after(self.rng.randint(gap_us // 4, 2 * gap_us), self._fault)

    def _tick(self) -> None:
        self._check_one()
        checks.check_all_knowledge(self.cluster)
        self.cluster.world.after(self.knobs.check_gap_ms * US_PER_MS, self._tick)

    def _check_one(self) -> None:
        host = self.rng.choice(self.cluster.hosts)
        known = sorted(self.cluster.history.by_key)
        keys = self.rng.sample(known, min(KEYS_CHECKED, len(known)))
        self._checked += len(keys)
        checks.check_node(self.cluster, host, keys)
        if host.node is not None:
            removed = checks.removed_elements(host.node.replica.keyspace)
            self.cluster.counts["elements_dropped"] += max(0, self._removed.get(host.name, 0) - removed)
            self._removed[host.name] = removed

    def _heal(self) -> None:
        """Everything works again; some hosts stay dead."""
        cluster = self.cluster
        for host in cluster.hosts:
            checks.check_node(cluster, host, sorted(cluster.history.by_key)[:KEYS_CHECKED])
        self._recover(restarted_share=0.6)
        cluster.counts["dead_for_good"] += sum(host.node is None for host in cluster.hosts)

    def _recover(self, restarted_share: float) -> None:
        cluster, rng = self.cluster, self.rng
        self.trace.line(cluster.world.now_us, "everything heals")
        cluster.network.heal()
        for host in cluster.hosts:
            host.time.skew_ms = max(-1000, min(1000, host.time.skew_ms))
            host.lag_us = 0
            if host.is_stopped:
                host.go_on()
        down = [host for host in cluster.hosts if host.node is None]
        for host in down:
            if rng.random() < restarted_share:
                cluster.restart(host)

    def _liveness(self) -> str:
        """Let the cluster come to rest: an empty text, or why it did not."""
        cluster, world = self.cluster, self.cluster.world
        bound_us = self.knobs.liveness_ms * US_PER_MS
        begun_us, until_us = world.now_us, world.now_us + bound_us
        problem = "nothing was looked at"
        received = 0
        while problem and world.now_us < until_us:
            world.run_until(world.now_us + REST_POLL_MS * US_PER_MS)
            self._help(is_late=2 * (world.now_us - begun_us) > bound_us)
            problem = checks.unrest(cluster)
            if (now_received := self._snapshot_bytes()) != received:
                received = now_received
                grown_us = min(world.now_us + SNAPSHOT_MS * US_PER_MS, begun_us + STRETCH_MAX * bound_us)
                until_us = max(until_us, grown_us)
        checks.check_values(cluster)
        if not problem:
            for host in cluster.hosts:
                checks.check_node(cluster, host, [])
            checks.check_rest(cluster)
            self.returns.check_rest(cluster)
        return problem

    def _snapshot_bytes(self) -> int:
        """How much of snapshots has come to those that are being let in."""
        nodes = [host.node for host in self.cluster.hosts if host.node is not None]
        return sum(node.joining.progress()["bytes"] for node in nodes)

    def _help(self, *, is_late: bool) -> None:
        """What an operator does: start again what has ended by itself or cannot join, bury what is dead for good if the
        members do not do so by themselves, and decide where so many are dead or buried that nobody has a majority."""
        cluster = self.cluster
        alive = {host.node.replica.me for host in cluster.hosts if host.node is not None}
        serving = [host for host in cluster.hosts if host.is_serving]
        for host in cluster.hosts:
            if host.exited is not None and host.exited.code and host.node is None:
                cluster.restart(host)
            elif host.node is not None and host.node.state == "waiting" and not cluster.is_any_up(host.config.join):
                host.crash()  # all its addresses are of machines that stay dead: it is given others
                cluster.restart(host)
        if not serving:
            return
        judge = self.rng.choice(serving)
        force = is_late and all(each.node is not None and not each.node.burying.has_majority([]) for each in serving)
        if force:  # the side with the most members is to go on
            judge = max(serving, key=lambda each: (0 if each.node is None else len(each.node.linked), each.name))
        elif self.knobs.presumed_dead_after_ms < HOUR_MS:
            return
        assert judge.node is not None
        for replica in judge.node.replica.roster.present():
            if replica not in alive:
                try:
                    judge.node.bury(id_text(replica), force=force)
                    cluster.counts["burials_forced"] += force
                except UsageError:
                    continue
                finally:
                    judge.settle()


def simulate(seed: int, profile: str, nodes: int, steps: int, trace_file: TextIO | None = None) -> Outcome:
    """One run."""
    return Simulation(seed, draw(seed, profile, nodes, steps), trace_file).run()
