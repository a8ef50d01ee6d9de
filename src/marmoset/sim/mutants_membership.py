"""Faults put in on purpose, DESIGN.md section 4 (beside the floors): who is let in, and who is buried on whose word."""

from typing import Any, Final

from marmoset.codec.operations import Bury
from marmoset.ids import ReplicaId
from marmoset.membership import swim
from marmoset.node import bootstrapping, burying, greeting, links, node, waiting
from marmoset.replication import exchange, roster
from marmoset.sim.hunting import Mutant, Patch


def _burial_by_minority() -> list[Patch]:
    """What a node finds by itself is enough to bury somebody."""
    return [(burying.Burying, "is_provable", lambda self, replica: True)]


def _touch_is_evidence() -> list[Patch]:
    """Whoever is in touch counts as a witness, asked or not."""
    return [(burying.Burying, "said", lambda self, peer, replica: (self._node.config.presumed_dead_after, 0))]


def _sleeper_blames_others() -> list[Patch]:
    """Whoever slept counts the time that it lost as silence of the others, and says so."""

    def silence(self: Any, replica: ReplicaId, now_ms: int) -> int:
        silent_ms: int = self.silent_ms(replica, now_ms)
        return silent_ms if silent_ms > 2000 else 0

    return [(swim.Swim, "_late_ms", lambda self, now_ms: 0), (swim.Swim, "unreachable_ms", silence)]


def _buried_leave_the_electorate() -> list[Patch]:
    """The majority is one of those that are not buried: a few burials make it as small as one likes."""

    def electorate(self: Any) -> list[ReplicaId]:
        return sorted(
            r for r, member in self.members.items() if member.born and r not in self.left and r not in self.buried
        )

    return [(roster.Roster, "electorate", electorate)]


def _newcomers_of_the_dead_stay() -> list[Patch]:
    """A sponsor is buried without its unborn newcomers, and nobody else buries them."""
    return [
        (burying.Burying, "burials", lambda self, replicas: [Bury(replica) for replica in replicas]),
        (
            burying.Burying,
            "is_ours_to_bury",
            lambda self, replica: self._node.replica.roster.members[replica].born,
        ),
    ]


def _full_log_buries_nobody() -> list[Patch]:
    """Operations on the roster count against the budget, as writes do."""
    interval: Any = burying.Burying.handle_interval

    def handle(self: Any) -> None:
        if not self._node.budget.is_used_up:
            interval(self)

    return [(burying.Burying, "handle_interval", handle)]


def _wait_believes_links() -> list[Patch]:
    """WAIT counts whoever is linked: what was sent to them will have arrived."""
    return [(waiting.Waiting, "known_by", lambda self, dot: len(self._node.linked))]


def _few_are_enough() -> list[Patch]:
    """A group is begun by whoever waits with one other, whatever `bootstrap_expect` says."""

    def preferred(self: Any) -> str:
        waiting = self._waiting()
        return waiting[0] if len(waiting) > 1 else ""

    def begin(self: Any) -> bool:
        if self.voted not in ("", self._node.address) or self.preferred() != self._node.address:
            return False
        self._node.joining.stop()
        self._node.begin_group()
        return True

    return [
        (bootstrapping.Bootstrapping, "preferred", preferred),
        (bootstrapping.Bootstrapping, "_begin_if_elected", begin),
    ]


def _id_offered_twice() -> list[Patch]:
    """A newcomer that was let in by one sponsor tries the next one under the same id."""
    begin = node.Node.become_replica

    def become(self: Any) -> None:
        if not self.replica.me:
            begin(self)

    return [(node.Node, "become_replica", become)]


def _buried_are_heard() -> list[Patch]:
    """Links to the buried go on until their burials take effect."""
    judge: Any = links.judge
    refuse: Any = node.Node._refuse_buried

    def lenient(*args: Any) -> Any:
        verdict = judge(*args)
        return None if verdict is not None and "not yet taken effect" in verdict[1] else verdict

    def refuse_the_dead(self: Any, link: Any) -> None:
        if self.replica.presumed_dead(link.peer):
            refuse(self, link)

    return [(greeting, "judge", lenient), (node.Node, "_refuse_buried", refuse_the_dead)]


def _strangers_are_believed() -> list[Patch]:
    """Whoever is not in the roster may speak, whatever it brings."""
    return [(exchange.Stream, "_introduction", lambda self: exchange.GO_ON)]


BURIED_ALIVE: Final[dict[str, object]] = {
    "weights": {"exile": 4, "contradict": 1, "join": 2, "leave": 1, "pause": 1},
    "fault_gap_ms": 500,
    "turn_gap_us": 25_000,
    "commands_max": 3,
    "log_budget": 1 << 28,
}
"""Somebody who is buried, or was let in by somebody who is, keeps coming back, in a run that is long in time."""
SLEEPERS: Final[dict[str, object]] = {
    "weights": {"sleep": 3, "pause": 2, "power_off": 1, "crash": 1, "restart": 1},
    "turn_gap_us": 25_000,
}

MUTANTS_MEMBERSHIP: Final[tuple[Mutant, ...]] = (
    Mutant("burial by minority", "4.3", "what one found by itself is enough", _burial_by_minority),
    Mutant("touch is evidence", "4.3", "who is in touch counts as a witness", _touch_is_evidence, budget=120),
    Mutant(
        "sleeper blames others",
        "4.3",
        "a machine that slept buries the others",
        _sleeper_blames_others,
        knobs=SLEEPERS,
    ),
    Mutant("electorate shrinks", "4.3", "who is buried does not count for the majority", _buried_leave_the_electorate),
    Mutant(
        "sponsor dies in mid-join",
        "4.1",
        "its unborn newcomers are not buried with it",
        _newcomers_of_the_dead_stay,
        "churn",
        nodes=6,
        knobs={"weights": {"crash_sponsor": 3, "restart": 2, "join": 1}, "snapshot_step_elements": 1},
    ),
    Mutant(
        "full log buries nobody",
        "4.3",
        "operations on the roster count against the budget",
        _full_log_buries_nobody,
        "churn",
        knobs={"weights": {"power_off": 1, "crash": 1}, "log_budget": 4000},
    ),
    Mutant("WAIT believes links", "4", "WAIT counts what was sent", _wait_believes_links),
    Mutant("few begin a group", "4.1", "two that wait begin a group of many", _few_are_enough),
    Mutant(
        "the buried are heard",
        "4.5",
        "links to the buried go on until that takes effect",
        _buried_are_heard,
        "churn",
        nodes=5,
        steps=800,
        knobs=BURIED_ALIVE,
    ),
    Mutant(
        "strangers are believed",
        "4.5",
        "whoever is not in the roster may speak",
        _strangers_are_believed,
        "churn",
        nodes=5,
        steps=800,
        knobs=BURIED_ALIVE,
    ),
    Mutant("an id offered twice", "4.1", "a retry under the same id", _id_offered_twice, "churn"),
)
