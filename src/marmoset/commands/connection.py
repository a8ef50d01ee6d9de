"""Commands about the connection itself (floor 8)."""

from typing import TYPE_CHECKING

from marmoset.commands.parsing import integer
from marmoset.commands.table import KEYLESS, command, container, table
from marmoset.resp.errors import (
    CLIENT_NAME,
    DB_INDEX,
    INT_RANGE,
    NO_PASSWORD,
    NO_PROTOCOL,
    SYNTAX,
    WRONG_PASSWORD,
    CommandError,
    wrong_arity,
)
from marmoset.resp.replies import OK, PONG, Raw, Reply, Verbatim
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
    index = integer(args[1])
    if index:
        raise CommandError(DB_INDEX if -(1 << 31) <= index < 1 << 31 else INT_RANGE)
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
    return Verbatim(session.description() + b"\n")


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
    return Verbatim(b"".join(each.description() + b"\n" for each in sessions))


def client_ok(session: "Session", args: list[bytes]) -> Reply:
    """CLIENT NO-EVICT and NO-TOUCH: nothing is evicted here."""
    if args[2].upper() not in (b"ON", b"OFF"):
        raise CommandError(SYNTAX)
    return OK


# fmt: off
CLIENT = container(
    "client", "connection",
    "A container for client connection commands.",
    command("id", client_id, 2, "loading", KEYLESS,
            "O(1)", "Returns the unique client ID of the connection."),
    command("getname", client_getname, 2, "loading", KEYLESS,
            "O(1)", "Returns the name of the connection."),
    command("setname connection-name", client_setname, 3, "loading", KEYLESS,
            "O(1)", "Sets the connection name."),
    command("setinfo LIB-NAME name | LIB-VER version", client_setinfo, 4, "loading", KEYLESS,
            "O(1)", "Sets information specific to the client or connection."),
    command("info", client_info, 2, "loading", KEYLESS,
            "O(1)", "Returns information about the connection."),
    command("list [TYPE type] [ID client-id [client-id ...]]", client_list, -2, "loading", KEYLESS,
            "O(N) in the number of connections", "Lists open connections."),
    command("no-evict ON | OFF", client_ok, 3, "loading", KEYLESS,
            "O(1)", "Accepted for compatibility: nothing is evicted."),
    command("no-touch ON | OFF", client_ok, 3, "loading", KEYLESS,
            "O(1)", "Accepted for compatibility: nothing is evicted."),
)

TABLE = (
    *table("connection",
        command("ping [message]", ping, -1, "fast", KEYLESS,
                "O(1)", "Returns the server's liveliness response."),
        command("echo message", echo, 2, "fast", KEYLESS,
                "O(1)", "Returns the given string."),
        command("select index", select, 2, "loading fast", KEYLESS,
                "O(1)", "Changes the selected database."),
        command("quit", quit_, -1, "loading fast noqueue", KEYLESS,
                "O(1)", "Closes the connection."),
        command("reset", reset, 1, "loading fast noqueue", KEYLESS,
                "O(1)", "Resets the connection."),
        command("auth [username] password", auth, -2, "loading fast", KEYLESS,
                "O(1)", "Authenticates the connection."),
        command("hello [protover [AUTH username password] [SETNAME clientname]]", hello, -1,
                "loading fast", KEYLESS,
                "O(1)",
                "Handshakes with the server."),
    ),
    CLIENT,
)
# fmt: on
