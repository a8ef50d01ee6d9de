"""What membership does at a thousand members, measured (beside the floors): `make sim-membership` prints the tables.

Four questions, each answered by simulated clusters of `Swim` alone, deterministic by seed:

- a crash: in which protocol period the crashed member is first probed (SWIM expects e/(e-1), 1.58, whatever the size),
  when it is first suspected, when everybody has heard of that, and when everybody holds it unreachable;
- a join: when everybody has heard of a newcomer whom one member knows;
- the bytes that a member sends, with nothing going on;
- Lifeguard's experiment: some members are slow at random for some of the time, and what is counted is how often a
  healthy member holds another healthy member unreachable, with the extensions and without.

Where a table gives periods, they are those of the profile, 500 ms on a LAN.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from random import Random
from statistics import mean
from typing import Final

from marmoset.codec.packets import Ping, decode_packet
from marmoset.membership.profiles import LAN, Profile
from marmoset.membership.states import SUSPECT, UNREACHABLE
from marmoset.sim.swim_cluster import Member, SwimCluster, index_of, replica_of

SIZES: Final = (50, 200, 1000)
CRASH_PAUSE_PERIODS: Final = 4
WARM_UP_PERIODS: Final = 10
CRASHES: Final = 60


@dataclass(frozen=True, slots=True)
class CrashTimes:
    """Means over several crashes, in periods since the crash; `*_max` is the worst."""

    size: int
    crashes: int
    first_probed: float
    """The number of the period in which it was first probed, from 1."""
    first_suspected: float
    all_suspect: float
    all_suspect_max: float
    all_unreachable: float
    all_unreachable_max: float


def crashes(size: int, count: int, seed: int, profile: Profile = LAN) -> CrashTimes:
    """Crash `count` members, one after the other in one cluster."""
    cluster = SwimCluster(seed, profile, size)
    period = profile.probe_interval_ms
    crashed: dict[int, int] = {}
    probed: dict[int, int] = {}
    told: dict[tuple[int, str], list[int]] = {}

    def on_packet(member: Member, target: int, data: bytes) -> None:
        if target in crashed and target not in probed and isinstance(decode_packet(data).body, Ping):
            probed[target] = cluster.now_ms

    def on_change(member: Member, subject: int, before: str, state: str) -> None:
        index = index_of(subject)
        if index in crashed and before != UNREACHABLE:
            told.setdefault((index, state), []).append(cluster.now_ms)

    cluster.on_packet, cluster.on_change = on_packet, on_change
    cluster.run_ms(WARM_UP_PERIODS * period)
    rng = Random(f"{seed} crashes")
    for index in rng.sample(range(size), count):
        cluster.run_ms(rng.randrange(period))
        crashed[index] = cluster.now_ms
        cluster.crash(index)
        cluster.run_ms(CRASH_PAUSE_PERIODS * period)
    for _ in range(100):
        if all(set(cluster.states(index)) == {UNREACHABLE} for index in crashed):
            break
        cluster.run_ms(period)
    up = {member.index for member in cluster.members if not member.is_down}
    assert all(set(cluster.states(index)) == {UNREACHABLE} for index in crashed), len(up)

    def periods(index: int, moment_ms: int) -> float:
        return (moment_ms - crashed[index]) / period

    suspected = [periods(index, min(told[index, SUSPECT])) for index in crashed]
    all_suspect = [periods(index, max(told[index, SUSPECT])) for index in crashed]
    unreachable = [periods(index, max(told[index, UNREACHABLE])) for index in crashed]
    return CrashTimes(
        size,
        count,
        mean(max(1, ceil(periods(index, probed[index]))) for index in crashed),
        mean(suspected),
        mean(all_suspect),
        max(all_suspect),
        mean(unreachable),
        max(unreachable),
    )


def many_crashes(size: int, seed: int) -> CrashTimes:
    """At least `CRASHES` of them, a tenth of the members in each of as many clusters as that takes."""
    each = min(CRASHES, size // 10)
    runs = [crashes(size, each, seed + number) for number in range(-(-CRASHES // each))]
    return CrashTimes(
        size,
        each * len(runs),
        mean(run.first_probed for run in runs),
        mean(run.first_suspected for run in runs),
        mean(run.all_suspect for run in runs),
        max(run.all_suspect_max for run in runs),
        mean(run.all_unreachable for run in runs),
        max(run.all_unreachable_max for run in runs),
    )


@dataclass(frozen=True, slots=True)
class JoinTimes:
    """When everybody knew of a newcomer, in periods since it began: mean and worst of several joins."""

    size: int
    joins: int
    all_know: float
    all_know_max: float


def joins(size: int, count: int, seed: int, profile: Profile = LAN) -> JoinTimes:
    """Have `count` members join, one after the other."""
    cluster = SwimCluster(seed, profile, size)
    period = profile.probe_interval_ms
    cluster.run_ms(WARM_UP_PERIODS * period)
    took: list[float] = []
    for _ in range(count):
        began_ms = cluster.now_ms
        newcomer = replica_of(cluster.join())
        while not all(newcomer in m.swim.peers or m.swim.me == newcomer for m in cluster.members):
            cluster.run_ms(period // 10)
        took.append((cluster.now_ms - began_ms) / period)
    return JoinTimes(size, count, mean(took), max(took))


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one member sends in a second, with nothing going on: bytes of datagrams, and of digests over links."""

    size: int
    packets: float
    packet_bytes: float
    link_bytes: float


def traffic(size: int, seconds: int, seed: int, profile: Profile = LAN) -> Traffic:
    """Watch a quiet cluster, once the digests of its beginning are exchanged."""
    cluster = SwimCluster(seed, profile, size)

    def sent() -> tuple[int, int, int]:
        counters = [member.swim.counters for member in cluster.members]
        packets, packet_bytes = (sum(c[name] for c in counters) for name in ("packets_out", "bytes_out"))
        return packets, packet_bytes, sum(member.link_bytes for member in cluster.members)

    cluster.run_ms(2 * profile.exchange_interval_ms)
    before = sent()
    cluster.run_ms(1000 * seconds)
    share = 1 / (size * seconds)
    return Traffic(size, *(share * (now - then) for now, then in zip(sent(), before, strict=True)))


@dataclass(frozen=True, slots=True)
class Slowness:
    """Who is slow and when: `slow` members, for `slow_ms` each time, after pauses of `well_ms` on average."""

    size: int = 128
    slow: int = 16
    slow_ms: int = 16_000
    well_ms: int = 8_000
    seconds: int = 120


@dataclass(frozen=True, slots=True)
class FalsePositives:
    """How often a healthy member was held unreachable, by healthy members and by slow ones."""

    name: str
    setting: Slowness
    at_healthy: int
    at_slow: int
    suspicions: int
    """How often a healthy member suspected another one."""


def false_positives(name: str, profile: Profile, setting: Slowness, seed: int) -> FalsePositives:
    """Lifeguard's experiment: messages of slow members wait at both ends, as in section V of the paper."""
    cluster = SwimCluster(seed, profile, setting.size)
    rng = Random(f"{seed} slow")
    cluster.run_ms(WARM_UP_PERIODS * profile.probe_interval_ms)
    slow = sorted(rng.sample(range(setting.size), setting.slow))
    counts = {"at_healthy": 0, "at_slow": 0, "suspicions": 0}

    def on_change(member: Member, subject: int, before: str, state: str) -> None:
        if index_of(subject) in slow:
            return
        if state == UNREACHABLE:
            counts["at_slow" if member.index in slow else "at_healthy"] += 1
        elif state == SUSPECT and member.index not in slow:
            counts["suspicions"] += 1

    cluster.on_change = on_change
    due = {index: cluster.now_ms + rng.randrange(setting.slow_ms + setting.well_ms) for index in slow}
    end_ms = cluster.now_ms + 1000 * setting.seconds
    while cluster.now_ms < end_ms:
        for index in slow:
            if due[index] <= cluster.now_ms:
                cluster.slow(index, setting.slow_ms)
                due[index] = cluster.now_ms + setting.slow_ms + rng.randrange(2 * setting.well_ms)
        cluster.run_ms(100)
    return FalsePositives(name, setting, **counts)


def variants(profile: Profile) -> list[tuple[str, Profile]]:
    """Plain SWIM, each extension by itself, Lifeguard, and what a node runs."""
    plain = profile.without_extensions()
    return [
        ("plain SWIM", plain),
        ("local health only", replace(plain, local_health=True)),
        ("dynamic suspicion only", replace(plain, dynamic_suspicion=True)),
        ("buddy only", replace(plain, buddy=True)),
        ("all three of Lifeguard", replace(profile, corroborate=False)),
        ("and nobody on one single word", profile),
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""

    def cell(value: object) -> str:
        return f"{value:.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *[[cell(value) for value in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def crash_table(results: Sequence[CrashTimes]) -> str:
    """The first table."""
    head = "members|crashes|first probed in period|first suspected|all suspect|worst|all unreachable|worst"
    return table(
        head.split("|"),
        [
            [
                f"{r.size:,}", r.crashes, f"{r.first_probed:.2f}", r.first_suspected,
                r.all_suspect, r.all_suspect_max, r.all_unreachable, r.all_unreachable_max,
            ]
            for r in results
        ],
    )  # fmt: skip


def main(seed: int = 1) -> None:
    """Print all tables."""

    def show(title: str, text: str) -> None:
        print(f"{title}\n\n{text}\n", flush=True)

    show("A crash, in periods", crash_table([many_crashes(size, seed) for size in SIZES]))
    show(
        "A join, in periods",
        table(
            ["members", "joins", "all know", "worst"],
            [[f"{r.size:,}", r.joins, r.all_know, r.all_know_max] for r in (joins(size, 5, seed) for size in SIZES)],
        ),
    )
    show(
        "Nothing going on, per member and second",
        table(
            ["members", "packets", "bytes in packets", "bytes over links"],
            [
                [f"{r.size:,}", r.packets, r.packet_bytes, r.link_bytes]
                for r in (traffic(size, 180, seed) for size in SIZES)
            ],
        ),
    )
    profile = LAN.paced(1000)
    small, large = Slowness(), Slowness(size=1000, slow=60, seconds=30)
    results = [false_positives(name, each, small, seed) for name, each in variants(profile)]
    results += [
        false_positives(name, each, large, seed) for name, each in (variants(profile)[0], variants(profile)[-1])
    ]
    show(
        "Healthy members held unreachable",
        table(
            ["members", "slow", "protocol", "at healthy members", "at slow members", "suspicions at healthy members"],
            [[f"{r.setting.size:,}", r.setting.slow, r.name, r.at_healthy, r.at_slow, r.suspicions] for r in results],
        ),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
