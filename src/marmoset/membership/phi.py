"""A phi-accrual estimate (floor 6): how surprising the silence of a member is, for people and for tuning only.

Hayashibara et al., "The phi accrual failure detector" (2004): phi is minus the decimal logarithm of the probability
that a member which is alive stays silent for at least as long as it has. 1 is met one time in ten, 8 hardly ever.
Where we differ: mean and variance of the pauses are weighted exponentially: two numbers instead of a window.
"""

from math import erfc, log10, sqrt
from typing import Final, final

WEIGHT: Final = 0.1
PHI_MAX: Final = 99.0
DEVIATION_SHARE_MIN: Final = 0.25
"""A deviation below this share of the mean is not believed: pauses that were equal so far are luck."""


@final
class Arrivals:
    """The pauses between the moments at which one member was heard."""

    __slots__ = ("mean_ms", "variance")

    def __init__(self) -> None:
        self.mean_ms = 0.0
        self.variance = 0.0

    def note(self, pause_ms: int) -> None:
        """It was heard after a pause. O(1)."""
        if not self.mean_ms:
            self.mean_ms = float(pause_ms)
            return
        difference = pause_ms - self.mean_ms
        self.mean_ms += WEIGHT * difference
        self.variance = (1 - WEIGHT) * (self.variance + WEIGHT * difference * difference)

    def phi(self, silent_ms: int) -> float:
        """How surprising a silence is; 0 while nothing is known of its pauses. O(1)."""
        if not self.mean_ms:
            return 0.0
        deviation = max(sqrt(self.variance), DEVIATION_SHARE_MIN * self.mean_ms)
        later = 0.5 * erfc((silent_ms - self.mean_ms) / (deviation * sqrt(2)))
        return PHI_MAX if later <= 0.0 else max(0.0, min(PHI_MAX, -log10(later)))
