"""A small blocking Redis client (floor 9), for `marmoset status` and `marmoset demo`.

One socket, one conversation, RESP2 parsed by hiredis. Replies are `int`, `str`, `None` or lists of them: text that is
not UTF-8 keeps its odd bytes as surrogates. Not a client library: programs use redis-py or the Python face.
"""

import socket
import time
from types import TracebackType
from typing import Self

import hiredis

from marmoset.errors import MarmosetError, UsageError

_CHUNK_BYTES = 65536
_WHICH_PORT = "the port for clients is wanted (port), not the one between nodes (gossip_port)"


class ReplyError(MarmosetError):
    """The node answered with an error; its text is Redis's."""


class Client:
    """One connection to a node.

    Raises `UsageError` when there is nobody to talk to, the other side speaks something else or the answer takes longer
    than `timeout_s`, and `ReplyError` when the answer is an error.
    """

    def __init__(self, host: str, port: int, timeout_s: float = 5.0) -> None:
        self.where = f"{host}:{port}"
        self._timeout_s = timeout_s
        self._heard = False
        try:
            self._socket = socket.create_connection((host, port), timeout=timeout_s)
        except OSError as error:
            raise UsageError(f"no node answers at {self.where}: {error.strerror or error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")

    def send(self, *words: str | bytes | int) -> None:
        """Send one command and do not wait for its answer."""
        try:
            self._socket.sendall(hiredis.pack_command(words))  # type: ignore[arg-type]  # its stub means a tuple of any length
        except OSError as error:
            raise UsageError(f"{self.where} is gone: {error.strerror or error}") from error

    def receive(self) -> object:
        """The next answer."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                reply = self._reader.gets()
            except hiredis.ProtocolError as error:
                raise UsageError(f"{self.where} does not speak the Redis protocol; {_WHICH_PORT}") from error
            if reply is not False:
                break
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except TimeoutError as error:
                raise UsageError(f"{self.where} has not answered for {self._timeout_s:g} s") from error
            except OSError as error:
                raise UsageError(f"{self.where} is gone: {error.strerror or error}") from error
            if not data:
                hint = "" if self._heard else f" without an answer; {_WHICH_PORT}"
                raise UsageError(f"{self.where} has closed the connection{hint}")
            self._heard = True
            self._reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise ReplyError(str(reply))
        return reply

    def call(self, *words: str | bytes | int) -> object:
        """Send one command and wait for its answer."""
        self.send(*words)
        return self.receive()

    def mapping(self, *words: str | bytes | int) -> dict[str, object]:
        """The answer to a command that gives a flat list of pairs, as a dict."""
        return pairs(self.call(*words))

    def close(self) -> None:
        """Close the connection; more than once does no harm."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def pairs(reply: object) -> dict[str, object]:
    """A flat list `name value name value …` as a dict; raises `UsageError` if it is not one."""
    if not isinstance(reply, list) or len(reply) % 2:
        raise UsageError(f"expected pairs, got {reply!r}")
    return {str(reply[i]): reply[i + 1] for i in range(0, len(reply), 2)}
