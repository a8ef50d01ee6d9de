"""A real Redis and a session of ours side by side: the same requests to both, their answers compared.

Answers are parsed into nested tuples, so that what has no order can be compared without one.
"""

import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from random import Random

from marmoset.config import Config
from marmoset.node import Node
from marmoset.resp.parser import split_inline
from marmoset.session import Clients, Session

WAIT_S = 10.0

UNORDERED = {
    **dict.fromkeys(("SMEMBERS", "SUNION", "SINTER", "SDIFF", "HKEYS", "HVALS", "KEYS", "SPOP", "SRANDMEMBER"), 1),
    "CONFIG": 2,
    "HGETALL": 2,
    "HRANDFIELD": 1,
}
"""Commands whose answers have no order, and how many words of an answer belong together."""

Answer = tuple[object, ...]


def request(*words: str | bytes | int) -> bytes:
    """A request as clients send it."""
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)


class Incomplete(Exception):
    """More bytes are needed."""


def parse(data: bytes, at: int = 0) -> tuple[Answer, int]:
    """One answer from `at` on, as (type, value or parts...), and where it ends."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind, line, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind in (b"$", b"="):
        length = int(line)
        if length < 0:
            return (kind, None), at
        if len(data) < at + length + 2:
            raise Incomplete
        return (kind, data[at : at + length]), at + length + 2
    if kind in (b"*", b"~", b"%", b">"):
        count = int(line) * (2 if kind == b"%" else 1)
        if count < 0:
            return (kind, None), at
        parts: list[object] = []
        for _ in range(count):
            part, at = parse(data, at)
            parts.append(part)
        return (kind, *parts), at
    assert kind in (b"+", b"-", b":", b"_", b",", b"#", b"("), kind
    return (kind, line), at


def answers(data: bytes) -> list[Answer]:
    """All answers in some bytes."""
    found: list[Answer] = []
    at = 0
    while at < len(data):
        answer, at = parse(data, at)
        found.append(answer)
    return found


def without_order(answer: Answer, group: int = 1) -> Answer:
    """An array with its elements sorted, in groups of `group`; anything else as it is."""
    kind = answer[0]
    if kind not in (b"*", b"~", b"%") or (len(answer) > 1 and answer[1] is None):
        return answer
    parts = answer[1:]
    size = 2 if kind == b"%" else group
    return (kind, *sorted((parts[i : i + size] for i in range(0, len(parts), size)), key=repr))


def comparable(words: tuple[bytes, ...], answer: Answer) -> Answer:
    """An answer in a form that can be compared: without the order that it does not promise."""
    name = words[0].upper().decode("latin-1")
    if name in ("SCAN", "SSCAN", "HSCAN") and answer[0] == b"*":
        found = answer[2]
        assert isinstance(found, tuple)
        return (answer[0], answer[1], without_order(found, 2 if name == "HSCAN" else 1))
    group = UNORDERED.get(name, 0)
    if name == "HRANDFIELD" and len(words) == 4 and answer[0] == b"*" and not isinstance(answer[-1], tuple):
        return answer
    if name == "HRANDFIELD" and len(words) == 4 and len(answer) > 1 and answer[1][0] == b"$":  # type: ignore[index]
        group = 2
    return without_order(answer, group) if group else answer


def is_rounded_by_redis(answer: object) -> bool:
    """Whether ours has a decimal that Redis, which adds in 64 bits, cannot have."""
    if isinstance(answer, tuple):
        return any(map(is_rounded_by_redis, answer))
    if not isinstance(answer, bytes) or re.fullmatch(rb"-?\d+\.\d+", answer) is None:
        return False
    return Fraction(answer.decode()).numerator.bit_length() > 64


@dataclass
class RedisServer:
    """A real redis-server on a free port."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    path: str = field(default_factory=lambda: shutil.which("redis-server") or "redis-server")

    def start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        command = [self.path, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self.folder), "--loglevel", "warning", "--hz", "50"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + WAIT_S
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


class RedisClient:
    """A raw connection to the real Redis."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self._data = b""

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes, count: int) -> list[Answer]:
        """Send requests; their answers, `count` of them."""
        self.socket.sendall(data)
        found: list[Answer] = []
        while len(found) < count:
            try:
                answer, end = parse(self._data)
            except Incomplete:
                more = self.socket.recv(1 << 16)
                assert more, "Redis has closed the connection"
                self._data += more
                continue
            self._data = self._data[end:]
            found.append(answer)
        assert not self._data
        return found

    def converse(self, data: bytes) -> bytes:
        """Send bytes, say that there will be no more, and return everything that is answered."""
        self.socket.sendall(data)
        self.socket.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while more := self.socket.recv(1 << 16):
                found += more
        except ConnectionResetError:
            pass
        return found


class StoppedTime:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms


def new_node(**settings: object) -> Node:
    """A group of one that serves, without a shell."""
    config = Config(name="solo", port=6379, gossip_port=7946, **settings)  # type: ignore[arg-type]
    node = Node(config, StoppedTime(), Random(7))
    node.start()
    assert node.state == "serving"
    return node


class Pair:
    """One client's connection to each, and the same keys."""

    def __init__(self, port: int, protocol: int) -> None:
        self.redis = RedisClient(port)
        self.node = new_node()
        self.session = Session(self.node, Clients(), 1, "127.0.0.1:5000")
        self.protocol = protocol
        self.redis.send(request("FLUSHALL") + request("HELLO", protocol), 2)
        self.session.receive(request("HELLO", protocol))

    def close(self) -> None:
        self.redis.close()
        self.session.close()

    def begin(self) -> None:
        """No keys, no transaction, no name; the protocol as it was asked for."""
        data = request("RESET") + request("FLUSHALL") + request("HELLO", self.protocol)
        self.redis.send(data, 3)
        self.session.receive(data)
        self.node.end_turn()

    def ours(self, *words: str | bytes | int) -> Answer:
        """The answer of our session alone."""
        (answer,) = answers(self.session.receive(request(*words)))
        return answer

    def theirs(self, *words: str | bytes | int) -> Answer:
        """The answer of Redis alone."""
        (answer,) = self.redis.send(request(*words), 1)
        return answer

    def both(self, *words: str | bytes | int) -> tuple[Answer, Answer]:
        """The same request to both: our answer and that of Redis."""
        result = self.ours(*words), self.theirs(*words)
        self.node.end_turn()
        return result

    def differing(self, cases: str) -> list[str]:
        """Run cases, each beginning with nothing: one request a line, an empty line between cases. What differs."""
        found: list[str] = []
        for case in cases.strip().split("\n\n"):
            self.begin()
            for line in case.splitlines():
                words = tuple(split_inline(line.strip().encode()))
                if not words or words[0] == b"#":
                    continue
                ours, theirs = (comparable(words, answer) for answer in self.both(*words))
                if ours != theirs:
                    found.append(f"{line.strip()}\n     ours {ours}\n    Redis {theirs}")
        return found
