"""What a node asks of the shell around it (floor 7)."""

from dataclasses import dataclass
from typing import Protocol

from marmoset.membership.effects import SendPacket


class TimeSource(Protocol):
    """Where a node reads the time; the simulator has one of its own."""

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back, from any beginning."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as this machine's clock has them."""


class Keys(Protocol):
    """The keyring, as far as people ask for it; sealing itself is below the node, which sees plain frames only."""

    def rows(self) -> list[dict[str, str | int]]:
        """The keys in order: id, whether it seals, and how many links use it."""

    def reload(self) -> None:
        """Read it again; raises `UsageError` and changes nothing where that cannot be done."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write bytes, already framed, to a link. A link that is gone is none of the node's mistakes."""

    link: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a link to an address; answered by `handle_dialled` or `handle_dial_failed`."""

    address: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close a link once what was sent is written; `handle_closed` does not follow."""

    link: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Call `handle_timer` with the token after the delay; a late one is harmless."""

    token: int
    delay_ms: int


@dataclass(frozen=True, slots=True)
class DropTimer:
    """Forget a timer that was set and is not due yet: another one took its place."""

    token: int


@dataclass(frozen=True, slots=True)
class Notify:
    """Something that people should be able to read in the log."""

    level: str
    event: str
    fields: dict[str, object]


@dataclass(frozen=True, slots=True)
class Exit:
    """The node is done: the process should end with this code."""

    code: int
    why: str


Effect = Send | SendPacket | Dial | Close | SetTimer | DropTimer | Notify | Exit
