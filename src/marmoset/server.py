"""The Redis server: client connections on a runtime (floor 10).

A connection is one `Session` and one transport: bytes in, bytes out. What this file adds is fairness and limits:

- A long pipeline runs in slices, so that one client does not hold the loop for more than some milliseconds; while
  requests wait, nothing more is read from that client.
- A client that does not read its answers is no longer read from once `OUTPUT_HIGH` bytes wait, and is disconnected
  above `client_output_bytes_max`.
- Connections above `maxclients` are told so, in Redis's words, and closed.

Half a command waits in its session and holds nobody else up.
"""

import asyncio
import socket
from time import perf_counter
from typing import Final, cast, final

from marmoset.logs import log
from marmoset.runtime import Runtime
from marmoset.session import Session

SLICE_BYTES: Final = 16 * 1024
SLICE_S: Final = 0.003
OUTPUT_HIGH: Final = 1024 * 1024
_TOO_MANY: Final = b"-ERR max number of clients reached\r\n"


@final
class RedisServer:
    """All client connections of one node."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.clients: dict[int, ClientConnection] = {}
        self.refused = 0
        self._client_last = 0
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept clients on a socket that listens already."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ClientConnection(self), sock=listener)

    def close(self) -> None:
        """Take no more clients and close all connections, each after what was already answered."""
        if self._server is not None:
            self._server.close()
        for client in list(self.clients.values()):
            client.close()

    def next_id(self) -> int:
        """A number for a new connection, never used before."""
        self._client_last += 1
        return self._client_last


@final
class ClientConnection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = ("_at", "_number", "_paused", "_pumping", "_server", "_session", "_transport", "_waiting")

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._number = 0
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._waiting = b""  # requests of a long pipeline that have not run, from `_at`
        self._at = 0
        self._paused = False  # answers wait unread
        self._pumping = False  # a call of `_pump` is due

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        self._transport = stream = cast("asyncio.Transport", transport)  # uvloop's do not inherit from it
        if len(server.clients) >= server.runtime.config.maxclients:
            server.refused += 1
            if server.refused == 1:
                log("warning", "too many clients", {"maxclients": server.runtime.config.maxclients})
            stream.write(_TOO_MANY)
            stream.close()
            return
        stream.set_write_buffer_limits(high=OUTPUT_HIGH)
        self._number = server.next_id()
        server.clients[self._number] = self
        with server.runtime.lock:
            self._session = Session(server.runtime.node, self._number, _peer_text(stream))

    def data_received(self, data: bytes) -> None:
        if self._session is None:
            return
        if self._waiting:  # what the transport had read before it was paused
            self._waiting = self._waiting[self._at :] + data
            self._at = 0
        elif len(data) > SLICE_BYTES or self._paused:
            self._waiting = data
            self._at = 0
            if not self._pumping and not self._paused:
                self._pump()
        else:
            self._run(data)

    def pause_writing(self) -> None:
        self._paused = True
        self._hold_reading()

    def resume_writing(self) -> None:
        self._paused = False
        if self._waiting:
            if not self._pumping:
                self._pumping = True
                self._server.runtime.call_soon(self._pump)
        else:
            self._resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        session = self._session
        if session is not None:
            self._session = None
            self._waiting = b""
            del self._server.clients[self._number]
            with self._server.runtime.lock:
                session.close()

    def close(self) -> None:
        """Close after the answers that are written."""
        if self._transport is not None:
            self._transport.close()

    def _run(self, data: bytes) -> None:
        """Run the requests in `data`, whole ones and the end of one that had begun, and write their answers."""
        session, transport = self._session, self._transport
        assert session is not None and transport is not None
        runtime = self._server.runtime
        with runtime.lock:
            answers = session.receive(data)
            runtime.want_turn()
        if answers:
            transport.write(answers)
            limit = runtime.config.client_output_bytes_max
            if self._paused and transport.get_write_buffer_size() > limit:
                log("warning", "client dropped", {"client": session.peer, "why": f"{limit} bytes of answers unread"})
                transport.abort()
        if session.closing:
            self._waiting = b""
            transport.close()

    def _pump(self) -> None:
        """Run waiting requests slice by slice until none is left, answers pile up, or the time is used up."""
        self._pumping = False
        until = perf_counter() + SLICE_S
        while self._waiting and not self._paused:
            end = self._at + SLICE_BYTES
            piece = self._waiting[self._at : end]
            self._at = end
            if end >= len(self._waiting):
                self._waiting = b""
            self._run(piece)
            if self._waiting and perf_counter() > until:
                self._hold_reading()
                self._pumping = True
                self._server.runtime.call_soon(self._pump)
                return
        if not self._paused:
            self._resume_reading()

    def _hold_reading(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing() and transport.is_reading():
            transport.pause_reading()

    def _resume_reading(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing() and not transport.is_reading():
            transport.resume_reading()


def _peer_text(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "?:0"
