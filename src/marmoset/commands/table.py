"""The shape of the command table (floor 8): one row for each command, from which everything else is made.

Dispatch, arity checks, COMMAND INFO, COMMAND DOCS, COMMAND GETKEYS, help texts and the docs page all read the same rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from marmoset.resp.replies import Reply

if TYPE_CHECKING:
    from marmoset.session import Session

Handler = Callable[["Session", list[bytes]], Reply]


@dataclass(frozen=True, slots=True)
class Command:
    """One command. A negative arity is a minimum; key positions are as in COMMAND INFO."""

    name: str
    handler: Handler
    arity: int
    flags: str
    keys: tuple[int, int, int]
    group: str
    summary: str
    complexity: str
    since: str = "1.0.0"
    arguments: str = ""
    subcommands: dict[str, "Command"] = field(default_factory=dict)
    full_name: str = ""
    """As error texts and CLIENT LIST name it: `client|list`."""
    is_write: bool = field(init=False)
    """Whether it changes keys."""
    is_served_always: bool = field(init=False)
    """Whether it is answered before the node is a member."""
    is_queued: bool = field(init=False)
    """Whether MULTI queues it."""
    is_refused_in_multi: bool = field(init=False)

    def __post_init__(self) -> None:
        flags = self.flags.split()
        object.__setattr__(self, "is_write", "write" in flags)
        object.__setattr__(self, "is_served_always", "loading" in flags)
        object.__setattr__(self, "is_queued", "noqueue" not in flags)
        object.__setattr__(self, "is_refused_in_multi", "no_multi" in flags)
        object.__setattr__(self, "full_name", self.full_name or self.name)

    def arity_fits(self, count: int) -> bool:
        """Whether a request of `count` words, the name included, has enough and not too many."""
        return count == self.arity if self.arity >= 0 else count >= -self.arity

    def keys_of(self, args: list[bytes]) -> list[bytes]:
        """The keys among the words of a request. O(words)."""
        first, last, step = self.keys
        if first == 0:
            return []
        end = last if last >= 0 else len(args) + last
        return args[first : end + 1 : step]
