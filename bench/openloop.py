"""Load with a timetable: requests are due at even intervals, whether or not those before them were answered.

Latency counts from the moment at which a request was *due*, so a server that stalls is charged for all that should have
come meanwhile (no "coordinated omission": Gil Tene, "How NOT to measure latency"). The generator is one thread; how
late it sends is measured too (`sent_late_ms`), and is part of every latency: where it is large, the generator or
the machine is what was measured.

`Requests` sends over several connections in turn and checks every byte that comes back; a `Watcher` reads other
connections meanwhile; `play` runs both until all is done. Waiting is `select`, whose steps are microseconds.
"""

import contextlib
import gc
import select
import socket
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Protocol

from bench.processes import LOOPBACK

READ_BYTES = 1 << 18
LEAD_S = 0.05
_now = time.perf_counter


class Watcher(Protocol):
    """Something that reads along."""

    socket: socket.socket

    def received(self, data: bytes, now: float) -> None:
        """Bytes have come."""

    def tick(self, now: float) -> float:
        """Do what is due; seconds until something is due again."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether nothing more is waited for."""
        ...


class Requests:
    """`rate` requests a second for `seconds`, over some connections in turn; `make` gives the bytes of the n-th.

    Where `reply` is empty nothing is to come back: what is measured is left to watchers. Latencies are kept by the
    number of the request, so that watchers can be matched with `due`.
    """

    def __init__(
        self, port: int, make: Callable[[int], bytes], reply: bytes, rate: float, seconds: float, connections: int = 1
    ) -> None:
        self.sockets = [connected(port) for _ in range(connections)]
        self.rate = rate
        self.count = max(1, int(rate * seconds))
        self.began = 0.0
        self.latency_ms = array("d", [0.0]) * self.count
        self.sent_late_ms = array("d", [0.0]) * self.count
        self._make = make
        self._reply = reply
        self._expected = reply * (READ_BYTES // len(reply) + 2) if reply else b""
        self._index = {each: at for at, each in enumerate(self.sockets)}
        self._unsent = [bytearray() for _ in self.sockets]
        self._received = [0] * connections  # bytes
        self._sent = 0
        self._answered = 0

    def due(self, number: int) -> float:
        """When a request is due."""
        return self.began + number / self.rate

    @property
    def is_done(self) -> bool:
        """Whether all were sent, and answered if they are to be."""
        return self._answered == self.count if self._reply else self._sent == self.count

    @property
    def unanswered(self) -> int:
        """How many are still to be answered."""
        return self.count - self._answered if self._reply else 0

    def tick(self, now: float) -> float:
        """Send what is due; seconds until the next one is."""
        until = min(self.count, int((now - self.began) * self.rate) + 1) if now >= self.began else 0
        width = len(self.sockets)
        for number in range(self._sent, until):
            self._unsent[number % width] += self._make(number)
            self.sent_late_ms[number] = (now - self.due(number)) * 1000
        if until > self._sent:
            self._sent = until
            for at, waiting in enumerate(self._unsent):
                if waiting:
                    self.push(at)
        return max(0.0, self.due(self._sent) - now) if self._sent < self.count else 3600.0

    def push(self, at: int) -> None:
        """Send as much as the connection takes."""
        with contextlib.suppress(BlockingIOError):
            del self._unsent[at][: self.sockets[at].send(self._unsent[at])]

    def blocked(self) -> list[socket.socket]:
        """Connections that have taken less than there is."""
        return [each for each, waiting in zip(self.sockets, self._unsent, strict=True) if waiting]

    def writable(self, which: socket.socket) -> None:
        """A connection takes bytes again."""
        self.push(self._index[which])

    def received(self, which: socket.socket, data: bytes, now: float) -> None:
        """Replies have come."""
        at, size = self._index[which], len(self._reply)
        before = self._received[at]
        offset = before % size if size else 0
        if data != self._expected[offset : offset + len(data)]:
            raise SystemExit(f"an unexpected reply: {data[:80]!r}; {self._reply[:80]!r} was to come")
        self._received[at] = before + len(data)
        width = len(self.sockets)
        for number in range(before // size, self._received[at] // size):
            request = at + number * width
            self.latency_ms[request] = (now - self.due(request)) * 1000
            self._answered += 1

    def give_up(self, now: float) -> None:
        """Count those that were not answered as if they were answered now."""
        for number in range(self.count if self._reply else 0):
            if not self.latency_ms[number]:
                self.latency_ms[number] = (now - self.due(number)) * 1000

    def close(self) -> None:
        """Close the connections."""
        for each in self.sockets:
            each.close()


def play(requests: Requests, watchers: Sequence[Watcher] = (), drain_s: float = 10.0) -> None:
    """Run until all is answered and seen, or for `drain_s` longer than the timetable."""
    by_socket = {each.socket: each for each in watchers}
    reading = [*requests.sockets, *by_socket]
    gc.collect()
    gc.disable()
    try:
        requests.began = _now() + LEAD_S
        end = requests.due(requests.count) + drain_s
        while not (requests.is_done and all(each.is_done for each in watchers)):
            now = _now()
            if now > end:
                break
            pause = min([requests.tick(now), *(each.tick(now) for each in watchers), end - now])
            readable, writable, _ = select.select(reading, requests.blocked(), [], pause)
            for each in writable:
                requests.writable(each)
            for each in readable:
                data = each.recv(READ_BYTES)
                if not data:
                    raise SystemExit("a server has closed the connection")
                if each in by_socket:
                    by_socket[each].received(data, _now())
                else:
                    requests.received(each, data, _now())
    finally:
        gc.enable()
    requests.give_up(_now())


def connected(port: int) -> socket.socket:
    """A connection that neither blocks nor waits for more to send."""
    made = socket.create_connection((LOOPBACK, port), timeout=10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setblocking(False)
    return made
