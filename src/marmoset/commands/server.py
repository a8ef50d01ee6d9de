"""INFO, COMMAND and what else clients ask a server about itself (floor 8)."""

import platform
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from marmoset import build
from marmoset.commands.connection import COMPATIBLE_VERSION
from marmoset.commands.glob import compile_glob
from marmoset.commands.syntax import parse
from marmoset.commands.table import KEYLESS, Command, command, container, table
from marmoset.config import Config
from marmoset.resp.errors import INVALID_COMMAND, NO_KEYS, NOT_ENOUGH_ARGUMENTS, SYNTAX, CommandError
from marmoset.resp.replies import EMPTY_ARRAY, Reply, SetReply, Verbatim
from marmoset.version import VERSION

if TYPE_CHECKING:
    from marmoset.session import Session

Section = dict[str, str | int]


def _sections(session: "Session") -> dict[str, Section]:
    database = session.database
    node, status = database.node, database.node.status()
    return {
        "Server": {
            "redis_version": COMPATIBLE_VERSION,
            "marmoset_version": VERSION,
            "marmoset_build": build.kind(),
            "redis_mode": "standalone",
            "os": f"{platform.system()} {platform.release()} {platform.machine()}",
            "arch_bits": 64,
            "python_version": ".".join(map(str, sys.version_info[:3])),
            "run_id": status["id"],
            "tcp_port": node.config.port,
            "uptime_in_seconds": node.uptime_ms() // 1000,
            "uptime_in_days": node.uptime_ms() // 86_400_000,
        },
        "Clients": {"connected_clients": len(session.clients.all()), "maxclients": node.config.maxclients},
        "Memory": _memory(status),
        "Persistence": {"loading": int(node.state in ("waiting", "joining"))},
        "Stats": {
            "total_connections_received": session.clients.total,
            "rejected_connections": session.clients.refused,
            "total_commands_processed": session.clients.commands + session.commands,
            "evicted_keys": status["evicted_keys"],
        },
        "Replication": {"role": "master", "connected_slaves": 0},
        "Marmoset": {name: value for name, value in status.items() if name not in ("keys", "version")},
        "Keyspace": _keyspace(status),
    }


def _memory(status: Section) -> Section:
    """What keys and values take; of the process only the system knows. The log is not part of it."""
    used, limit = int(status["used_memory"]), int(status["maxmemory"])
    return {
        "used_memory": used,
        "used_memory_human": size_in_words(used),
        "used_memory_dataset": used,
        "maxmemory": limit,
        "maxmemory_human": size_in_words(limit),
        "maxmemory_policy": status["maxmemory_policy"],
        "mem_not_counted_for_evict": status["log_bytes"],
    }


def size_in_words(size: int) -> str:
    """Bytes as Redis's INFO shows them: `512B`, `1.50K`, `2.00G`. O(1)."""
    for power, unit in ((4, "T"), (3, "G"), (2, "M"), (1, "K")):
        if size >= 1 << 10 * power:
            return f"{size / (1 << 10 * power):.2f}{unit}"
    return f"{size}B"


def _keyspace(status: Section) -> Section:
    if not status["keys"]:
        return {}
    return {"db0": f"keys={status['keys']},expires={status['keys_with_deadline']},avg_ttl=0"}


def info(session: "Session", args: list[bytes]) -> Reply:
    """INFO [section ...]."""
    wanted = {arg.lower().decode("utf-8", "replace") for arg in args[1:]}
    everything = not wanted or wanted & {"default", "all", "everything"}
    blocks = [
        f"# {title}\r\n" + "".join(f"{name}:{value}\r\n" for name, value in section.items())
        for title, section in _sections(session).items()
        if everything or title.lower() in wanted
    ]
    return Verbatim("\r\n".join(blocks).encode())


def categories(command: Command) -> list[str]:
    """The ACL categories of a command, from its flags and group. O(flags)."""
    flags = command.flags.split()
    found = [category for flag, category in (("write", "@write"), ("readonly", "@read")) if flag in flags]
    found.append(_CATEGORY_BY_GROUP.get(command.group, f"@{command.group}"))
    found.append("@fast" if "fast" in flags else "@slow")
    return found


_CATEGORY_BY_GROUP: Final = {
    "cluster": "@admin",
    "generic": "@keyspace",
    "server": "@admin",
    "sorted-set": "@sortedset",
    "transactions": "@transaction",
}


def _row(command: Command) -> Reply:
    """What COMMAND INFO says of it; tips and key specifications are empty, since the positions of keys say it all."""
    flags = [flag for flag in command.flags.split() if flag != "noqueue"]
    first, last, step = command.keys
    return [
        command.full_name.encode(),
        command.arity,
        SetReply(flags),
        first,
        last,
        step,
        SetReply(categories(command)),
        SetReply([]),
        SetReply([]),
        SetReply([_row(each) for each in command.subcommands.values()]),
    ]


def command_all(session: "Session", args: list[bytes]) -> Reply:
    """COMMAND."""
    return [_row(command) for command in session.commands_table.values()]


def command_count(session: "Session", args: list[bytes]) -> Reply:
    """COMMAND COUNT."""
    return len(session.commands_table)


def _named(session: "Session", name: bytes) -> Command | None:
    words = name.lower().decode("utf-8", "replace").split("|")
    command = session.commands_table.get(words[0])
    if command is not None and len(words) == 2:
        return command.subcommands.get(words[1])
    return command if len(words) == 1 else None


def command_info(session: "Session", args: list[bytes]) -> Reply:
    """COMMAND INFO [command-name ...]."""
    if len(args) == 2:
        return command_all(session, args)
    found = [_named(session, name) for name in args[2:]]
    return [None if row is None else _row(row) for row in found]


def _docs(command: Command) -> dict[bytes, Reply]:
    docs: dict[bytes, Reply] = {
        b"summary": command.summary.encode(),
        b"since": command.since.encode(),
        b"group": command.group.encode(),
        b"complexity": command.complexity.encode(),
    }
    if command.arguments:
        docs[b"arguments"] = [argument.reply() for argument in parse(command.arguments)]
    if command.subcommands:
        docs[b"subcommands"] = {each.full_name.encode(): _docs(each) for each in command.subcommands.values()}
    return docs


def command_docs(session: "Session", args: list[bytes]) -> Reply:
    """COMMAND DOCS [command-name ...]."""
    names = args[2:] or [name.encode() for name in session.commands_table]
    found = [(name, _named(session, name)) for name in names]
    return {command.full_name.encode(): _docs(command) for _, command in found if command is not None}


def command_list(session: "Session", args: list[bytes]) -> Reply:
    """COMMAND LIST [FILTERBY PATTERN pattern | ACLCAT category | MODULE name]."""
    names = [name.encode() for name in session.commands_table]
    if len(args) == 2:
        return names
    if len(args) != 5 or args[2].upper() != b"FILTERBY":
        raise CommandError(SYNTAX)
    word = args[3].upper()
    if word == b"PATTERN":
        match = compile_glob(args[4].lower()).fullmatch
        return [name for name in names if match(name)]
    if word in (b"ACLCAT", b"MODULE"):
        return EMPTY_ARRAY
    raise CommandError(SYNTAX)


def command_getkeys(session: "Session", args: list[bytes]) -> Reply:
    """COMMAND GETKEYS command [arg ...]."""
    command = session.commands_table.get(args[2].lower().decode("utf-8", "replace"))
    if command is not None and command.subcommands and len(args) > 3:
        command = command.subcommands.get(args[3].lower().decode("utf-8", "replace"))
    if command is None:
        raise CommandError(INVALID_COMMAND)
    if not command.arity_fits(len(args) - 2):
        raise CommandError(NOT_ENOUGH_ARGUMENTS)
    keys = command.keys_of(args[2:])
    if not keys:
        raise CommandError(NO_KEYS)
    return [*keys]


# fmt: off
COMMAND = container(
    "command", "server",
    "Returns detailed information about all commands.",
    command("count", command_count, 2, "loading", KEYLESS,
            "O(1)", "Returns a count of commands."),
    command("info [command-name [command-name ...]]", command_info, -2, "loading", KEYLESS,
            "O(N) in the number of commands", "Returns information about one, multiple or all commands."),
    command("docs [command-name [command-name ...]]", command_docs, -2, "loading", KEYLESS,
            "O(N) in the number of commands", "Returns documentary information about one, multiple or all commands."),
    command("list [FILTERBY PATTERN pattern]", command_list, -2, "loading", KEYLESS,
            "O(N) in the number of commands", "Returns a list of command names."),
    command("getkeys command [arg [arg ...]]", command_getkeys, -4, "loading", KEYLESS,
            "O(N) in the number of arguments", "Extracts the key names from an arbitrary command."),
)
# fmt: on


def command_alone(session: "Session", args: list[bytes]) -> Reply:
    """COMMAND without a subcommand."""
    return command_all(session, args)


def config_get(session: "Session", args: list[bytes]) -> Reply:
    """CONFIG GET pattern [pattern ...]: the settings of this node, and what Redis's tools look for."""
    config: Config = session.database.config
    settings = {name: _shown(getattr(config, name)) for name in sorted(Config.__dataclass_fields__)}
    settings.update({"save": b"", "appendonly": b"no", "databases": b"1"})
    settings["maxmemory-policy"] = settings["maxmemory_policy"]  # as Redis spells it
    found: dict[bytes, Reply] = {}
    for pattern in args[2:]:
        name = pattern.lower().decode("utf-8", "replace")
        if name in settings:
            found[pattern] = settings[name]  # spelled as it was asked for
        else:
            match = compile_glob(pattern.lower()).fullmatch
            found.update((name.encode(), value) for name, value in settings.items() if match(name.encode()))
    return found


def _shown(value: object) -> bytes:
    if isinstance(value, bool):
        return b"yes" if value else b"no"
    if isinstance(value, tuple):
        return ",".join(map(str, value)).encode()
    return str(value).encode()


# fmt: off
CONFIG = container(
    "config", "server",
    "A container for server configuration commands; settings are changed at the start, not while running.",
    command("get parameter [parameter ...]", config_get, -3, "loading", KEYLESS,
            "O(N) in the number of parameters", "Returns the effective values of configuration parameters."),
)
# fmt: on


def shutdown(session: "Session", args: list[bytes]) -> Reply:
    """SHUTDOWN: a member leaves its group, which takes agreement; MARMOSET LEAVE does that."""
    raise CommandError("ERR use MARMOSET LEAVE: this member then leaves its group and its process ends")


# fmt: off
TABLE = (
    *table("server",
        command("info [section [section ...]]", info, -1, "loading", KEYLESS,
                "O(members + shards)", "Returns information and statistics about the server."),
        command("shutdown", shutdown, -1, "", KEYLESS,
                "O(1)", "Refused: MARMOSET LEAVE ends a member."),
    ),
    replace(COMMAND, handler=command_alone, arity=-1, complexity="O(N) in the number of commands"),
    CONFIG,
)
# fmt: on
