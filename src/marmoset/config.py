"""Every limit and setting of a node, in one table (floor 0).

The table is the body of `Config`: a field is an option, with its default, the range in which it is safe, what it does
and what goes wrong outside the range. Flags, environment variables, keys of the configuration file, the help of
`marmoset serve` and docs/configuration.md are all made from it; none of them is written by hand.

A value is looked for in this order: flag (or argument of `marmoset.open`), environment variable `MARMOSET_<NAME>`,
key of the TOML file, default. `load` checks each value and how they fit together, and raises `UsageError` naming the
option, where the value came from, the value, and what is accepted.

`Config(...)` itself checks nothing: the simulator shrinks limits below what is safe for a server, on purpose.
Durations are whole milliseconds and sizes whole bytes, under the names that people use for them.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar, cast

from marmoset import units
from marmoset.errors import UsageError
from marmoset.units import DAY, GIB, HOUR, KIB, MIB, MINUTE, SECOND

TEXT: Final = "text"
NUMBER: Final = "number"
FLAG: Final = "flag"
DURATION: Final = "duration"
SIZE: Final = "size"
ADDRESSES: Final = "addresses"

DEFAULT_GOSSIP_PORT: Final = 7946
ENVIRONMENT_PREFIX: Final = "MARMOSET_"
FILE_VARIABLE: Final = "MARMOSET_CONFIG"
NAME_LENGTH_MAX: Final = 64
UNREACHABLE_AFTER_MIN: Final = 200
WILDCARDS: Final = ("0.0.0.0", "::")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Option:
    """One line of the table: how one setting is written, what it may be, and what it is for."""

    name: str
    kind: str
    default: object
    doc: str
    low: int = 0
    high: int = 0
    outside: str = ""
    choices: tuple[str, ...] = ()
    section: str = ""

    @property
    def flag(self) -> str:
        """The flag of `marmoset serve`."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    def text(self, value: object) -> str:
        """A value of this option as people write it."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, tuple):
            return ",".join(value)
        if isinstance(value, int) and self.kind == DURATION:
            return units.duration_text(value)
        if isinstance(value, int) and self.kind == SIZE:
            return units.size_text(value)
        return str(value)

    @property
    def accepted(self) -> str:
        """What may be written, in words."""
        if self.choices:
            return " or ".join(self.choices)
        if self.kind in (NUMBER, DURATION, SIZE):
            form = {NUMBER: "a whole number", DURATION: units.DURATION_FORM, SIZE: units.SIZE_FORM}[self.kind]
            return f"{form}; {self._range}"
        return {
            TEXT: "text",
            FLAG: "true or false",
            ADDRESSES: f"{units.ADDRESS_FORM}; several are separated by commas",
        }[self.kind]

    def parse(self, value: object) -> object:
        """The value of the option from what was written; raises `ValueError` with what is accepted."""
        try:
            parsed = _PARSERS[self.kind](value)
        except ValueError as error:
            raise ValueError(self.accepted if self.choices else str(error)) from error
        if self.choices and parsed not in self.choices:
            raise ValueError(self.accepted)
        if self.kind in (NUMBER, DURATION, SIZE) and not self.low <= cast("int", parsed) <= self.high:
            raise ValueError(f"{self._range}; outside, {self.outside}" if self.outside else self._range)
        return parsed

    @property
    def _range(self) -> str:
        low, high = self.text(self.low), self.text(self.high)
        return f"from {low} to {high}" if low != high else f"{low} alone"


_FLAG_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def _parse_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value.strip()


def _parse_number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip()):
        return int(value)
    raise ValueError("a whole number")


def _parse_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _FLAG_WORDS:
        return _FLAG_WORDS[value.lower()]
    raise ValueError("true or false")


def _parse_duration(value: object) -> int:
    if isinstance(value, timedelta):
        return value // timedelta(milliseconds=1)
    return units.parse_duration(value if isinstance(value, str) else repr(value))


def _parse_size(value: object) -> int:
    return units.parse_size(value) if isinstance(value, str) else _parse_number(value)


def _parse_addresses(value: object) -> tuple[str, ...]:
    """Addresses from one text (commas or spaces between them) or from a list of texts, in order, each once."""
    parts: list[str] = []
    if isinstance(value, str):
        parts = value.replace(",", " ").split()
    elif isinstance(value, Sequence) and all(isinstance(part, str) for part in value):
        parts = [word for part in value for word in part.replace(",", " ").split()]
    else:
        raise ValueError(f"{units.ADDRESS_FORM}; several as a list")
    full = [units.address_text(*units.parse_address(part, DEFAULT_GOSSIP_PORT)) for part in parts]
    return tuple(dict.fromkeys(full))


_PARSERS: Final[dict[str, Callable[[object], object]]] = {
    TEXT: _parse_text,
    NUMBER: _parse_number,
    FLAG: _parse_flag,
    DURATION: _parse_duration,
    SIZE: _parse_size,
    ADDRESSES: _parse_addresses,
}


def _option(
    kind: str,
    default: T,
    doc: str,
    *,
    low: int = 0,
    high: int = 0,
    outside: str = "",
    choices: tuple[str, ...] = (),
) -> T:
    described = {"kind": kind, "doc": doc, "low": low, "high": high, "outside": outside, "choices": choices}
    return field(default=default, metadata=described)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one node. See the module's header; durations in milliseconds, sizes in bytes."""

    name: str = _option(TEXT, "node", "name of this node, one of its kind in the group")
    bind: str = _option(TEXT, "127.0.0.1", "address to listen on, for clients and for other nodes")
    port: int = _option(NUMBER, 6379, "port for Redis clients; 0 takes any free one", high=65535)
    gossip_port: int = _option(
        NUMBER, DEFAULT_GOSSIP_PORT, "port for links between nodes; 0 takes any free one", high=65535
    )
    console_port: int = _option(
        NUMBER, 0, "port for the web console; 0 turns it off", outside="nothing would answer: it is not built yet"
    )
    advertise: str = _option(
        TEXT, "", "address that other nodes reach this one at, host or host:port; empty means bind and gossip_port"
    )

    join: tuple[str, ...] = _option(
        ADDRESSES, (), "members to join through, host:gossip_port; a node that is given none begins a group"
    )
    cluster: str = _option(TEXT, "marmoset", "name of the group; nodes of different names never link")
    keyring: str = _option(
        TEXT, "", "file of the keys that links and datagrams are encrypted with; empty means no encryption"
    )
    bootstrap_expect: int = _option(
        NUMBER,
        0,
        "how many of the join list have to wait before one begins a group, more than half; 0 waits for a member",
        high=1024,
    )
    new_group: bool = _option(FLAG, False, "begin a group where others reach this node, or `join` names nobody else")

    log_format: str = _option(TEXT, "human", "form of the log on standard error", choices=("human", "json"))
    log_level: str = _option(
        TEXT, "info", "least severe line that is logged", choices=("debug", "info", "warning", "error")
    )

    gossip_interval: int = _option(
        DURATION,
        200,
        "time between two exchanges with a random member",
        low=10,
        high=60 * SECOND,
        outside="gossip eats the processor (shorter), or metadata stays for minutes (longer)",
    )
    membership_profile: str = _option(
        TEXT,
        "auto",
        "pace of failure detection; `auto` is `loopback` where bind is a loopback address, and else `lan`",
        choices=("auto", "loopback", "lan", "wan"),
    )
    unreachable_after: int = _option(
        DURATION,
        0,
        "about how long it takes until a member that died is known as unreachable; 0 leaves it to the profile",
        low=0,
        high=HOUR,
        outside="nobody is told that a member is gone (longer)",
    )
    reconnect_min: int = _option(
        DURATION,
        100,
        "first pause before a lost link is tried again; it doubles with each failure",
        low=10,
        high=60 * SECOND,
        outside="a dead address is dialled in a tight loop (shorter)",
    )
    reconnect_max: int = _option(
        DURATION,
        5 * SECOND,
        "longest pause between two tries, and the time that one try may take",
        low=50,
        high=10 * MINUTE,
        outside="no try has the time to succeed (shorter), or a healed cut stays cut (longer)",
    )
    join_timeout: int = _option(
        DURATION,
        10 * SECOND,
        "silence of a sponsor after which joining is begun anew, and of a newcomer after which it is given up",
        low=100,
        high=HOUR,
        outside="a large database can never be joined (shorter)",
    )
    leave_timeout: int = _option(
        DURATION,
        10 * SECOND,
        "how long leaving waits until the others are known to have everything",
        low=0,
        high=HOUR,
        outside="a node that is told to stop does not (longer)",
    )
    clock_skew_max: int = _option(
        DURATION,
        10 * SECOND,
        "how far two wall clocks may differ",
        low=100,
        high=HOUR,
        outside="a healthy link is refused (shorter), or one bad clock wins every conflict (longer)",
    )

    presumed_dead_after: int = _option(
        DURATION,
        10 * MINUTE,
        "time unreachable after which the majority may bury a member",
        low=SECOND,
        high=30 * DAY,
        outside="a reboot costs a member its place (shorter), or metadata piles up behind a dead one (longer)",
    )
    presumed_dead_quorum: str = _option(
        TEXT,
        "majority",
        "who may bury; `one` lets a single node decide, and two halves of a cut may then bury each other",
        choices=("majority", "one"),
    )
    rejoin: str = _option(
        TEXT,
        "rehabilitate",
        "what a node does that was presumed dead and comes back; `wipe` drops what it wrote alone",
        choices=("rehabilitate", "wipe"),
    )
    grave_memory: int = _option(
        DURATION,
        30 * DAY,
        "how long it is remembered up to where the group has the writes of a member that was presumed dead",
        low=MINUTE,
        high=365 * DAY,
        outside="who comes back later has to ask an operator about what is not idempotent (shorter)",
    )
    rehabilitation_memory: int = _option(
        SIZE,
        64 * MIB,
        "bytes of keys changed since a member was presumed dead; past it every key counts as changed for its return",
        low=64 * KIB,
        high=64 * GIB,
        outside="whatever a returning member overwrote has to be replayed by hand (less)",
    )
    replicas_max: int = _option(
        NUMBER,
        64,
        "members that one group may have",
        low=1,
        high=1024,
        outside="reports between members, which grow with their square, fill the links (more)",
    )

    log_budget: int = _option(
        SIZE,
        256 * MIB,
        "bytes of operations kept for members that lack them; past it writes are refused",
        low=MIB,
        high=1024 * GIB,
        outside="a short cut already stops writes (less), or a long one takes all memory (more)",
    )
    budget_grace: int = _option(
        DURATION,
        30 * SECOND,
        "time past `log_budget` after which members that are unreachable or make no progress are buried sooner",
        low=SECOND,
        high=30 * DAY,
        outside="a burst of writes costs a member its place (shorter), or writes are refused for long (longer)",
    )
    write_delay_max: int = _option(
        DURATION,
        100,
        "longest delay of a client's writes while a slow member catches up, from three quarters of `log_budget` on",
        low=0,
        high=10 * SECOND,
        outside="clients time out (longer)",
    )
    maxmemory: int = _option(
        SIZE,
        0,
        "bytes that keys and values may take, tables included; past it `maxmemory_policy` applies; 0 is no limit",
        high=1024 * GIB,
    )
    maxmemory_policy: str = _option(
        TEXT,
        "noeviction",
        "what a node does past `maxmemory`: `noeviction` refuses writes that take memory; `evict-replicated` also "
        "removes keys, drawn at random, from all members",
        choices=("noeviction", "evict-replicated"),
    )
    huge_pages: str = _option(
        TEXT,
        "auto",
        "`auto` puts the memory of `marmoset serve` into huge pages once it is filled, where Linux can and may (6.1 or "
        "later) as long as each is made quickly, so that look-ups wait less for memory; `no` leaves that to the system",
        choices=("auto", "no"),
    )
    batch_bytes_max: int = _option(
        SIZE,
        64 * MIB,
        "largest batch: one value, or one MULTI/EXEC",
        low=64 * KIB,
        high=GIB,
        outside="ordinary values are refused (less), or one write holds every node up (more)",
    )
    batch_operations_max: int = _option(
        NUMBER,
        500,
        "operations after which a turn's batch is closed at the next end of a command",
        low=1,
        high=1_000_000,
        outside="each batch holds the receiver's loop up for too long (more)",
    )
    frame_bytes_max: int = _option(
        SIZE,
        MIB,
        "largest frame on a link between nodes",
        low=16 * KIB,
        high=64 * MIB,
        outside="large batches are cut in too many pieces (less), or a peer can make this node hold too much (more)",
    )
    link_buffer_max: int = _option(
        SIZE,
        8 * MIB,
        "bytes waiting on one link before its stream is held back",
        low=64 * KIB,
        high=GIB,
        outside="streams stop and go (less), or slow peers take all memory (more)",
    )
    split_above: int = _option(
        NUMBER,
        10_000,
        "elements above which a collection is kept in parts",
        low=16,
        high=1_000_000,
        outside="growing one collection, or sending it to a newcomer, stalls the node for a noticeable time (more)",
    )

    maxclients: int = _option(
        NUMBER,
        10_000,
        "client connections at one time",
        low=1,
        high=1_000_000,
        outside="the system's limit on open files is met first (more)",
    )
    client_query_bytes_max: int = _option(
        SIZE,
        513 * MIB,
        "bytes of a request that a client has begun; past it, and a read of 256kb, the client is disconnected",
        low=64 * KIB,
        high=4 * GIB,
        outside="ordinary values cannot be sent (less), or one client can take all memory (more)",
    )
    client_output_bytes_max: int = _option(
        SIZE,
        GIB,
        "bytes of answers that one client may leave unread; past it the client is disconnected",
        low=64 * KIB,
        high=16 * GIB,
        outside="ordinary answers disconnect their client (less), or one client can take all memory (more)",
    )

    @property
    def address(self) -> str:
        """The `host:gossip_port` under which other nodes know this one."""
        if not self.advertise:
            return units.address_text(self.bind, self.gossip_port)
        return units.address_text(*units.parse_address(self.advertise, self.gossip_port))


# The option that each section of the table begins with.
_SECTIONS: Final = {
    "name": "Who and where",
    "join": "The group",
    "log_format": "Logs",
    "gossip_interval": "Gossip and links",
    "presumed_dead_after": "Members that are gone",
    "log_budget": "Memory",
    "maxclients": "Clients",
}


def _table() -> tuple[Option, ...]:
    options: list[Option] = []
    section = ""
    for f in fields(Config):
        section = _SECTIONS.get(f.name, section)
        options.append(Option(name=f.name, default=f.default, section=section, **f.metadata))
    return tuple(options)


OPTIONS: Final[tuple[Option, ...]] = _table()
BY_NAME: Final[dict[str, Option]] = {option.name: option for option in OPTIONS}


def load(
    given: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: str | None = None,
    *,
    given_as_flags: bool = False,
) -> Config:
    """The checked configuration from all sources.

    `given` has what was asked for explicitly, by option name (values as text or of the option's own type), `environ`
    the environment, `file` the path of a TOML file (else the one that `MARMOSET_CONFIG` names, if any).
    Raises `UsageError` for an unknown name, a value that is not accepted, or a file that cannot be read.
    """
    variables = environ or {}
    path = file or variables.get(FILE_VARIABLE)
    values: dict[str, object] = {}
    if path:
        for name, value in read_file(path).items():
            values[name] = _parsed(BY_NAME[name], value, f"{name} in {path}")
    for option in OPTIONS:
        written = variables.get(option.variable)
        if written is not None:
            values[option.name] = _parsed(option, written, option.variable)
    for name, value in (given or {}).items():
        if name not in BY_NAME:
            raise UsageError(f"unknown option {name!r}{_suggestion(name)}")
        option = BY_NAME[name]
        values[name] = _parsed(option, value, option.flag if given_as_flags else name)
    if values.get("join") == () and not values.get("new_group"):  # from a variable that is not set, most likely
        raise UsageError(
            "join: a list was given and has no address in it; name a member, as in --join HOST:PORT, "
            "or leave join out, or say --new-group, to begin a new group"
        )
    config = replace(Config(), **values)  # type: ignore[arg-type]  # each value was made by its own option
    check_together(config)
    return config


def read_file(path: str) -> dict[str, object]:
    """The keys of a TOML configuration file, each a known option; raises `UsageError` otherwise."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the configuration file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as undecodable:
        raise UsageError(f"the configuration file {path} is not UTF-8 text: {undecodable.reason}") from undecodable
    except tomllib.TOMLDecodeError as malformed:
        raise UsageError(f"the configuration file {path} is not TOML: {malformed}") from malformed
    for name in content:
        if name not in BY_NAME:
            raise UsageError(f"unknown key {name!r} in {path}{_suggestion(name)}")
    return content


def _parsed(option: Option, value: object, where: str) -> object:
    try:
        return option.parse(value)
    except ValueError as error:
        shown = value if isinstance(value, str) else repr(value)
        raise UsageError(f"{where}: {shown} is not accepted; it takes {error}") from error


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), list(BY_NAME), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return "; known are " + ", ".join(BY_NAME)


# Pairs of options of which the first must not be more than the second, and why.
ORDERED: Final = (
    ("unreachable_after", "presumed_dead_after", "a member must be unreachable before it can be presumed dead"),
    ("reconnect_min", "reconnect_max", "the pause between two tries grows from the first to the second"),
    ("batch_bytes_max", "log_budget", "the log must hold the largest batch"),
    ("frame_bytes_max", "link_buffer_max", "a link must hold at least one frame"),
)


def check_together(config: Config) -> None:
    """Raise `UsageError` unless the settings fit together."""
    for lesser, greater, why in ORDERED:
        low, high = getattr(config, lesser), getattr(config, greater)
        if low > high:
            lesser_text, greater_text = BY_NAME[lesser].text(low), BY_NAME[greater].text(high)
            raise UsageError(f"{lesser} ({lesser_text}) must not be above {greater} ({greater_text}): {why}")
    for name in ("name", "cluster"):
        text = getattr(config, name)
        if not 0 < len(text) <= NAME_LENGTH_MAX or not text.isprintable() or any(c.isspace() for c in text):
            accepted = f"1 to {NAME_LENGTH_MAX} printable characters, no spaces"
            raise UsageError(f"{name}: {text!r} is not accepted; it takes {accepted}")
    if not config.bind:
        raise UsageError("bind: an empty address is not accepted; 127.0.0.1 is this machine alone")
    if config.advertise:
        try:
            units.parse_address(config.advertise, DEFAULT_GOSSIP_PORT)
        except ValueError as error:
            raise UsageError(f"advertise: {config.advertise} is not accepted; it takes {error}") from error
    elif config.bind in WILDCARDS:
        raise UsageError(
            f"bind {config.bind} listens on every address of this machine; "
            "say with advertise at which of them the other nodes reach it"
        )
    listed = len(config.join)
    if config.bootstrap_expect and not listed < 2 * config.bootstrap_expect <= 2 * listed:
        raise UsageError(
            f"bootstrap_expect: {config.bootstrap_expect} is not accepted with a join list of {listed}; it takes more "
            "than half of the list, or two groups could begin, and not more than all of it"
        )
    if 0 < config.unreachable_after < UNREACHABLE_AFTER_MIN:
        given, least = units.duration_text(config.unreachable_after), units.duration_text(UNREACHABLE_AFTER_MIN)
        raise UsageError(
            f"unreachable_after: {given} is not accepted; it takes 0 or at least {least}: "
            "below, ordinary delays look like failures"
        )
    if config.port and config.port == config.gossip_port:
        raise UsageError(f"port and gossip_port are both {config.port}; clients and nodes need a port each")
