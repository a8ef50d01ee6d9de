"""What became of a batch that arrived (floor 5); see `Replica.apply`."""

from typing import Final

APPLIED: Final = "applied"
DUPLICATE: Final = "duplicate"
TOO_EARLY: Final = "too early"
OWN_BURIAL: Final = "own burial"
UNKNOWN_ORIGIN: Final = "unknown origin"
NOT_NOTED: Final = "not noted"
"""It can be applied once the chain has ended (`replication.chain`)."""
