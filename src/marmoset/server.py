"""The Redis server: client connections on a runtime (floor 10).

A connection is one `Session` and one transport: bytes in, bytes out. What this file adds is fairness and limits:

- A long pipeline runs in slices, so that one client does not hold the loop for more than some milliseconds. How many
  bytes a slice has follows from how long the last one took, since ten bytes may be a PING or a whole list. While
  requests wait, nothing more is read from that client.
- A client that does not read its answers is no longer read from once `OUTPUT_HIGH` bytes wait, or
  `client_output_bytes_max` where that is less, and is disconnected above the latter.
- Connections above `maxclients` are told so, in Redis's words, and closed.
- What fits in one slice runs at the end of the turn, that of all connections behind one another, and then the answers
  are written: reading, running and writing alternate once a turn, not once a request, so that each finds its code in
  the caches of the processor, and a client that is woken by its answer finds the others there. It is done earlier
  where many bytes wait, or the turn takes long.
- While a slow member catches up, the answers to writes are held back for a moment: see `marmoset.node.budget`.
- A client whose reply is deferred or held back is read from no further than `SLICE_BYTES_MAX`, and what it has sent
  runs behind that reply.

Half a command waits in its session and holds nobody else up.
"""

import asyncio
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Final, cast, final

from marmoset.logs import log
from marmoset.resp.conversation import Conversation
from marmoset.resp.parser import JoinedParser
from marmoset.runtime import BACKLOG, Runtime
from marmoset.runtime.links import SLICE_S
from marmoset.session import Clients, Session

SLICE_BYTES_MIN: Final = 64
SLICE_BYTES_FIRST: Final = 512
SLICE_BYTES_MAX: Final = 64 * 1024
SLICE_LONG_S: Final = 0.002
SLICE_SHORT_S: Final = 0.0005
TURN_S: Final = 0.002
JOINED_BYTES_MAX: Final = 128
"""What is no longer than this is parsed together with that of others."""
OUTPUT_HIGH: Final = 1024 * 1024
KEPT_BYTES_MAX: Final = 64 * 1024
"""Answers of one connection are not kept for the end of the turn beyond this."""
QUIET_S: Final = 60.0
"""How often the log says that there are too many clients, at the most."""
_TOO_MANY: Final = b"-ERR max number of clients reached\r\n"


@final
class RedisServer:
    """All client connections of one node. `new_session` makes a session from a connection's number and address; in
    `counted` those are counted that are refused."""

    def __init__(
        self, runtime: Runtime, new_session: Callable[[int, str], Conversation], counted: Clients | None = None
    ) -> None:
        self.runtime = runtime
        self.new_session = new_session
        self.clients: dict[int, ClientConnection] = {}
        self._counted = counted or Clients()
        self._told_s = float("-inf")  # when it was last said that there are too many
        self._client_last = 0
        self._arrived: list[ClientConnection] = []  # they have short requests that have not run
        self._answered: list[ClientConnection] = []  # they have answers that are not written
        self._begun_s = 0.0  # since when the first of them waits
        self.joined = JoinedParser()
        self.now_s: Callable[[], float] = perf_counter
        """What time it is. An attribute: a name of the module would be looked up for each request."""
        self._server: asyncio.Server | None = None
        runtime.before_turn_end = self.run_arrived
        runtime.on_turn_end = self.write_answers

    async def start(self, listener: socket.socket) -> None:
        """Accept clients on a socket that listens already."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, sock=listener, backlog=BACKLOG)

    def _connection(self) -> asyncio.Protocol:
        return cast("asyncio.Protocol", ClientConnection(self))

    def close(self) -> None:
        """Take no more clients and close all connections, each after what was already answered."""
        if self._server is not None:
            self._server.close()
        for client in list(self.clients.values()):
            client.close()

    def run_later(self, client: "ClientConnection") -> None:
        """A connection has short requests to be run at the end of the turn. O(1)."""
        if not self._arrived:
            if not self._answered:
                self._begun_s = self.now_s()
            self.runtime.want_turn()
        self._arrived.append(client)

    def run_arrived(self) -> None:
        """Run all short requests that are there. Called under the runtime's lock. O(connections that have some)."""
        if self._arrived:
            clients, self._arrived = self._arrived, []
            parsed = self.joined.parse([client.short_requests for client in clients])
            began = self.now_s()
            for at, requests in enumerate(parsed):
                began = clients[at].run_arrived(began, requests)

    def write_later(self, client: "ClientConnection") -> None:
        """A connection has answers to be written at the end of the turn, which is wanted already. O(1)."""
        if not self._answered and not self._arrived:
            self._begun_s = self.now_s()
        self._answered.append(client)

    def write_answers(self) -> None:
        """Write all answers that are there. O(connections that have some)."""
        if self._answered:
            clients, self._answered = self._answered, []
            for client in clients:
                try:
                    client.write_answers()
                except Exception as error:
                    client.fail("write_answers", error)

    def hurry_if_late(self, now_s: float) -> float:
        """Run and write what is there if the first of it has waited for long; what time it is. O(what is there)."""
        if now_s - self._begun_s > TURN_S and (self._answered or self._arrived):
            with self.runtime.lock:
                self.run_arrived()
            self.write_answers()
            return self.now_s()
        return now_s

    def refuse(self, transport: asyncio.Transport) -> None:
        """Tell a connection above `maxclients` so, and close it; the log hears of it now and then. O(1)."""
        self._counted.refused += 1
        now_s = self.now_s()
        if now_s - self._told_s >= QUIET_S:
            self._told_s = now_s
            fields = {"maxclients": self.runtime.config.maxclients, "refused": self._counted.refused}
            log("warning", "too many clients", fields)
        transport.write(_TOO_MANY)
        transport.close()

    def next_id(self) -> int:
        """A number for a new connection, never used before."""
        self._client_last += 1
        return self._client_last


@final
class ClientConnection:
    """One client's connection: a protocol in the sense of asyncio, which compiled code cannot inherit from."""

    __slots__ = (
        "_answers",
        "_arrived",
        "_at",
        "_held",
        "_number",
        "_paused",
        "_peer",
        "_pumping",
        "_server",
        "_session",
        "_slice",
        "_transport",
        "_waiting",
    )

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._number = 0
        self._peer = ""
        self._session: Conversation | None = None
        self._transport: asyncio.Transport | None = None
        self._arrived = b""  # short requests that run at the end of the turn
        self._waiting = b""  # requests of a long pipeline that have not run, from `_at`
        self._at = 0
        self._slice = SLICE_BYTES_FIRST
        self._answers = b""  # to be written at the end of the turn
        self._held: bytes | None = None  # answers to writes that are slowed down, and nothing runs until they are given
        self._paused = False  # answers wait unread
        self._pumping = False  # a call of `_pump` is due

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is up."""
        server = self._server
        self._transport = stream = cast("asyncio.Transport", transport)  # uvloop's do not inherit from it
        if len(server.clients) >= server.runtime.config.maxclients:
            server.refuse(stream)
            return
        stream.set_write_buffer_limits(high=min(OUTPUT_HIGH, server.runtime.config.client_output_bytes_max))
        self._number = server.next_id()
        self._peer = _peer_text(stream)
        server.clients[self._number] = self
        with server.runtime.lock:
            self._session = server.new_session(self._number, self._peer)
            self._session.on_ready = self._wake

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._arrived:
            self._run_arrived()
        if self._session is None or self._session.closing:
            return
        if self._waiting:  # what the transport had read before it was paused
            self._waiting = self._waiting[self._at :] + data
            self._at = 0
            if len(self._waiting) > SLICE_BYTES_MAX:
                self._hold_reading()
        elif len(data) <= self._slice:
            self._arrived = data
            self._server.run_later(self)
        else:
            self._waiting = data
            self._at = 0
            if not self._pumping and not self._paused:
                self._pump()

    def eof_received(self) -> bool:
        """The client sends no more: the connection closes behind what is written."""
        self._run_arrived()
        self.write_answers()
        return False

    def pause_writing(self) -> None:
        """More than the high-water mark waits to be written."""
        self._paused = True
        self._hold_reading()

    def resume_writing(self) -> None:
        """What waits is below the low-water mark again."""
        self._paused = False
        if self._waiting:
            if not self._pumping:
                self._pumping = True
                self._server.runtime.call_soon(self._pump)
        else:
            self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it. What came before runs."""
        self._run_arrived()
        session = self._session
        if session is not None:
            self._session = None
            self._waiting = self._answers = b""
            del self._server.clients[self._number]
            with self._server.runtime.lock:
                session.close()

    def close(self) -> None:
        """Close after the answers that are there; requests of a long pipeline that wait are dropped."""
        self._run_arrived()
        self._waiting = b""
        if self._transport is not None:
            self.write_answers()
            self._transport.close()

    @property
    def short_requests(self) -> bytes:
        """What has come in this turn, if it may be parsed together with that of others. O(1)."""
        data, session = self._arrived, self._session
        return data if len(data) <= JOINED_BYTES_MAX and session is not None and session.is_between_requests else b""

    def run_arrived(self, began: float, requests: list[list[bytes]]) -> float:
        """Run the short requests that have come in this turn, from a time on; what time it is then. `requests` are
        these, if they were parsed already. Called under the runtime's lock."""
        data, self._arrived = self._arrived, b""
        session = self._session
        if not data or session is None:
            return began
        if self._paused or self._is_waiting:
            self._waiting = data
            self._at = 0
            return began
        try:
            self._answer(session.receive_whole(requests, len(data)) if requests else session.receive(data))
        except Exception as error:
            self.fail("run_arrived", error)
        return self._sliced(began, len(data))

    def fail(self, event: str, error: Exception) -> None:
        """An error of our own, not one of a command: it is logged loudly and ends this connection, not what goes on for
        the others."""
        log("error", "internal error", {"event": event, "client": self._peer, "why": repr(error)}, error)
        self.abort()

    def _run_arrived(self) -> None:
        """The same before that, where something else comes behind them."""
        if self._arrived:
            runtime = self._server.runtime
            with runtime.lock:
                self.run_arrived(self._server.now_s(), [])
                runtime.want_turn()

    def _sliced(self, began: float, size: int) -> float:
        """A slice of so many bytes has run, from a time on: how many the next one may have. What time it is."""
        took_s = self._server.now_s() - began
        if took_s > SLICE_LONG_S:
            self._slice = max(SLICE_BYTES_MIN, self._slice // 4)
        elif took_s < SLICE_SHORT_S and size == self._slice:
            self._slice = min(SLICE_BYTES_MAX, self._slice * 2)
        return self._server.hurry_if_late(began + took_s)

    def _run(self, data: bytes) -> None:
        """Run the requests in `data`, whole ones and the end of one that had begun, and have their answers written."""
        session, runtime = self._session, self._server.runtime
        assert session is not None
        runtime.take_lock()  # `with` looks both ends of the lock up: for short requests that shows
        try:
            runtime.want_turn()  # before: what fails may have written
            answers = session.receive(data)
        finally:
            runtime.give_lock()
        self._answer(answers)

    def _wake(self) -> None:
        """What was deferred is there. Called on the loop, under the lock, in the middle of something else."""
        self._server.runtime.call_soon(self._resume)

    def _resume(self) -> None:
        session, runtime = self._session, self._server.runtime
        if session is None or self._held is not None:  # `_release` comes back to it
            return
        try:
            with runtime.lock:
                runtime.want_turn()
                answers = session.resume()
            self._answer(answers)
        except Exception as error:
            self.fail("resume", error)
        if not self._pumping and not self._paused:
            self._pump()

    def _answer(self, answers: bytes) -> None:
        session = self._session
        assert session is not None
        if not session.delay_ms and not session.closing:
            if answers:
                self._keep(answers)
            return
        if answers:
            if session.delay_ms:
                self._held = answers
                self._server.runtime.call_later(session.delay_ms, self._release)
            else:
                self._keep(answers)
        if session.closing and self._held is None:
            self.close()

    def _keep(self, answers: bytes) -> None:
        """Have answers written at the end of the turn, behind those that are to be already."""
        if self._answers:
            self._answers += answers
        else:
            self._answers = answers
            self._server.write_later(self)
        if len(self._answers) > KEPT_BYTES_MAX:
            self.write_answers()

    def write_answers(self) -> None:
        """Write the answers that are there; a client that leaves too many unread is dropped. O(answers)."""
        answers, transport = self._answers, self._transport
        if not answers or transport is None:
            return
        self._answers = b""
        transport.write(answers)
        if self._paused:
            limit = self._server.runtime.config.client_output_bytes_max
            if transport.get_write_buffer_size() > limit:
                log("warning", "client dropped", {"client": self._peer, "why": f"{limit} bytes of answers unread"})
                transport.abort()

    def abort(self) -> None:
        """End the connection at once; what has not run, or is not written, is dropped."""
        self._arrived = self._waiting = self._answers = b""
        if self._transport is not None:
            self._transport.abort()

    def _release(self) -> None:
        """The time is up for which answers were held back."""
        held, self._held = self._held, None
        session = self._session
        if session is None:
            return
        self._keep(held or b"")
        self.write_answers()
        if session.closing:
            self.close()
            return
        self._resume()

    @property
    def _is_waiting(self) -> bool:
        """Whether nothing of this client may run for now. O(1)."""
        session = self._session
        return self._held is not None or session is None or session.is_blocked

    def _pump(self) -> None:
        """Run waiting requests slice by slice until none is left, answers pile up, one is deferred, or the time is used
        up."""
        try:
            self._run_waiting()
        except Exception as error:
            self.fail("pump", error)

    def _run_waiting(self) -> None:
        self._pumping = False
        began = self._server.now_s()
        until = began + SLICE_S
        while self._waiting and not self._paused and not self._is_waiting:
            end = self._at + self._slice
            piece = self._waiting[self._at : end]
            self._at = end
            if end >= len(self._waiting):
                self._waiting = b""
            self._run(piece)
            began = ended = self._sliced(began, len(piece))
            if self._waiting and ended > until:
                self._hold_reading()
                self._pumping = True
                self._server.runtime.call_soon(self._pump)
                return
        if not self._paused and len(self._waiting) <= SLICE_BYTES_MAX:
            self._resume_reading()

    def _hold_reading(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing() and transport.is_reading():
            transport.pause_reading()

    def _resume_reading(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing() and not transport.is_reading():
            transport.resume_reading()


def redis_server(runtime: Runtime) -> RedisServer:
    """A server whose connections speak the Redis protocol to the runtime's node."""
    clients = Clients()
    return RedisServer(runtime, lambda number, peer: Session(runtime.node, clients, number, peer), clients)


def _peer_text(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "?:0"
