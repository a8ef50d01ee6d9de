"""Hosts of a test's own: network namespaces on one bridge, or on a forwarder that delays, with cuts and loss between.

Everything is made inside namespaces with names of this process, and taken away again; nothing leaves them. The bridge
has a namespace too, so that the machine's own network never sees a packet. A cut is a pair of DROP rules at each end,
loss is a rule with `-m statistic`. It needs root, iproute2 and iptables.
"""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.e2e.cluster import DEADLINE_S, Cluster, NodeProcess, command, environment
from tests.e2e.forwarder import Forwarder, open_device

NETWORK = "10.77.0"
CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")


def why_impossible() -> str:
    """Why no namespaces can be made here; empty when they can."""
    if os.geteuid() != 0:
        return "network namespaces are made by root alone"
    missing = [tool for tool in ("ip", "iptables") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found"
    name = f"mm{os.getpid()}-try"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun, which the forwarder needs"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return ""


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread is in another network namespace; sockets that it makes stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, (NAMESPACES / namespace).open() as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        try:
            yield
        finally:
            if libc.setns(home.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot come back")


class InsideConnection(redis.Connection):
    """A connection that is opened in a namespace."""

    def __init__(self, namespace: str = "", **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.namespace = namespace

    def _connect(self) -> socket.socket:
        with inside(self.namespace):
            return super()._connect()  # type: ignore[no-any-return, no-untyped-call]


class HostProcess(NodeProcess):
    """A node on a host of its own."""

    namespace: str = ""
    number: int = 0

    def client(self, **options: Any) -> Any:
        """A new client, whose connections are made on the node's host."""
        pool = redis.ConnectionPool(
            connection_class=InsideConnection,
            namespace=self.namespace,
            host=f"{NETWORK}.{self.number}",
            port=self.port,
            socket_timeout=DEADLINE_S,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            **options,
        )
        client = redis.Redis(connection_pool=pool)
        self.clients.append(client)
        return client


class Hosts(Cluster):
    """A cluster of one node a host, hosts being numbered from 1. With a delay, each packet takes `delay_ms` and a
    random part of `jitter_ms` from host to host."""

    def __init__(
        self, folder: Path, count: int, options: Iterable[str], delay_ms: float = 0.0, jitter_ms: float = 0.0
    ) -> None:
        super().__init__(folder, tuple(options))
        self.forwarder: Forwarder | None = None
        self._delay = delay_ms, jitter_ms
        self._prefix = f"mm{os.getpid()}"
        self._count = count
        self._made: list[str] = []

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._unmake()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        self._unmake()

    def open_socket(self, number: int, port: int) -> socket.socket:
        """A socket for datagrams on a host."""
        with inside(self._namespace(number)):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(DEADLINE_S)
        made.bind((f"{NETWORK}.{number}", port))
        return made

    def _namespace(self, number: int) -> str:
        return f"{self._prefix}-{number}"

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def _make(self) -> None:
        for number in range(1, self._count + 1):
            self._ip("netns", "add", self._namespace(number))
            self._made.append(self._namespace(number))
        if any(self._delay):
            self._make_forwarder()
        else:
            self._make_bridge()
        for number in range(1, self._count + 1):
            host = self._namespace(number)
            self._ip("-n", host, "address", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            self._ip("-n", host, "link", "set", "eth0", "up")
            self._ip("-n", host, "link", "set", "lo", "up")

    def _make_forwarder(self) -> None:
        devices: dict[int, int] = {}
        try:
            for number in range(1, self._count + 1):
                with inside(self._namespace(number)):
                    devices[number] = open_device("eth0")
        except BaseException:
            for device in devices.values():
                os.close(device)
            raise
        self.forwarder = Forwarder(devices, *self._delay)

    def _make_bridge(self) -> None:
        switch = self._namespace(0)
        self._ip("netns", "add", switch)
        self._made.append(switch)
        self._ip("-n", switch, "link", "add", "br0", "type", "bridge")
        self._ip("-n", switch, "link", "set", "br0", "up")
        for number in range(1, self._count + 1):
            host = self._namespace(number)
            port = f"port{number}"
            self._ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
            self._ip("-n", switch, "link", "set", port, "master", "br0", "up")

    def _unmake(self) -> None:
        if self.forwarder is not None:
            self.forwarder.close()
            self.forwarder = None
        for namespace in reversed(self._made):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)
        self._made.clear()

    def spawn(self, name: str, *words: str, join: Iterable[str] = ()) -> NodeProcess:
        """Start the node of the host whose number ends its name, and do not wait for it."""
        number = int(name[-1])
        address = f"{NETWORK}.{number}"
        joins = [f"--join={address}" for address in join]
        new = [] if joins else ["--new-group"]
        served = ("serve", "--name", name, "--bind", address, "--port=6379", "--gossip-port=7946")
        run = ["ip", "netns", "exec", self._namespace(number), *command(*served, *self.options, *joins, *new, *words)]
        place = len(self._started)
        out, log = self.folder / f"{place:02}-{name}.out", self.folder / f"{place:02}-{name}.log"
        with out.open("wb") as output, log.open("wb") as errors:
            process = subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment())
        node = HostProcess(name, process, out, log, words)
        node.namespace, node.number = self._namespace(number), number
        self._started.append(node)
        return node

    def _iptables(self, number: int, *words: str) -> None:
        run = ["ip", "netns", "exec", self._namespace(number), "iptables", "-w", *words]
        subprocess.run(run, check=True, capture_output=True)

    def cut(self, one: Iterable[int], other: Iterable[int]) -> None:
        """Nothing goes between two sets of hosts any more, in either direction."""
        there = list(other)
        for a in one:
            for b in there:
                for here, far in ((a, b), (b, a)):
                    self._iptables(here, "-A", "INPUT", "-s", f"{NETWORK}.{far}", "-j", "DROP")
                    self._iptables(here, "-A", "OUTPUT", "-d", f"{NETWORK}.{far}", "-j", "DROP")

    def lose(self, number: int, share: float) -> None:
        """A share of what comes to a host is lost."""
        rule = ("-m", "statistic", "--mode", "random", "--probability", f"{share:g}", "-j", "DROP")
        self._iptables(number, "-A", "INPUT", "-i", "eth0", *rule)

    def heal(self) -> None:
        """Everything goes everywhere again."""
        for number in range(1, self._count + 1):
            self._iptables(number, "-F")
