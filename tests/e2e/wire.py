"""The network as tests need it: raw client connections that may send anything, and a forwarder that can be cut."""

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

from tests.e2e.cluster import DEADLINE_S, Cluster, NodeProcess, free_port


class RawConnection:
    """A client that is no client: bytes out, bytes in."""

    def __init__(self, port: int, timeout_s: float = DEADLINE_S) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send; a peer that has closed already is no error."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def line(self) -> bytes:
        """The next line, without its end; what there is of it when the peer closes."""
        data = b""
        while not data.endswith(b"\r\n"):
            byte = self._receive(1)
            if not byte:
                return data
            data += byte
        return data[:-2]

    def rest(self) -> bytes:
        """Everything until the peer closes."""
        data = b""
        while chunk := self._receive(65536):
            data += chunk
        return data

    def _receive(self, count: int) -> bytes:
        try:
            return self.socket.recv(count)
        except ConnectionError:
            return b""


class Forwarder:
    """A TCP port in front of another one. While it is cut, what is open is reset and nothing is accepted.

    `dialled` has what was sent to the port behind, one entry a connection, and `answered` what came back from there.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._cut = False
        self._ended = False
        self._pairs: dict[socket.socket, socket.socket] = {}
        self.dialled: list[bytearray] = []
        self.answered: list[bytearray] = []
        self._recorded: dict[socket.socket, bytearray] = {}
        self._wake_out, self._wake_in = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=f"forwarder-{self.port}", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Let nothing through."""
        self._set(cut=True)

    def heal(self) -> None:
        """Let everything through again."""
        self._set(cut=False)

    def close(self) -> None:
        """End it."""
        self._ended = True
        self._wake_in.send(b"x")
        self._thread.join(DEADLINE_S)

    def _set(self, *, cut: bool) -> None:
        with self._lock:
            self._cut = cut
        self._wake_in.send(b"x")

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_out, selectors.EVENT_READ)
            while not self._ended:
                for key, _ in selector.select(1.0):
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    if source is self._listener:
                        self._accept(selector)
                    elif source is self._wake_out:
                        source.recv(64)
                    elif source in self._pairs:
                        self._pass_on(selector, source)
                with self._lock:
                    cut = self._cut
                if cut:
                    self._drop_all(selector)
            self._drop_all(selector)
            for end in (self._listener, self._wake_in, self._wake_out):
                end.close()

    def _accept(self, selector: selectors.BaseSelector) -> None:
        near, _ = self._listener.accept()
        try:
            if self._cut:
                raise ConnectionRefusedError
            far = socket.create_connection(("127.0.0.1", self.target_port), timeout=DEADLINE_S)
        except OSError:
            near.close()
            return
        self.dialled.append(bytearray())
        self.answered.append(bytearray())
        self._recorded |= {near: self.dialled[-1], far: self.answered[-1]}
        for one, other in ((near, far), (far, near)):
            one.settimeout(DEADLINE_S)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs[one] = other
            selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, selector: selectors.BaseSelector, source: socket.socket) -> None:
        try:
            data = source.recv(65536)
            if data:
                self._recorded[source] += data
                self._pairs[source].sendall(data)
                return
        except OSError:
            pass
        self._drop(selector, source)

    def _drop(self, selector: selectors.BaseSelector, end: socket.socket) -> None:
        other = self._pairs.pop(end)
        self._pairs.pop(other, None)
        for each in (end, other):
            selector.unregister(each)
            self._recorded.pop(each, None)
            each.close()

    def _drop_all(self, selector: selectors.BaseSelector) -> None:
        while self._pairs:
            self._drop(selector, next(iter(self._pairs)))


def start_behind(cluster: Cluster, forwarders: list[Forwarder], name: str, *words: str) -> NodeProcess:
    """A node that others reach only through a forwarder."""
    gossip_port = free_port()
    forwarder = Forwarder(gossip_port)
    forwarders.append(forwarder)
    node = cluster.start(name, f"--gossip-port={gossip_port}", f"--advertise=127.0.0.1:{forwarder.port}", *words)
    assert node.address == f"127.0.0.1:{forwarder.port}"
    return node
