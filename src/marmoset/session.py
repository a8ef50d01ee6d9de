"""One client's conversation (floor 8): bytes in, bytes out.

A session holds what belongs to one connection: its parser, protocol version and name, its open transaction and watched
keys, and what its last write was. It runs whole requests in one pass from received bytes to reply bytes. A fault of
the protocol answers and closes; HTTP closes without an answer; an error of a command answers and goes on; an unexpected
exception is our own bug: it is answered, told to the node's log, and the connection lives. So does the node, unless a
write was broken off in the middle (`Replica.is_changing`) that others are to hear of: what it has is not what it tells.

Life of a transaction: `queue` is None outside of one, a list of requests inside. What is refused before it runs
(unknown, wrong number of arguments, too large) makes EXEC refuse the whole.

A command that has to wait answers with a `Deferred`: the session is then blocked, keeps the requests behind it, and
calls `on_ready` once `resume` has something to give. Inside a transaction nothing waits.

Sizes. What a command writes is measured by what was sent for it; a command that can write more than it was sent asks
`Database.charge` before it begins. Nothing may make a batch of more than `batch_bytes_max`, and what would is refused
whole. Requests that came in few bytes are not measured one by one: each is charged the mean.
"""

from typing import Final, cast, final

from marmoset.commands import COMMANDS
from marmoset.commands.database import PER_VALUE_BYTES, Database, request_bytes
from marmoset.commands.table import Command, Several
from marmoset.ids import Dot
from marmoset.keyspace import Watch
from marmoset.node import Node
from marmoset.replication.expiry import observe_time
from marmoset.replication.replica import OPEN_BYTES_MAX
from marmoset.resp import errors
from marmoset.resp.conversation import Conversation
from marmoset.resp.errors import CommandError, ProtocolError
from marmoset.resp.parser import RequestParser
from marmoset.resp.replies import (
    NULL_ARRAY,
    QUEUED,
    Deferred,
    ErrorReply,
    Raw,
    Reply,
    append_bulk,
    append_integer,
    encode,
    error,
)

_SERVING: Final = "serving"

SMALL_BYTES: Final = 16 * 1024
"""Requests that came in no more bytes than this are not measured one by one."""

_HTTP_WORDS: Final = frozenset((b"post", b"host:"))
"""Redis closes on these, too: one of them begins a line early in every HTTP request that can carry commands."""
_NOTHING: Final = Raw(b"")

SEVERAL_MAX: Final = 64
"""Requests that say the same are run as one up to so many."""

OWN_BATCH_BYTES: Final = OPEN_BYTES_MAX // 2
"""What writes more than this does not join the open batch, but begins one."""


@final
class Clients:
    """All sessions of one server."""

    __slots__ = ("_database", "_sessions", "commands", "refused", "total")

    def __init__(self) -> None:
        self._database: Database | None = None
        self._sessions: dict[int, Session] = {}
        self.total = 0
        self.refused = 0
        """Connections above `maxclients`, which have no session."""
        self.commands = 0
        """Commands of sessions that have ended."""

    def database(self, node: Node) -> Database:
        """The keys of the node, for all sessions together: they write into one open batch."""
        if self._database is None:
            self._database = Database(node)
        assert self._database.node is node
        return self._database

    def add(self, session: "Session") -> None:
        """A connection has come."""
        self._sessions[session.number] = session
        self.total += 1

    def remove(self, session: "Session") -> None:
        """A connection is gone."""
        if self._sessions.pop(session.number, None) is not None:
            self.commands += session.commands

    def all(self) -> "list[Session]":
        """All sessions, in the order in which they came. O(sessions)."""
        return list(self._sessions.values())


@final
class Session(Conversation):
    """The conversation with one client of one node."""

    __slots__ = (
        "_behind",
        "_deferred",
        "_failed",
        "_fault",
        "_last_found",
        "_last_name",
        "_last_seq",
        "_lookup",
        "_memory_limit",
        "_parser",
        "_queued_bytes",
        "_watch",
        "_watched",
        "_writer",
        "clients",
        "commands",
        "commands_table",
        "database",
        "in_transaction",
        "last_command",
        "library",
        "library_version",
        "name",
        "number",
        "peer",
        "protocol",
        "queue",
    )

    def __init__(self, node: Node, clients: Clients, number: int, peer: str) -> None:
        super().__init__()
        self.database = clients.database(node)
        self._memory_limit = node.memory_limit
        self.clients = clients
        self.number = number
        self.peer = peer
        self.commands = 0
        self.commands_table = COMMANDS
        self._writer = 0  # whose seq the next one is: apart, since a pair would be made at every write
        self._last_seq = 0
        self.in_transaction = False
        """Whether EXEC is running commands."""
        self.last_command: Command | None = None
        self.name = b""
        self.library = b""
        self.library_version = b""
        self.protocol = 2
        self.queue: list[tuple[Command, list[bytes]]] | None = None
        self._failed = False
        self._fault: str | None = None
        self._deferred: Deferred | None = None
        self._behind: list[list[bytes]] = []
        self._queued_bytes = 0
        self._watch: Watch | None = None
        self._watched: dict[bytes, bool] = {}  # in the order in which they were named; whether they were there
        self._parser = RequestParser(node.config.client_query_bytes_max)
        self._lookup = _LOOKUP
        self._last_name = b""
        self._last_found: Command | None = None  # what that name stands for
        clients.add(self)

    # -- bytes

    def receive(self, data: bytes) -> bytes:
        """Run the requests that `data` completes; their replies. Not while the session is blocked. O(requests)."""
        assert not self.is_blocked
        requests: list[list[bytes]] = []
        size = len(data) + self._parser.held_bytes
        try:
            self._parser.feed(data, requests)
        except ProtocolError as problem:
            self._fault = problem.text
        return self._receive(requests, size)

    def receive_whole(self, requests: list[list[bytes]], size: int) -> bytes:
        """The same for requests that were parsed already, from so many bytes; where it `is_between_requests` only."""
        return self._receive(requests, size)

    def _receive(self, requests: list[list[bytes]], size: int) -> bytes:
        charged = size // len(requests) + PER_VALUE_BYTES if requests and size <= SMALL_BYTES else -1
        if self.database.keyspace.deadlines.count:
            observe_time(self.database.replica)
        out: list[bytes] = []
        self._run_all(requests, charged, out)
        return out[0] if len(out) == 1 else b"".join(out)

    def _run_all(self, requests: list[list[bytes]], size: int, out: list[bytes]) -> None:
        """Run requests up to one whose reply is deferred, and append their replies."""
        writer, seq = self._writer, self._last_seq
        at, end, singly = 0, len(requests), 0
        while at < end:
            reply = self.run(requests[at], size)
            at += 1
            kind = type(reply)
            if kind is Raw:
                out.append(cast("Raw", reply).data)
            elif kind is int:
                append_integer(cast("int", reply), out)
            elif kind is bytes:
                append_bulk(cast("bytes", reply), out)
            elif kind is Deferred:
                self._deferred = deferred = cast("Deferred", reply)
                self._behind = requests[at:]
                deferred.when_ready(self.on_ready)
                break
            else:
                encode(reply, self.protocol, out)
            if self.closing:
                break
            if at < end and at >= singly and size >= 0:
                command = self._last_found
                if command is not None and command.several is not None:
                    stop = min(end, at + self._several_max(command))
                    alike = _end_of_alike(requests, at, stop, self._last_name, command.several.words)
                    if self._run_several(command, command.several, requests[at:alike], size, out):
                        at = alike
                    else:
                        singly = alike
        else:
            if self._fault is not None:
                out.append(error(f"ERR {self._fault}"))
                self.closing = True
        has_written = self._last_seq != seq or self._writer != writer
        self.delay_ms = self.database.node.budget.delay_ms if has_written else 0

    def _several_max(self, command: Command) -> int:
        """How many requests may be run as one: writes no more than the open batch has room for, so that it ends where
        it would have ended. O(1)."""
        if not command.is_write:
            return SEVERAL_MAX
        replica = self.database.replica
        return min(SEVERAL_MAX, replica.batch_operations_max - replica.open_batch.count)

    def _run_several(
        self, command: Command, several: Several, requests: list[list[bytes]], size: int, out: list[bytes]
    ) -> bool:
        """Run requests that say the same as one and append their replies; whether that was done."""
        if len(requests) < 2 or self.queue is not None or self._refusal(command) is not None:
            return False
        try:
            replies = several.handler(self, requests)
        except CommandError:
            return False
        except Exception as fault:  # our own bug; some of them may have been done
            replies = [self._internal(command, fault)] * len(requests)
        if not replies:
            return False
        self.commands += len(replies)
        self.last_command = command
        if command.is_write:
            self.database.written_bytes = size * len(replies)
            self._end_write(self.database)
        for reply in replies:
            encode(reply, self.protocol, out)
        return True

    @property
    def is_blocked(self) -> bool:
        """Whether a reply is deferred: nothing may be received before `resume` has given it. O(1)."""
        return self._deferred is not None

    @property
    def is_between_requests(self) -> bool:
        """Whether the bytes that come next begin a request. O(1)."""
        return self._parser.is_between_requests

    def resume(self) -> bytes:
        """The reply that was deferred, if it is there now, and those to what came behind it. O(requests)."""
        deferred = self._deferred
        if deferred is None or not deferred.is_ready:
            return b""
        behind, self._deferred, self._behind = self._behind, None, []
        out: list[bytes] = []
        encode(deferred.reply, self.protocol, out)
        if self.database.keyspace.deadlines.count:
            observe_time(self.database.replica)
        self._run_all(behind, -1, out)
        return b"".join(out)

    def close(self) -> None:
        """The connection is gone."""
        deferred, self._deferred = self._deferred, None
        if deferred is not None and not deferred.is_ready and deferred.abandon is not None:
            deferred.abandon()
        self.drop_queue()
        self.clients.remove(self)

    # -- commands

    def run(self, args: list[bytes], size: int = -1) -> Reply:
        """Run one request, or queue it inside a transaction; its reply. Never raises.

        `size` says how many bytes it is charged if it writes; a negative one has it measured.
        """
        self.commands += 1
        name = args[0]
        command = self._last_found
        if command is None or name != self._last_name:  # a client mostly says the same again; that is compared faster
            command = self._lookup.get(name) or self._lookup.get(name.lower())
            if command is None:
                if name.lower() in _HTTP_WORDS:
                    return self._end_http(name)
                return self._refuse(errors.unknown_command(args))
            self._last_name, self._last_found = name, command
        if command.subcommands and len(args) > 1:
            row = command.subcommands.get(args[1].lower().decode("utf-8", "replace"))
            if row is None:
                return self._refuse(errors.unknown_subcommand(command.name, args[1]))
            command = row
        arity = command.arity
        if len(args) != arity if arity >= 0 else len(args) < -arity:
            return self._refuse(errors.wrong_arity(command.full_name), command)
        refusal = self._refusal(command)
        if refusal is not None:
            return self._refuse(refusal, command)
        self.last_command = command
        if self.queue is not None and command.is_queued:
            return self._enqueue(command, args)
        if not command.is_write:
            return self._call(command, args)
        database = self.database
        if size < 0:
            size = request_bytes(args)
            limit = database.config.batch_bytes_max
            if size > limit:
                return self._refuse(errors.too_large(command.name, limit))
            if size > OWN_BATCH_BYTES:
                database.replica.cut()
        database.written_bytes = size
        reply = self._call(command, args)
        self._end_write(database)
        return reply

    def _refusal(self, command: Command) -> str | None:
        """Why a command may not run now, whatever its arguments are. O(1)."""
        is_write = command.is_write
        node = self.database.node
        if (is_write or node.state != _SERVING) and not command.is_served_always:
            refusal = node.refusal(is_write)
            if refusal is not None:
                return refusal
        return errors.OUT_OF_MEMORY if is_write and self._memory_limit.is_full and command.may_grow else None

    @property
    def last_write(self) -> Dot | None:
        """Everything of this node up to here was written when this client's last write was done. O(1)."""
        return (self._writer, self._last_seq) if self._writer else None

    def _end_write(self, database: Database) -> None:
        """A command, or a whole transaction, has written what it had to."""
        replica = database.replica
        replica.end_of_command(database.written_bytes)
        self._writer = replica.me
        self._last_seq = replica.next_seq - 1

    def _call(self, command: Command, args: list[bytes]) -> Reply:
        try:
            return command.handler(self, args)
        except CommandError as problem:
            return ErrorReply(problem.text)
        except Exception as fault:  # our own bug
            return self._internal(command, fault)

    def _internal(self, command: Command, fault: Exception) -> ErrorReply:
        """The connection goes on, and so does the node; only to the end of the turn, where a write was broken off."""
        self.database.node.notify("error", "internal error", command=command.full_name, problem=repr(fault))
        is_broken_off = self.database.replica.is_changing
        return ErrorReply((errors.broken_off if is_broken_off else errors.internal)(command.full_name))

    def _refuse(self, text: str, command: Command | None = None) -> ErrorReply:
        """Before a command has begun: in a transaction, EXEC will not run it."""
        if command is not None and command.name == "exec":
            self.drop_queue()
            return ErrorReply(errors.exec_aborted(text))
        if self.queue is not None:
            self._failed = True
        return ErrorReply(text)

    def _end_http(self, word: bytes) -> Raw:
        """Close on a browser that was made to send requests here: nothing is answered, nothing behind it runs."""
        self.closing = True
        what = word.decode("ascii")
        self.database.node.notify("warning", "closed a connection that speaks HTTP", peer=self.peer, word=what)
        return _NOTHING

    # -- transactions

    def _enqueue(self, command: Command, args: list[bytes]) -> Reply:
        assert self.queue is not None
        if command.is_refused_in_multi:
            return self._refuse(errors.NOT_IN_MULTI)
        self._queued_bytes += request_bytes(args)
        limit = self.database.config.batch_bytes_max
        if self._queued_bytes > limit:
            return self._refuse(errors.too_large("multi", limit))
        self.queue.append((command, args))
        return QUEUED

    def begin_queue(self) -> None:
        """MULTI."""
        self.queue = []
        self._failed = False
        self._queued_bytes = 0

    def drop_queue(self) -> None:
        """Leave the transaction, and watch nothing any more."""
        self.queue = None
        self._failed = False
        self._queued_bytes = 0
        self.unwatch()

    def execute_queue(self) -> Reply:
        """EXEC: everything in one batch, which is applied whole everywhere."""
        queue, failed, watch = self.queue, self._failed, self._watch
        if queue is None:
            raise CommandError(errors.EXEC_WITHOUT_MULTI)
        touched = watch is not None and (watch.touched or self._has_expired())
        size = self._queued_bytes
        self.drop_queue()
        if failed:
            raise CommandError(errors.EXEC_ABORT)
        if touched:
            return NULL_ARRAY
        if not any(command.is_write for command, _ in queue):
            return self._call_all(queue)
        database = self.database
        refusal = database.node.refusal(True)
        if refusal is not None:
            raise CommandError(errors.exec_aborted(refusal))
        if self._memory_limit.is_full and any(command.may_grow for command, _ in queue):
            raise CommandError(errors.exec_aborted(errors.OUT_OF_MEMORY))
        if size > OWN_BATCH_BYTES:
            database.replica.cut()
        database.written_bytes = size
        replies = self._call_all(queue)
        self._end_write(database)
        return replies

    def _call_all(self, queue: list[tuple[Command, list[bytes]]]) -> list[Reply]:
        self.in_transaction = True
        protocol = self.protocol
        replies: list[Reply] = []
        try:
            for command, args in queue:
                reply = self._call(command, args)
                if self.protocol != protocol:  # HELLO: what was answered before it is told as it was until then
                    replies = [_encoded(each, protocol) for each in replies]
                    protocol = self.protocol
                replies.append(reply)
        finally:
            self.in_transaction = False
        return replies

    def watch(self, keys: list[bytes]) -> None:
        """WATCH: the next EXEC runs only if none of the keys is touched until then. O(keys)."""
        if self._watch is None:
            self._watch = Watch()
        for key in keys:
            if key not in self._watched:
                self._watched[key] = key in self.database.keyspace
                self.database.keyspace.watch(key, self._watch)

    def _has_expired(self) -> bool:
        """Whether a watched key was there and is not any more: a deadline that passes touches nothing. O(keys)."""
        keyspace = self.database.keyspace
        return any(was and key not in keyspace for key, was in self._watched.items())

    def unwatch(self) -> None:
        """Watch nothing any more. O(keys)."""
        if self._watch is not None:
            for key in self._watched:
                self.database.keyspace.unwatch(key, self._watch)
            self._watched = {}
            self._watch = None

    def reset(self) -> None:
        """As if the connection was new."""
        self.drop_queue()
        self.name = b""
        self.protocol = 2

    def description(self) -> bytes:
        """One line about this client, as CLIENT LIST has it."""
        command = "NULL" if self.last_command is None else self.last_command.full_name
        return (
            f"id={self.number} addr={self.peer} name={self.name.decode('latin-1')} db=0 "
            f"watch={len(self._watched)} multi={-1 if self.queue is None else len(self.queue)} "
            f"cmd={command} user=default resp={self.protocol} tot-cmds={self.commands} "
            f"lib-name={self.library.decode('latin-1')} lib-ver={self.library_version.decode('latin-1')}"
        ).encode("latin-1")


def _end_of_alike(requests: list[list[bytes]], at: int, stop: int, name: bytes, words: int) -> int:
    """Where those of the requests from `at` to before `stop` end that say the same: one name, one key, so many words.
    O(result)."""
    if len(requests[at]) != words:
        return at
    key = requests[at][1]
    end = at
    while end < stop:
        args = requests[end]
        if len(args) != words or args[0] != name or args[1] != key:
            break
        end += 1
    return end


def _encoded(reply: Reply, protocol: int) -> Raw:
    """A reply in a protocol that the client has left since."""
    out: list[bytes] = []
    encode(reply, protocol, out)
    return Raw(b"".join(out))


_LOOKUP: Final[dict[bytes, Command]] = {
    spelled: command for name, command in COMMANDS.items() for spelled in (name.encode(), name.upper().encode())
}
"""The spellings that clients use; others are lowered first."""
