"""Commands about the connection itself (floor 8)."""

from dataclasses import replace
from typing import TYPE_CHECKING

from marmoset.commands.parsing import integer
from marmoset.commands.table import Command, Handler
from marmoset.resp.errors import (
    CLIENT_NAME,
    DB_INDEX,
    NO_PASSWORD,
    NO_PROTOCOL,
    SYNTAX,
    WRONG_PASSWORD,
    CommandError,
    wrong_arity,
)
from marmoset.resp.replies import OK, PONG, Raw, Reply
from marmoset.version import VERSION

if TYPE_CHECKING:
    from marmoset.session import Session

COMPATIBLE_VERSION = "7.0.15"
"""The Redis that clients may take this server for: they decide by it what to send."""


def ping(session: "Session", args: list[bytes]) -> Reply:
    """PING [message]."""
    if len(args) > 2:
        raise CommandError(wrong_arity("ping"))
    return PONG if len(args) == 1 else args[1]


def echo(session: "Session", args: list[bytes]) -> Reply:
    """ECHO message."""
    return args[1]


def select(session: "Session", args: list[bytes]) -> Reply:
    """SELECT index: there is database 0 only."""
    if integer(args[1]) != 0:
        raise CommandError(DB_INDEX)
    return OK


def quit_(session: "Session", args: list[bytes]) -> Reply:
    """QUIT."""
    session.closing = True
    return OK


def reset(session: "Session", args: list[bytes]) -> Reply:
    """RESET: as if the connection was new."""
    session.reset()
    return Raw(b"+RESET\r\n")


def auth(session: "Session", args: list[bytes]) -> Reply:
    """AUTH [username] password: no passwords are configured yet."""
    if len(args) > 3:
        raise CommandError(SYNTAX)
    if len(args) == 2:
        raise CommandError(NO_PASSWORD)
    if args[1] != b"default":
        raise CommandError(WRONG_PASSWORD)
    return OK


def hello(session: "Session", args: list[bytes]) -> Reply:
    """HELLO [protover [AUTH username password] [SETNAME clientname]]."""
    protocol = session.protocol
    name: bytes | None = None
    if len(args) > 1:
        protocol = integer(args[1], "ERR Protocol version is not an integer or out of range")
        if protocol not in (2, 3):
            raise CommandError(NO_PROTOCOL)
        at = 2
        while at < len(args):
            word = args[at].upper()
            if word == b"AUTH" and at + 2 < len(args):
                if args[at + 1] != b"default":
                    raise CommandError(WRONG_PASSWORD)
                at += 3
            elif word == b"SETNAME" and at + 1 < len(args):
                name = _client_name(args[at + 1])
                at += 2
            else:
                raise CommandError(f"ERR Syntax error in HELLO option '{args[at].decode('utf-8', 'replace')}'")
    if name is not None:
        session.name = name
    session.protocol = protocol
    return {
        b"server": b"redis",
        b"version": COMPATIBLE_VERSION.encode(),
        b"proto": protocol,
        b"id": session.number,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
        b"marmoset_version": VERSION.encode(),
    }


def _client_name(name: bytes) -> bytes:
    if any(not 33 <= byte <= 126 for byte in name):
        raise CommandError(CLIENT_NAME)
    return name


def client_id(session: "Session", args: list[bytes]) -> Reply:
    """CLIENT ID."""
    return session.number


def client_getname(session: "Session", args: list[bytes]) -> Reply:
    """CLIENT GETNAME."""
    return session.name or None


def client_setname(session: "Session", args: list[bytes]) -> Reply:
    """CLIENT SETNAME name."""
    session.name = _client_name(args[2])
    return OK


def client_setinfo(session: "Session", args: list[bytes]) -> Reply:
    """CLIENT SETINFO LIB-NAME name | LIB-VER version."""
    word = args[2].upper()
    if any(not 33 <= byte <= 126 for byte in args[3]):
        raise CommandError(
            f"ERR {args[2].decode('utf-8', 'replace').lower()} cannot contain spaces, newlines or special characters."
        )
    if word == b"LIB-NAME":
        session.library = args[3]
    elif word == b"LIB-VER":
        session.library_version = args[3]
    else:
        raise CommandError(f"ERR Unrecognized option '{args[2].decode('utf-8', 'replace')}'")
    return OK


def client_info(session: "Session", args: list[bytes]) -> Reply:
    """CLIENT INFO."""
    return session.description() + b"\n"


def client_list(session: "Session", args: list[bytes]) -> Reply:
    """CLIENT LIST [TYPE type] [ID id [id ...]]."""
    sessions = session.clients.all()
    if len(args) > 2:
        word = args[2].upper()
        if word == b"TYPE" and len(args) == 4:
            kind = args[3].lower()
            if kind not in (b"normal", b"master", b"replica", b"slave", b"pubsub"):
                raise CommandError(f"ERR Unknown client type '{args[3].decode('utf-8', 'replace')}'")
            sessions = sessions if kind == b"normal" else []
        elif word == b"ID" and len(args) > 3:
            chosen = {integer(arg, "ERR Invalid client ID") for arg in args[3:]}
            sessions = [each for each in sessions if each.number in chosen]
        else:
            raise CommandError(SYNTAX)
    return b"".join(each.description() + b"\n" for each in sessions)


def client_ok(session: "Session", args: list[bytes]) -> Reply:
    """CLIENT NO-EVICT and NO-TOUCH: nothing is evicted here."""
    if args[2].upper() not in (b"ON", b"OFF"):
        raise CommandError(SYNTAX)
    return OK


def subcommand_help(container: str, rows: dict[str, Command]) -> Handler:
    """A HELP for a container command, made from its rows."""

    def help_(session: "Session", args: list[bytes]) -> Reply:
        lines = [f"{container.upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
        for name, row in sorted(rows.items()):
            lines += (f"{name.upper()} {row.arguments}".rstrip(), f"    {row.summary}")
        return lines

    return help_


def container(name: str, rows: tuple[Command, ...], summary: str, group: str, flags: str = "loading") -> Command:
    """A command whose second word chooses what it does."""
    table = {row.name: replace(row, full_name=f"{name}|{row.name}") for row in rows}
    table["help"] = Command(
        "help",
        subcommand_help(name, table),
        2,
        "loading",
        (0, 0, 0),
        group,
        "Prints this help.",
        "O(1)",
        full_name=f"{name}|help",
    )

    def alone(session: "Session", args: list[bytes]) -> Reply:
        raise CommandError(wrong_arity(name))  # the session calls the handler of the row that the second word names

    return Command(name, alone, -2, flags, (0, 0, 0), group, summary, "Depends on the subcommand", subcommands=table)


CLIENT = container(
    "client",
    (
        Command(
            "id",
            client_id,
            2,
            "loading",
            (0, 0, 0),
            "connection",
            "Returns the unique client ID of the connection.",
            "O(1)",
        ),
        Command(
            "getname",
            client_getname,
            2,
            "loading",
            (0, 0, 0),
            "connection",
            "Returns the name of the connection.",
            "O(1)",
        ),
        Command(
            "setname",
            client_setname,
            3,
            "loading",
            (0, 0, 0),
            "connection",
            "Sets the connection name.",
            "O(1)",
            arguments="connection-name",
        ),
        Command(
            "setinfo",
            client_setinfo,
            4,
            "loading",
            (0, 0, 0),
            "connection",
            "Sets information specific to the client or connection.",
            "O(1)",
            arguments="LIB-NAME name | LIB-VER version",
        ),
        Command(
            "info",
            client_info,
            2,
            "loading",
            (0, 0, 0),
            "connection",
            "Returns information about the connection.",
            "O(1)",
        ),
        Command(
            "list",
            client_list,
            -2,
            "loading",
            (0, 0, 0),
            "connection",
            "Lists open connections.",
            "O(N) in the number of connections",
            arguments="[TYPE type] [ID client-id [client-id ...]]",
        ),
        Command(
            "no-evict",
            client_ok,
            3,
            "loading",
            (0, 0, 0),
            "connection",
            "Accepted for compatibility: nothing is evicted.",
            "O(1)",
            arguments="ON | OFF",
        ),
        Command(
            "no-touch",
            client_ok,
            3,
            "loading",
            (0, 0, 0),
            "connection",
            "Accepted for compatibility: nothing is evicted.",
            "O(1)",
            arguments="ON | OFF",
        ),
    ),
    "A container for client connection commands.",
    "connection",
)

TABLE = (
    Command(
        "ping",
        ping,
        -1,
        "fast",
        (0, 0, 0),
        "connection",
        "Returns the server's liveliness response.",
        "O(1)",
        arguments="[message]",
    ),
    Command("echo", echo, 2, "fast", (0, 0, 0), "connection", "Returns the given string.", "O(1)", arguments="message"),
    Command(
        "select",
        select,
        2,
        "loading fast",
        (0, 0, 0),
        "connection",
        "Changes the selected database.",
        "O(1)",
        arguments="index",
    ),
    Command("quit", quit_, -1, "loading fast noqueue", (0, 0, 0), "connection", "Closes the connection.", "O(1)"),
    Command("reset", reset, 1, "loading fast noqueue", (0, 0, 0), "connection", "Resets the connection.", "O(1)"),
    Command(
        "auth",
        auth,
        -2,
        "loading fast",
        (0, 0, 0),
        "connection",
        "Authenticates the connection.",
        "O(1)",
        arguments="[username] password",
    ),
    Command(
        "hello",
        hello,
        -1,
        "loading fast no_multi",
        (0, 0, 0),
        "connection",
        "Handshakes with the server.",
        "O(1)",
        arguments="[protover [AUTH username password] [SETNAME clientname]]",
    ),
    CLIENT,
)
