"""Profiles and knobs (beside the floors): what a run is like, drawn from its seed.

A profile says what may happen and how often; the knobs of one run are drawn from it. Limits are shrunk at random,
so that their edges are met by a few operations. `REQUIRED` names what the runs of a profile, taken together, must
have provoked.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final

from marmoset.sim.network import Conditions

FAULTS: Final = (
    "cut_one_way",
    "cut_group",
    "cut_node",
    "cut_ring",
    "heal",
    "crash",
    "power_off",
    "crash_sponsor",
    "restart",
    "join",
    "leave",
    "pause",
    "lag",
    "skew",
    "jump",
    "far_jump",
    "sleep",
    "exile",
    "contradict",
)
"""What can be done to a cluster; see `faults`."""


HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Profile:
    """What may happen: weights of faults, and how the network is."""

    weights: dict[str, int]
    lossy: bool = False
    late: bool = False
    required: tuple[str, ...] = ()
    buries: bool = False
    """Members are presumed dead by themselves, after some simulated seconds."""


_CUTS: Final = {"cut_one_way": 2, "cut_group": 3, "cut_node": 3, "cut_ring": 1, "heal": 6}
_ENDS: Final = {"crash": 3, "power_off": 1, "crash_sponsor": 2, "leave": 2}
_EXILES: Final = {"exile": 3, "contradict": 2}
_CHURN: Final = {**_ENDS, "restart": 6, "join": 3, **_EXILES}
_SLOW: Final = {"pause": 4, "lag": 2}
_SLEEP: Final = {"sleep": 1}
_CLOCKS: Final = {"skew": 3, "jump": 3, "far_jump": 1}
_ALWAYS: Final = ("operations", "folds", "elements_dropped", "transactions", "joins", "waits_answered", "groups_begun")

PROFILES: Final[dict[str, Profile]] = {
    "calm": Profile({}, required=_ALWAYS),
    "lossy": Profile({}, lossy=True, late=True, required=(*_ALWAYS, "datagrams_lost")),
    "partitions": Profile({**_CUTS}, required=(*_ALWAYS, "cuts", "heals", "links_broken")),
    "churn": Profile(
        {**_CHURN},
        required=(
            *(*_ALWAYS, "leaves", "crashes", "restarts", "burials", "burials_automatic", "sponsors_lost", "forgotten"),
            *("buried_alive", "rehabilitations", "operations_resubmitted", "operations_reported"),
            *("burials_early", "burials_contradictory", "exiled_again", "held_of_others"),
        ),
        buries=True,
    ),
    "slow": Profile({**_SLOW}, late=True, required=(*_ALWAYS, "pauses")),
    "clocks": Profile({**_CLOCKS}, required=(*_ALWAYS, "clock_changes", "writes_refused")),
    "everything": Profile(
        {**_CUTS, **_CHURN, **_SLOW, **_SLEEP, **_CLOCKS},
        lossy=True,
        late=True,
        required=(
            *_ALWAYS,
            *("cuts", "heals", "leaves", "crashes", "restarts", "burials", "forgotten", "pauses", "clock_changes"),
            *("burials_automatic", "buried_alive", "rehabilitations", "operations_resubmitted", "sleeps"),
            "burials_early",
        ),
        buries=True,
    ),
}


SEALED_SHARE: Final = 0.1
"""How many runs encrypt their links."""
LIMITED_SHARE: Final = 0.2
"""How many runs have nodes that hold little, half of which evict."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """Everything that a run depends on, beside its seed."""

    profile: str
    nodes: int
    steps: int
    conditions: Conditions
    gossip_interval_ms: int
    unreachable_after_ms: int
    join_timeout_ms: int
    frame_bytes_max: int
    link_buffer_max: int
    log_budget: int
    batch_operations_max: int
    split_above: int
    fold_budget: int
    chain_max: int
    chain_step: int
    drain_bytes: int
    pump_bytes: int
    pace_ms: int
    """For how long a write waits for others at most, however slowly they come; 0 for as long as usual, and only where
    they come fast. Drawn apart from the other knobs."""
    report_operations: int
    """By how many operations the log grows until everybody is told without a meeting; drawn apart, too."""
    snapshot_step_elements: int
    turn_gap_us: int
    turn_us: int
    commands_max: int
    keys: int
    words: int
    focus: str
    flush_share: float
    conflict_share: float
    removal_share: float
    expiry_share: float
    nested_share: float
    fault_gap_ms: int
    check_gap_ms: int
    liveness_ms: int
    quorum: str
    rehabilitation_memory: int
    submit_operations: int
    sealed: bool
    """Whether links are encrypted; drawn apart from the other knobs."""
    maxmemory: int
    evicts: bool
    """How much the nodes hold, 0 for any amount, and whether they evict what is more; drawn apart, too."""
    presumed_dead_after_ms: int
    budget_grace_ms: int
    bootstrap_expect: int
    """How many of the first nodes have to wait before one begins the group by vote; 0 where the first one begins it."""
    weights: dict[str, int] = field(default_factory=dict)

    @property
    def keeps_counters(self) -> bool:
        """Whether no key goes but by commands on it."""
        return not self.flush_share and not self.evicts

    @property
    def keeps_a_majority(self) -> bool:
        """Whether a majority is always in touch and buries by itself, so that no log stays full, and memory neither."""
        has_room = self.evicts or not self.maxmemory
        return has_room and self.presumed_dead_after_ms < HOUR_MS and set(self.weights) <= set(_CHURN)

    @property
    def may_bury_the_living(self) -> bool:
        """Whether somebody may be out of reach for as long as it takes to be presumed dead."""
        return self.presumed_dead_after_ms < HOUR_MS and not set(self.weights).isdisjoint(
            (*_EXILES, *_CUTS, *_SLOW, *_SLEEP)
        )


def draw(seed: int, profile: str, nodes: int, steps: int) -> Knobs:
    """The knobs of a run."""
    rng = Random(f"knobs {seed} {profile} {nodes} {steps}")
    limits = Random(f"limits {seed} {profile}")
    chains = Random(f"chains {seed} {profile}")
    is_limited = limits.random() < LIMITED_SHARE
    chosen = PROFILES[profile]
    lossy = chosen.lossy and (profile == "lossy" or rng.random() < 0.5)
    late = chosen.late and rng.random() < 0.7
    conditions = Conditions(
        latency_us_min=rng.choice([20, 200, 1000]),
        latency_us_max=rng.choice([1000, 5000, 30_000, 80_000]),
        slow_share=rng.choice([0.02, 0.1]) if late else 0.0,
        slow_us_max=rng.choice([100_000, 600_000]) if late else 0,
        loss_share=rng.choice([0.01, 0.05, 0.2]) if lossy else 0.0,
        split_share=rng.choice([0.0, 0.05, 0.3]),
        break_us=rng.choice([700_000, 2_000_000, 8_000_000]),
        window_bytes=rng.choice([2000, 1 << 14, 1 << 18]) if nodes < 20 else 1 << 18,
    )
    scale = 1 if nodes < 20 else 2
    gossip_interval = rng.choice([50, 100, 200]) * scale * (2 if nodes >= 20 else 1)
    pace = rng.choice([4000, 10_000, 25_000])
    if nodes >= 20:
        pace //= 2
    return Knobs(
        profile=profile,
        nodes=nodes,
        steps=steps,
        conditions=conditions,
        gossip_interval_ms=gossip_interval,
        unreachable_after_ms=rng.choice([2500, 5000]) * scale,
        join_timeout_ms=rng.choice([3000, 10_000]) * scale,
        frame_bytes_max=rng.choice([64, 300, 4096, 1 << 20]) if nodes < 20 else 1 << 20,
        link_buffer_max=rng.choice([3000, 20_000, 8 << 20]) if nodes < 20 else 8 << 20,
        log_budget=rng.choice([8000 if chosen.buries else 20_000, 1 << 28, 1 << 28]) if nodes < 20 else 1 << 28,
        batch_operations_max=rng.choice([1, 3, 20, 2000]),
        split_above=rng.choice([3, 20, 200_000]),
        fold_budget=rng.choice([1, 5, 50, 2000]) if nodes < 20 else 2000,
        chain_max=chains.choice([0, 30, 1 << 18, 1 << 18]) if nodes < 20 else 1 << 18,
        chain_step=chains.choice([1, 20, 4096]),
        drain_bytes=chains.choice([1, 500, 1 << 14]),
        pump_bytes=rng.choice([200, 5000, 1 << 20]),
        pace_ms=Random(f"pace {seed} {profile}").choice([0, 0, 20, 100]),
        report_operations=Random(f"reports {seed} {profile}").choice([3, 30, 1 << 16, 1 << 16]),
        snapshot_step_elements=rng.choice([1, 3, 20, 4096]),
        turn_gap_us=pace,
        turn_us=rng.choice([0, 500, 5000]),
        commands_max=rng.choice([1, 3, 6]),
        keys=rng.choice([1, 2, 4, 8]),
        words=rng.choice([2, 6]),
        focus=rng.choice(["", "", "l", "u", "h", "s", "z"]),
        flush_share=rng.choice([0.0, 0.0, 0.002]),
        conflict_share=rng.choice([0.0, 0.01, 0.05]),
        removal_share=rng.choice([0.2, 0.4, 0.5]),
        nested_share=rng.choice([0.0, 0.05, 0.3]),
        expiry_share=rng.choice([0.0, 0.0, 0.02, 0.1]),
        fault_gap_ms=rng.choice([200, 500, 1500]),
        check_gap_ms=rng.choice([100, 300]) if nodes < 20 else 2000,
        liveness_ms=60_000 * scale,
        quorum="one" if nodes == 2 else "majority",
        rehabilitation_memory=rng.choice([1500, 64 << 20, 64 << 20]),
        submit_operations=rng.choice([1, 5, 500]),
        sealed=nodes < 20 and Random(f"sealed {seed} {profile}").random() < SEALED_SHARE,
        maxmemory=limits.choice([10_000, 30_000]) if is_limited else 0,
        evicts=is_limited and limits.random() < 0.5,
        presumed_dead_after_ms=rng.choice([3000, 6000, 12_000]) * scale if chosen.buries and nodes > 2 else HOUR_MS,
        bootstrap_expect=rng.choice([0, nodes // 2 + 1, nodes]) if nodes < 20 else 0,
        budget_grace_ms=rng.choice([1000, 2500]) * scale if chosen.buries and nodes > 2 else HOUR_MS,
        weights=_some(rng, chosen.weights, profile),
    )


def _some(rng: Random, weights: dict[str, int], profile: str) -> dict[str, int]:
    """The faults of one run: a run of `everything` often leaves some kinds out, which lets others come closer."""
    if profile != "everything" or rng.random() < 0.5:
        return dict(weights)
    left_out = rng.choice([_CUTS, _CHURN, {**_SLOW, **_SLEEP}, _CLOCKS])
    return {name: weight for name, weight in weights.items() if name not in left_out}
