"""Error texts, the only place that has them (floor 8). They are Redis's own, so that clients recognise them."""

from typing import Final


class CommandError(Exception):
    """A command is refused with an error reply; nothing was changed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class ProtocolError(Exception):
    """The bytes of a client cannot be followed any further; it is told so, and the connection closes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


SYNTAX: Final = "ERR syntax error"
WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
TIMEOUT_NEGATIVE: Final = "ERR timeout is negative"
TIMEOUT_NOT_AN_INTEGER: Final = "ERR timeout is not an integer or out of range"
NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
NOT_POSITIVE: Final = "ERR value is out of range, must be positive"
NOT_A_FLOAT: Final = "ERR value is not a valid float"
HASH_NOT_AN_INTEGER: Final = "ERR hash value is not an integer"
HASH_NOT_A_FLOAT: Final = "ERR hash value is not a float"
OVERFLOW: Final = "ERR increment or decrement would overflow"
INFINITE_AMOUNT: Final = "ERR value is NaN or Infinity"
INFINITE: Final = "ERR increment would produce NaN or Infinity"
NO_SUCH_KEY: Final = "ERR no such key"
INDEX_OUT_OF_RANGE: Final = "ERR index out of range"
INVALID_CURSOR: Final = "ERR invalid cursor"
DB_INDEX: Final = "ERR DB index is out of range"
RANK_ZERO: Final = (
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
    "or use negative to start from the end of the list"
)
COUNT_NEGATIVE: Final = "ERR COUNT can't be negative"
MAXLEN_NEGATIVE: Final = "ERR MAXLEN can't be negative"
NESTED_MULTI: Final = "ERR MULTI calls can not be nested"
EXEC_WITHOUT_MULTI: Final = "ERR EXEC without MULTI"
DISCARD_WITHOUT_MULTI: Final = "ERR DISCARD without MULTI"
WATCH_INSIDE_MULTI: Final = "ERR WATCH inside MULTI is not allowed"
INVALID_EXPIRY: Final = "ERR invalid expire time in 'set' command"
EXEC_ABORT: Final = "EXECABORT Transaction discarded because of previous errors."
OUT_OF_MEMORY: Final = "OOM command not allowed when used memory > 'maxmemory'."
NO_PROTOCOL: Final = "NOPROTO unsupported protocol version"
NO_PASSWORD: Final = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
WRONG_PASSWORD: Final = "WRONGPASS invalid username-password pair or user is disabled."
CLIENT_NAME: Final = "ERR Client names cannot contain spaces, newlines or special characters."
LENGTH_RANGE: Final = "ERR value is out of range"
COUNT_RANGE: Final = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
INT_RANGE: Final = "ERR value is out of range, value must between -2147483648 and 2147483647"
NUMKEYS: Final = "ERR numkeys should be greater than 0"
NUMKEYS_TOO_MANY: Final = "ERR Number of keys can't be greater than number of args"
LIMIT_NEGATIVE: Final = "ERR LIMIT can't be negative"
NOT_IN_MULTI: Final = "ERR Command not allowed inside a transaction"
INVALID_COMMAND: Final = "ERR Invalid command specified"
INVALID_ARGUMENTS: Final = "ERR Invalid arguments specified for command"
NO_KEYS: Final = "ERR The command has no key arguments"
NOT_ENOUGH_ARGUMENTS: Final = "ERR Invalid number of arguments specified for command"

INVALID_BULK_LENGTH: Final = "Protocol error: invalid bulk length"
INVALID_MULTIBULK_LENGTH: Final = "Protocol error: invalid multibulk length"
TOO_BIG_INLINE: Final = "Protocol error: too big inline request"
TOO_LARGE_REQUEST: Final = "Protocol error: a request larger than client_query_bytes_max"
UNBALANCED_QUOTES: Final = "Protocol error: unbalanced quotes in request"


def _shown(argument: bytes, length: int = 128) -> str:
    """The beginning of an argument as Redis repeats it: byte for byte, up to a NUL."""
    return argument[:length].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def unknown_command(args: list[bytes]) -> str:
    """As Redis words it, with the beginning of the arguments."""
    shown = b""
    for arg in args[1:]:
        if len(shown) >= 128:
            break
        shown += b"'%b' " % arg[: 128 - len(shown)].split(b"\0", 1)[0]
    return f"ERR unknown command '{_shown(args[0])}', with args beginning with: " + shown.decode(
        "utf-8", "surrogateescape"
    )


def exec_aborted(why: str) -> str:
    """EXEC itself is refused: the transaction is gone."""
    return f"EXECABORT Transaction discarded because of: {why.removeprefix('ERR ')}"


def unknown_subcommand(container: str, name: bytes) -> str:
    """A container command does not know a word."""
    return f"ERR unknown subcommand '{_shown(name)}'. Try {container.upper()} HELP."


def wrong_arity(name: str) -> str:
    """The number of arguments does not fit."""
    return f"ERR wrong number of arguments for '{name}' command"


def expected_dollar(got: bytes) -> str:
    """A request has something else where a bulk string should begin."""
    return f"Protocol error: expected '$', got '{got.decode('utf-8', 'surrogateescape')}'"


def too_large(name: str, limit: int) -> str:
    """A command would make a batch that no member takes."""
    return f"ERR '{name}' would write more than batch_bytes_max allows ({limit} bytes); nothing was changed"


def internal(name: str) -> str:
    """Our own bug, caught."""
    return f"ERR internal error in '{name}'; it has been logged, and the connection goes on"


def broken_off(name: str) -> str:
    """The same, after which a write is there by half: this one, or one before it in the turn."""
    return f"ERR internal error in '{name}'; a write was broken off, and this node ends: restart it, others fill it"
