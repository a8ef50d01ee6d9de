"""The shape of the command table (floor 8): one row for each command, from which everything else is made.

Dispatch, arity checks, COMMAND INFO, COMMAND DOCS, COMMAND GETKEYS, help texts and the docs page read the same rows.
A module of commands ends with its rows, made by `command` and gathered by `table`, or by `container` where the second
word chooses what is done.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from marmoset.commands.parsing import integer
from marmoset.resp.errors import INVALID_ARGUMENTS, CommandError, wrong_arity
from marmoset.resp.replies import Reply

if TYPE_CHECKING:
    from marmoset.session import Session

Handler = Callable[["Session", list[bytes]], Reply]
SeveralHandler = Callable[["Session", list[list[bytes]]], list[Reply]]
KeyPositions = tuple[int, int, int]

KEYLESS: Final[KeyPositions] = (0, 0, 0)
ONE_KEY: Final[KeyPositions] = (1, 1, 1)
TWO_KEYS: Final[KeyPositions] = (1, 2, 1)
ALL_KEYS: Final[KeyPositions] = (1, -1, 1)
KEY_VALUES: Final[KeyPositions] = (1, -1, 2)
"""Which words of a request are keys: first, last (negative: from the end), step."""


@dataclass(frozen=True, slots=True)
class Several:
    """How a command handles requests for one key that stand one behind another in a pipeline, as one. It does what its
    handler does for each of them, in their order; it is worth its lines where looking the key up is much of that."""

    handler: SeveralHandler
    """The replies to all of them; empty, or `CommandError` is raised, where nothing was done, as where an operation has
    to be made of each: then they are handled one by one."""
    words: int
    """How many words each of them has, the name included."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command. A negative arity is a minimum; key positions are as in COMMAND INFO."""

    name: str
    handler: Handler
    arity: int
    flags: str
    keys: KeyPositions
    group: str
    summary: str
    complexity: str
    concurrency: str = ""
    """What somebody who writes at the same time can do to it, where that is worth knowing."""
    since: str = "1.0.0"
    arguments: str = ""
    subcommands: dict[str, "Command"] = field(default_factory=dict)
    several: Several | None = None
    full_name: str = ""
    """As error texts and CLIENT LIST name it: `client|list`."""
    is_write: bool = field(init=False)
    """Whether it changes keys."""
    may_grow: bool = field(init=False)
    """Whether it may take more memory, and is refused past `maxmemory`."""
    is_served_always: bool = field(init=False)
    """Whether it is answered before the node is a member."""
    is_queued: bool = field(init=False)
    """Whether MULTI queues it."""
    is_refused_in_multi: bool = field(init=False)
    has_counted_keys: bool = field(init=False)
    """Whether the first argument says how many keys follow it; their positions are not fixed then."""

    def __post_init__(self) -> None:
        flags = self.flags.split()
        object.__setattr__(self, "is_write", "write" in flags)
        object.__setattr__(self, "may_grow", "denyoom" in flags)
        object.__setattr__(self, "is_served_always", "loading" in flags)
        object.__setattr__(self, "is_queued", "noqueue" not in flags)
        object.__setattr__(self, "is_refused_in_multi", "no_multi" in flags)
        object.__setattr__(self, "has_counted_keys", "movablekeys" in flags)
        object.__setattr__(self, "full_name", self.full_name or self.name)

    def arity_fits(self, count: int) -> bool:
        """Whether a request of `count` words, the name included, has enough and not too many."""
        return count == self.arity if self.arity >= 0 else count >= -self.arity

    def keys_of(self, args: list[bytes]) -> list[bytes]:
        """The keys among the words of a request. O(words). Raises `CommandError` where their number does not fit."""
        if self.has_counted_keys:
            number = integer(args[1], INVALID_ARGUMENTS)
            if not 0 < number <= len(args) - 2:
                raise CommandError(INVALID_ARGUMENTS)
            return args[2 : 2 + number]
        first, last, step = self.keys
        if first == 0:
            return []
        end = last if last >= 0 else len(args) + last
        return args[first : end + 1 : step]


def command(
    syntax: str,
    handler: Handler,
    arity: int,
    flags: str,
    keys: KeyPositions,
    complexity: str,
    summary: str,
    concurrency: str = "",
    several: Several | None = None,
) -> Command:
    """A row; `syntax` is its name and arguments. The group is filled in by what gathers the rows."""
    name, _, arguments = syntax.partition(" ")
    return Command(
        name, handler, arity, flags, keys, "", summary, complexity, concurrency, arguments=arguments, several=several
    )


def table(group: str, *rows: Command) -> tuple[Command, ...]:
    """The rows of a group of commands."""
    return tuple(replace(row, group=group) for row in rows)


def container(name: str, group: str, summary: str, *rows: Command) -> Command:
    """A command whose second word chooses what it does, HELP among them; the session calls the row's handler."""
    found = {row.name: replace(row, group=group, full_name=f"{name}|{row.name}") for row in rows}

    def help_(session: "Session", args: list[bytes]) -> Reply:
        lines = [f"{name.upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
        for row in sorted(found.values(), key=lambda row: row.name):
            lines += (f"{row.name.upper()} {row.arguments}".rstrip(), f"    {row.summary}")
        return lines

    def alone(session: "Session", args: list[bytes]) -> Reply:
        raise CommandError(wrong_arity(name))

    docs = "Prints this help."
    found["help"] = Command("help", help_, 2, "loading", KEYLESS, group, docs, "O(1)", full_name=f"{name}|help")
    complexity = "Depends on the subcommand"
    return Command(name, alone, -2, "loading", KEYLESS, group, summary, complexity, subcommands=found)
