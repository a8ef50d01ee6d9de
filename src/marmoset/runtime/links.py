"""One TCP link between two nodes (floor 9).

Bytes go through the link's channel (sealed where there is a keyring, `codec.channel`), are cut into frames there, and
each payload goes to the node in order. The node hears of a link once its channel is open. Two promises:

- *Bounded memory.* At most one read (256 KiB) and one unfinished frame wait on the way in: reading is paused while
  payloads of the last read are unhandled. On the way out the node is told when more than `link_buffer_max` wait and
  when that is over; a peer that takes nothing at all for too long loses the link, and its stream resumes from version
  vectors.
- *Short turns.* Payloads are handled for `SLICE_S` at most, then the loop gets its turn.

After the node has closed a link it hears nothing of it any more; of one that was lost it hears `handle_closed`. A link
that breaks a rule is ended with `link_broken`, and so is one whose handshake does not come to an end within
`HANDSHAKE_S`.
"""

import asyncio
from collections import deque
from time import perf_counter
from typing import Final, Protocol, cast, final

from marmoset.codec.channel import Channel
from marmoset.errors import PeerError

SLICE_S: Final = 0.001
LINGER_S: Final = 2.0
HANDSHAKE_S: Final = 3.0


class Owner(Protocol):
    """What a link needs of the runtime."""

    def link_opened(self, link: "Link") -> None:
        """The link is up, and its channel open."""

    def link_message(self, link: "Link", payload: bytes) -> None:
        """A whole frame has come."""

    def link_paused(self, link: "Link", paused: bool) -> None:
        """Too much waits to be written, or no longer."""

    def link_broken(self, link: "Link", problem: PeerError) -> None:
        """What came is nothing that can be taken, or nothing came at all; the link is being closed."""

    def link_closed(self, link: "Link") -> None:
        """The link is gone, and everything that came before was handed on."""


@final
class Link(asyncio.Protocol):
    """The protocol of one link. `address` is what was dialled, empty for a link that was accepted."""

    __slots__ = (
        "_buffer_max",
        "_closing",
        "_deadline",
        "_ended",
        "_loop",
        "_opened",
        "_owner",
        "_payloads",
        "_progress",
        "_pumping",
        "_stalled_since",
        "_written",
        "address",
        "channel",
        "number",
        "peer",
        "transport",
    )

    def __init__(self, owner: Owner, number: int, address: str, channel: Channel, buffer_max: int) -> None:
        self.number = number
        self.address = address
        self.peer = address
        self.transport: asyncio.Transport | None = None
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.channel = channel
        self._opened = False  # the owner was told
        self._deadline: asyncio.TimerHandle | None = None
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
        if self.channel.first:
            stream.write(self.channel.first)
        self._look_open()
        if not self._opened:
            self._deadline = self._loop.call_later(HANDSHAKE_S, self._time_out)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._closing:
            return
        try:
            payloads = self.channel.feed(data)
        except PeerError as problem:
            self.give_up(problem)
            return
        self._reply()
        self._look_open()
        if self._closing:
            return
        self._payloads.extend(payloads)
        if not self._pumping:
            self._pump()

    def pause_writing(self) -> None:
        """More than the high-water mark waits to be written."""
        if self._opened:
            self._owner.link_paused(self, True)

    def resume_writing(self) -> None:
        """What waits is below the low-water mark again."""
        if self._opened:
            self._owner.link_paused(self, False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self._ended = True
        if not self._opened and not self._closing:
            self.give_up(PeerError("the link was closed before its handshake was over"))
        if not self._pumping:
            self._owner.link_closed(self)

    # What the runtime does

    def write(self, data: bytes) -> None:
        """Send bytes that are already framed; nothing happens once the link is closed."""
        if self.transport is not None and not self._closing and not self._ended:
            sealed = self.channel.seal(data)
            self._written += len(sealed)
            self.transport.write(sealed)

    def close(self) -> None:
        """Close after what was written is sent, though not for longer than `LINGER_S`."""
        if self.transport is not None and not self._closing:
            self._closing = True
            self._forget_deadline()
            self._payloads.clear()
            self.transport.close()
            self._loop.call_later(LINGER_S, self.transport.abort)

    def give_up(self, problem: PeerError) -> None:
        """End a link that breaks a rule, behind what the other side is to be told about it."""
        self._reply()
        self._owner.link_broken(self, problem)
        self.close()

    def abort(self) -> None:
        """Close at once; what was not sent is dropped."""
        self._closing = True
        self._forget_deadline()
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

    # The handshake

    def _reply(self) -> None:
        reply = self.channel.take_reply()
        if reply and self.transport is not None and not self._ended:
            self._written += len(reply)
            self.transport.write(reply)

    def _look_open(self) -> None:
        if not self._opened and self.channel.is_open:
            self._opened = True
            self._forget_deadline()
            self._owner.link_opened(self)

    def _time_out(self) -> None:
        self._deadline = None
        if not self._closing:
            self.give_up(PeerError(f"no handshake within {HANDSHAKE_S:g} s"))

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # What comes

    def _pump(self) -> None:
        """Hand payloads to the node until none is left or the slice is used up; then go on in a later turn."""
        self._pumping = False
        ended = perf_counter()
        until = ended + SLICE_S
        payloads = self._payloads
        while payloads:
            self._owner.link_message(self, payloads.popleft())
            if payloads:
                began, ended = ended, perf_counter()
                if ended + (ended - began) > until:  # the next one takes as long, as far as anybody knows
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
