"""A suspicion (floor 6): how long a member has to refute before it counts as unreachable.

Lifeguard's LHA-Suspicion: it begins with the longest time, and each *independent* member that confirms it shortens it,
on a logarithmic scale, down to the shortest once `needed` have. A slow member that suspects everybody stands alone and
gives them all the time there is; a crash is confirmed by many and known soon.
"""

from math import log, log10
from typing import final

from marmoset.ids import ReplicaId
from marmoset.membership.profiles import Profile


@final
class Suspicion:
    """One suspicion of one member under one incarnation of it."""

    __slots__ = ("accusers", "began_ms", "due_ms", "longest_ms", "needed", "shortest_ms")

    def __init__(self, profile: Profile, reachable: int, accuser: ReplicaId, now_ms: int) -> None:
        """`reachable` counts all members that are not unreachable, us and the suspect among them."""
        self.began_ms = now_ms
        self.accusers = {accuser}
        self.needed = max(0, min(profile.confirmations, reachable - 2))
        self.shortest_ms = shortest_ms(profile, reachable)
        stretch = profile.suspicion_stretch if profile.dynamic_suspicion and self.needed else 1
        self.longest_ms = stretch * self.shortest_ms
        self.due_ms = self._due_ms()
        """When the suspect is unreachable unless it has refuted."""

    def confirm(self, accuser: ReplicaId) -> bool:
        """Somebody suspects it too; whether that is news which others should hear. O(1)."""
        if accuser in self.accusers or len(self.accusers) > self.needed:
            return False
        self.accusers.add(accuser)
        self.due_ms = self._due_ms()
        return True

    def begin_anew(self, now_ms: int) -> None:
        """Give the suspect all its time once more."""
        self.began_ms = now_ms
        self.due_ms = self._due_ms()

    def hurry(self) -> None:
        """Others are certain: the suspect has the shortest time, since it was suspected here, and no more."""
        self.due_ms = min(self.due_ms, self.began_ms + self.shortest_ms)

    def _due_ms(self) -> int:
        confirmed = len(self.accusers) - 1
        if not confirmed or not self.needed:
            return self.began_ms + self.longest_ms
        spent = (self.longest_ms - self.shortest_ms) * log(confirmed + 1) / log(self.needed + 1)
        return self.began_ms + max(self.shortest_ms, round(self.longest_ms - spent))


def shortest_ms(profile: Profile, reachable: int) -> int:
    """The time that a rumour needs to reach everybody and a refutation to come back, with a margin."""
    return round(profile.suspicion_factor * max(1.0, log10(max(1, reachable))) * profile.probe_interval_ms)
