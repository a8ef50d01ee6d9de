"""Clients that wait (beside the floors): WAIT never says that more members have a write than do.

Each is a client of its own, since it is blocked meanwhile; what its reply says is held against the true vectors.
"""

import re
from typing import final

from marmoset.sim.history import Breach
from marmoset.sim.host import Host


@final
class Waiter:
    """A client that has written something and waits until others have it."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.run = host.run
        self.session = host.connect(number)
        self.session.on_ready = self._ready
        self.replies = 0

    def begin(self, key: bytes, count: int, timeout_ms: int, turn_us: int) -> bytes:
        """Write, and wait; what is answered at once."""
        data = b"INCR %b\r\nWAIT %d %d\r\nPING\r\n" % (key, count, timeout_ms)
        reply = self.host.command(self.session, data, turn_us)
        self._judge(reply)
        return reply

    def _ready(self) -> None:
        self.host.world.after(0, self._resume)

    def _resume(self) -> None:
        if self.host.run == self.run and self.host.node is not None:
            self._judge(self.session.resume())
            self.session.close()

    def _judge(self, reply: bytes) -> None:
        found = re.search(rb":(\d+)\r\n\+PONG\r\n$", reply)
        node, last = self.host.node, self.session.last_write
        if found is None or last is None or node is None:
            return
        self.replies += 1
        me, seq = last
        history = self.host.history
        having = sum(
            1
            for other, vector in history.vectors.items()
            if other != me and max(vector.get(me, 0), history.joins.get(other, ({}, 0))[0].get(me, 0)) >= seq
        )
        if int(found[1]) > having:
            raise Breach(f"WAIT at {self.host.name} says that {int(found[1])} members have {seq}, {having} do")
