"""The pace of failure detection on a kind of network (floor 6).

`PROFILES` has one for each: `loopback` for processes on one machine, `lan`, and `wan` for members that are far apart.
The names of the papers for the factors: SWIM's `lambda` is `retransmit_factor`; Lifeguard's `alpha`, `beta`, `K` and
`S` are `suspicion_factor`, `suspicion_stretch`, `confirmations` and `health_max`.

The four switches at the end turn what goes beyond SWIM off, for the experiment that shows what it is worth
(`sim.swim_experiments`); no node runs without them.
"""

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How often, how long, how many; times in milliseconds."""

    name: str
    probe_interval_ms: int
    """A protocol period: one member is probed in each."""
    probe_timeout_ms: int
    """For how long a direct answer is waited for before helpers are asked; what is left of the period is theirs."""
    retry_interval_ms: int
    """Mean pause between two pings to members that are unreachable, one member at a time."""
    exchange_interval_ms: int
    """Mean pause between two exchanges of everything that is known; longer in groups above 32."""
    suspicion_factor: int = 4
    suspicion_stretch: int = 6
    confirmations: int = 3
    helpers: int = 3
    retransmit_factor: int = 4
    health_max: int = 8
    local_health: bool = True
    """Periods and timeouts stretch when answers fail to come that should have (LHA-Probe)."""
    dynamic_suspicion: bool = True
    """A suspicion lasts long unless others confirm it (LHA-Suspicion)."""
    buddy: bool = True
    """Who is pinged while not alive is told so first."""
    corroborate: bool = True
    """Nobody is held unreachable on the word of one single other member."""

    def paced(self, probe_interval_ms: int) -> "Profile":
        """The same with another period, and all times in proportion to it."""

        def scaled(ms: int) -> int:
            return max(1, ms * probe_interval_ms // self.probe_interval_ms)

        return replace(
            self,
            probe_interval_ms=probe_interval_ms,
            probe_timeout_ms=scaled(self.probe_timeout_ms),
            retry_interval_ms=scaled(self.retry_interval_ms),
            exchange_interval_ms=scaled(self.exchange_interval_ms),
        )

    def without_extensions(self) -> "Profile":
        """Plain SWIM with suspicion."""
        return replace(self, local_health=False, dynamic_suspicion=False, buddy=False, corroborate=False)


LOOPBACK: Final = Profile(
    name="loopback",
    probe_interval_ms=300,
    probe_timeout_ms=120,
    retry_interval_ms=1500,
    exchange_interval_ms=10_000,
)
LAN: Final = Profile(
    name="lan",
    probe_interval_ms=500,
    probe_timeout_ms=200,
    retry_interval_ms=3000,
    exchange_interval_ms=30_000,
)
WAN: Final = Profile(
    name="wan",
    probe_interval_ms=3000,
    probe_timeout_ms=1200,
    retry_interval_ms=8000,
    exchange_interval_ms=60_000,
    suspicion_factor=5,
)
PROFILES: Final = {profile.name: profile for profile in (LOOPBACK, LAN, WAN)}
