"""One TCP link between two nodes (floor 9).

Bytes are cut into frames here and each payload goes to the node in order. Two promises:

- *Bounded memory.* At most one read (256 KiB) and one unfinished frame wait on the way in: reading is paused while
  payloads of the last read are unhandled. On the way out the node is told when more than `link_buffer_max` wait and
  when that is over; a peer that takes nothing at all for too long loses the link, and its stream resumes from version
  vectors.
- *Short turns.* Payloads are handled for `SLICE_S` at most, then the loop gets its turn.

After the node has closed a link it hears nothing of it any more; of one that was lost it hears `handle_closed`.
"""

import asyncio
from collections import deque
from time import perf_counter
from typing import Final, Protocol, cast, final

from marmoset.codec.frames import FrameReader
from marmoset.errors import PeerError
from marmoset.logs import log

SLICE_S: Final = 0.003
LINGER_S: Final = 2.0


class Owner(Protocol):
    """What a link needs of the runtime."""

    def link_opened(self, link: "Link") -> None:
        """The link is up."""

    def link_message(self, link: "Link", payload: bytes) -> None:
        """A whole frame has come."""

    def link_paused(self, link: "Link", paused: bool) -> None:
        """Too much waits to be written, or no longer."""

    def link_closed(self, link: "Link") -> None:
        """The link is gone, and everything that came before was handed on."""


@final
class Link(asyncio.Protocol):
    """The protocol of one link. `address` is what was dialled, empty for a link that was accepted."""

    __slots__ = (
        "_buffer_max",
        "_closing",
        "_ended",
        "_loop",
        "_owner",
        "_payloads",
        "_progress",
        "_pumping",
        "_reader",
        "_stalled_since",
        "_written",
        "address",
        "number",
        "peer",
        "transport",
    )

    def __init__(self, owner: Owner, number: int, address: str, frame_bytes_max: int, buffer_max: int) -> None:
        self.number = number
        self.address = address
        self.peer = address
        self.transport: asyncio.Transport | None = None
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(frame_bytes_max)
        self._buffer_max = buffer_max
        self._payloads: deque[bytes] = deque()
        self._pumping = False  # a call of `_pump` is due
        self._closing = False  # closed from here: what still arrives is dropped
        self._ended = False  # the connection is lost
        self._written = 0
        self._progress = 0
        self._stalled_since = 0.0

    # Events of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is up."""
        self.transport = stream = cast("asyncio.Transport", transport)  # uvloop's do not inherit from it
        stream.set_write_buffer_limits(high=self._buffer_max)
        name = stream.get_extra_info("peername")
        if not self.address and isinstance(name, tuple):
            self.peer = f"{name[0]}:{name[1]}"
        self._owner.link_opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._closing:
            return
        try:
            self._payloads.extend(self._reader.feed(data))
        except PeerError as error:
            log("warning", "link dropped", {"peer": self.peer, "why": error})
            self.abort()
            return
        if not self._pumping:
            self._pump()

    def pause_writing(self) -> None:
        """More than the high-water mark waits to be written."""
        self._owner.link_paused(self, True)

    def resume_writing(self) -> None:
        """What waits is below the low-water mark again."""
        self._owner.link_paused(self, False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self._ended = True
        if not self._pumping:
            self._owner.link_closed(self)

    # What the runtime does

    def write(self, data: bytes) -> None:
        """Send bytes that are already framed; nothing happens once the link is closed."""
        if self.transport is not None and not self._closing and not self._ended:
            self._written += len(data)
            self.transport.write(data)

    def close(self) -> None:
        """Close after what was written is sent, though not for longer than `LINGER_S`."""
        if self.transport is not None and not self._closing:
            self._closing = True
            self._payloads.clear()
            self.transport.close()
            self._loop.call_later(LINGER_S, self.transport.abort)

    def abort(self) -> None:
        """Close at once; what was not sent is dropped."""
        self._closing = True
        self._payloads.clear()
        if self.transport is not None:
            self.transport.abort()

    def stalled_s(self, now: float) -> float:
        """For how long bytes have waited of which the peer has taken none; called every second or so."""
        waiting = self.transport.get_write_buffer_size() if self.transport is not None and not self._ended else 0
        progress = self._written - waiting
        if not waiting or progress != self._progress:
            self._progress = progress
            self._stalled_since = now
        return now - self._stalled_since

    def _pump(self) -> None:
        """Hand payloads to the node until none is left or the slice is used up; then go on in a later turn."""
        self._pumping = False
        until = perf_counter() + SLICE_S
        payloads = self._payloads
        while payloads:
            self._owner.link_message(self, payloads.popleft())
            if payloads and perf_counter() > until:
                self._pumping = True
                self._hold_reading(True)
                self._loop.call_soon(self._pump)
                return
        if self._ended:
            self._owner.link_closed(self)
        else:
            self._hold_reading(False)

    def _hold_reading(self, hold: bool) -> None:
        if self.transport is None or self.transport.is_closing() or self.transport.is_reading() is not hold:
            return
        if hold:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
