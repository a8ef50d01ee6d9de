"""Local health (floor 6): a member that misses answers which it should have got doubts itself first.

The score of Lifeguard's LHA-Probe (Dadgar, Phillips, Currey, arXiv 1707.00788): 0 is healthy; each sign of trouble of
our own adds to it, each probe that is answered takes one off; periods and timeouts are multiplied by one more than it.
"""

from typing import final


@final
class LocalHealth:
    """The score of one member, between 0 and `score_max`."""

    __slots__ = ("enabled", "score", "score_max")

    def __init__(self, score_max: int, enabled: bool) -> None:
        self.score = 0
        self.score_max = score_max
        self.enabled = enabled

    def note(self, delta: int) -> None:
        """Answers came (less than 0), or did not (more)."""
        if self.enabled:
            self.score = max(0, min(self.score_max, self.score + delta))

    def scaled(self, ms: int) -> int:
        """A period or timeout as long as our health needs it."""
        return ms * (self.score + 1)
