"""A forwarder that makes delay between hosts of a test, where the kernel has no netem.

Each host gets a device `eth0` of the kind TUN, whose other end is a file here. A thread takes the packets of all hosts
from there, keeps each for its time, and gives it to the host whose address it has. Packets of one pair of hosts keep
their order, as they mostly do on a real path; hosts that nobody has, and what is no IPv4, are dropped.
"""

import fcntl
import os
import selectors
import struct
import time
from collections.abc import Mapping
from heapq import heappop, heappush
from random import Random
from threading import Thread
from typing import Final

TUNSETIFF: Final = 0x400454CA
IFF_TUN_NO_PI: Final = 0x1001
PACKET_MAX: Final = 65536
HEADER_BYTES: Final = 20


def open_device(name: str) -> int:
    """The file behind a new TUN device, which is made in the namespace of this thread."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_PI))
    except OSError:
        os.close(device)
        raise
    return device


class Forwarder:
    """Carries packets between devices, by the last byte of the address that each has; each takes `ms` and a random
    part of `jitter_ms` for its way."""

    def __init__(self, devices: Mapping[int, int], ms: float, jitter_ms: float) -> None:
        self.packets = 0
        self._devices = dict(devices)
        self._delay_s = ms / 1000
        self._jitter_s = jitter_ms / 1000
        self._rng = Random(1)
        self._due: list[tuple[float, int, int, bytes]] = []
        self._last: dict[tuple[int, int], float] = {}
        self._stop = os.pipe()
        self._thread = Thread(target=self._run, name="forwarder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Carry nothing any more; the devices go with their files."""
        os.write(self._stop[1], b"x")
        self._thread.join()
        for descriptor in (*self._devices.values(), *self._stop):
            os.close(descriptor)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for number, device in self._devices.items():
                selector.register(device, selectors.EVENT_READ, number)
            selector.register(self._stop[0], selectors.EVENT_READ)
            while True:
                wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
                for key, _ in selector.select(wait_s):
                    if key.data is None:
                        return
                    self._take(key.data)
                self._give()

    def _take(self, source: int) -> None:
        """Everything that a host has sent."""
        while True:
            try:
                packet = os.read(self._devices[source], PACKET_MAX)
            except BlockingIOError:
                return
            if len(packet) < HEADER_BYTES or packet[0] >> 4 != 4 or packet[19] not in self._devices:
                continue
            target = packet[19]
            due_s = time.monotonic() + self._delay_s + self._rng.random() * self._jitter_s
            due_s = self._last[source, target] = max(due_s, self._last.get((source, target), 0.0))
            self.packets += 1
            heappush(self._due, (due_s, self.packets, target, packet))

    def _give(self) -> None:
        """What has had its time."""
        now_s = time.monotonic()
        while self._due and self._due[0][0] <= now_s:
            _, _, target, packet = heappop(self._due)
            try:
                os.write(self._devices[target], packet)
            except BlockingIOError:
                continue  # its queue is full: lost, as on a real path
