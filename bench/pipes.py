"""A blocking client that pipelines: for measurements, where the client must not be what is measured."""

import socket
from typing import Any

import hiredis

READ_BYTES = 1 << 20


class Pipe:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def all(self, commands: list[list[bytes]]) -> list[Any]:
        """Send commands at once: their replies; an error is one of them."""
        self._socket.sendall(b"".join(map(packed, commands)))
        return [self._reply() for _ in commands]

    def one(self, *words: bytes) -> Any:
        """The reply to one command."""
        return self.all([list(words)])[0]

    def mapping(self, *words: bytes) -> dict[str, Any]:
        """A reply of names and values as a dict."""
        flat = self.one(*words)
        plain = [part.decode() if isinstance(part, bytes) else part for part in flat]
        return dict(zip(plain[::2], plain[1::2], strict=True))

    def close(self) -> None:
        """Close the connection; more than once does no harm."""
        self._socket.close()

    def _reply(self) -> Any:
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(READ_BYTES)
            if not data:
                raise ConnectionError("the node has closed the connection")
            self._reader.feed(data)
        return reply


def packed(words: list[bytes]) -> bytes:
    """One command as it is sent."""
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)])
