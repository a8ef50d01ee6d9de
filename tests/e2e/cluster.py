"""Real nodes for end-to-end tests: `python -m marmoset serve` processes on free loopback ports.

A `Cluster` starts nodes, pauses, kills and restarts them, and in the end ends exactly the processes that it started.
Nothing here sleeps for a guess: `wait_until` polls a condition against a generous deadline, and when the deadline
passes it says what was last seen. Each node's output goes to files of the test's own folder; `logs` gives their ends.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

T = TypeVar("T")

DEADLINE_S = 30.0
POLL_S = 0.01
LOG_LINES = 60

QUICK = (
    "--gossip-interval=50ms",
    "--unreachable-after=1s",
    "--reconnect-min=50ms",
    "--reconnect-max=500ms",
    "--leave-timeout=5s",
)
"""Short intervals, for tests in which something has to be noticed."""


class NotInTime(AssertionError):
    """A condition did not come true before its deadline."""


def wait_until(condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """The first true value of `condition`. An error of a Redis client counts as not yet."""
    until = time.monotonic() + deadline_s
    seen: object = None
    while True:
        try:
            value = condition()
            if value:
                return value
            seen = value
        except redis.RedisError as error:
            seen = error
        if time.monotonic() > until:
            raise NotInTime(f"not within {deadline_s:g} s: {what}; last seen: {seen!r}")
        time.sleep(POLL_S)


def wait_equal(read: Callable[[], T], expected: T, what: str, deadline_s: float = DEADLINE_S) -> float:
    """Wait until `read()` gives `expected`; the seconds that it took."""
    began = time.monotonic()
    last: list[T] = []

    def equal() -> bool:
        last[:] = [read()]
        return last[0] == expected

    try:
        wait_until(equal, what, deadline_s)
    except NotInTime as error:
        raise NotInTime(f"{error}; got {last}, expected {expected!r}") from None
    return time.monotonic() - began


def free_port() -> int:
    """A loopback port that is free now. For what must be known before a node is up; else nodes take port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(*words: str) -> list[str]:
    """The words that run `marmoset` under this interpreter."""
    return [sys.executable, "-m", "marmoset", *words]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without settings of a node."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MARMOSET_")}
    return kept | changes


def run(*words: str, timeout_s: float = DEADLINE_S, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `marmoset` to its end."""
    return subprocess.run(
        command(*words), env=environment(**changes), capture_output=True, text=True, timeout=timeout_s, check=False
    )


@dataclass
class NodeProcess:
    """One node: its process, its addresses, and a connection to it."""

    name: str
    process: subprocess.Popen[bytes]
    out: Path
    log: Path
    words: tuple[str, ...]
    id: str = ""
    port: int = 0
    address: str = ""
    """Where other nodes reach it: `host:gossip_port`."""
    clients: list[redis.Redis] = field(default_factory=list)

    def client(self, **options: Any) -> Any:
        """A new `redis.Redis`, closed with the node. Untyped: redis-py says of every answer all that it could be."""
        # No retries: a request that is sent again could count twice, and a fault would be seen late.
        chosen: dict[str, Any] = {
            "socket_timeout": DEADLINE_S,
            "decode_responses": True,
            "retry": Retry(NoBackoff(), 0),
        }
        chosen |= options
        client = redis.Redis(host="127.0.0.1", port=self.port, **chosen)
        self.clients.append(client)
        return client

    @property
    def redis(self) -> Any:
        """One connection that stays."""
        return self.clients[0] if self.clients else self.client()

    def call(self, *words: str | bytes | int) -> Any:
        """Run one command; strings come back decoded."""
        return self.redis.execute_command(*words)

    def status(self) -> dict[str, Any]:
        """`MARMOSET STATUS` as a dict, whichever protocol is spoken."""
        return as_dict(self.call("MARMOSET", "STATUS"))

    def members(self) -> list[tuple[str, str]]:
        """Name and state of each row of `MARMOSET MEMBERS`, sorted. A buried one stays there for a moment."""
        rows = [as_dict(row) for row in self.call("MARMOSET", "MEMBERS")]
        return sorted((row["name"], row["state"]) for row in rows)

    def pause(self) -> None:
        """Stop the process where it is, as a machine does that swaps or hangs."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to leave."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()
        self.close_clients()

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(deadline_s)

    def close_clients(self) -> None:
        """Close every connection."""
        for client in self.clients:
            client.close()
        self.clients.clear()

    def log_text(self) -> str:
        """Everything that it has logged."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_ready(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait for the line with `ready`, and take the addresses from it."""

        def line() -> str | None:
            # A last look after the end: the line may have come just before.
            ended = self.process.poll() is not None
            complete = [text for text in self.out.read_text().split("\n")[:-1] if "ready" in text.split()]
            if not complete and ended:
                raise NotInTime(f"{self.name} ended with {self.process.returncode} before it was ready")
            return complete[0] if complete else None

        found = wait_until(line, f"{self.name} prints ready", deadline_s)
        assert found is not None
        fields = dict(word.split("=", 1) for word in found.split() if "=" in word)
        self.id, self.address = fields["id"], fields["nodes"]
        self.port = int(fields["clients"].rpartition(":")[2])


def as_dict(reply: Any) -> dict[str, Any]:
    """A map of RESP3, or the flat list of pairs that RESP2 has in its place."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


class Cluster:
    """Nodes that were started together, under one folder."""

    def __init__(self, folder: Path, options: Sequence[str] = QUICK) -> None:
        self.folder = folder
        self.options = tuple(options)
        self.nodes: list[NodeProcess] = []
        self._started: list[NodeProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def spawn(self, name: str, *words: str, join: Sequence[str] = ()) -> NodeProcess:
        """Start a node and do not wait for it. A port that is not given in `words` is a free one."""
        ports = [f"{flag}=0" for flag in ("--port", "--gossip-port") if not any(w.startswith(flag) for w in words)]
        joins = [f"--join={address}" for address in join]
        all_words = ("serve", "--name", name, "--bind", "127.0.0.1", *self.options, *ports, *joins, *words)
        number = len(self._started)
        out, log = self.folder / f"{number:02}-{name}.out", self.folder / f"{number:02}-{name}.log"
        with out.open("wb") as output, log.open("wb") as errors:
            process = subprocess.Popen(
                command(*all_words), stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment()
            )
        node = NodeProcess(name, process, out, log, words)
        self._started.append(node)
        return node

    def start(self, name: str, *words: str, join: Sequence[str] | None = None) -> NodeProcess:
        """Start a node, by default into the group that is there, and wait until it is ready."""
        node = self.spawn(name, *words, join=self.addresses() if join is None else join)
        node.wait_ready()
        self.nodes.append(node)
        return node

    def grow(self, *names: str) -> list[NodeProcess]:
        """Start nodes one after the other, and wait until each sees all."""
        grown = [self.start(name) for name in names]
        self.wait_members()
        return grown

    def restart(self, node: NodeProcess, *words: str) -> NodeProcess:
        """Start an ended node again under its name, with its flags, at new ports."""
        assert node.process.poll() is not None, "it still runs"
        if node in self.nodes:
            self.nodes.remove(node)
        return self.start(node.name, *node.words, *words)

    def addresses(self) -> list[str]:
        """Where to join."""
        return [node.address for node in self.nodes]

    def wait_members(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until every node sees exactly the nodes that run here, all alive."""
        expected = sorted((node.name, "alive") for node in self.nodes)
        for node in self.nodes:
            wait_equal(node.members, expected, f"{node.name} sees all members alive", deadline_s)

    def wait_same(self, read: Callable[[NodeProcess], T], expected: T, deadline_s: float = DEADLINE_S) -> float:
        """Wait until every node reads the expected value; the seconds that it took."""
        return wait_equal(
            lambda: [read(node) for node in self.nodes], [expected] * len(self.nodes), "equal everywhere", deadline_s
        )

    def wait_rest(self, deadline_s: float = DEADLINE_S) -> float:
        """Wait until no node has a log or a window; the seconds that it took."""
        return self.wait_same(at_rest, (0, 0, 0), deadline_s)

    def close(self) -> None:
        """End every process that was started here and is not over yet."""
        for node in self._started:
            with contextlib.suppress(redis.RedisError, OSError):
                node.close_clients()
            if node.process.poll() is None:
                node.process.kill()
            node.process.wait()

    def logs(self) -> str:
        """The end of every log, for the report of a failed test."""
        parts: list[str] = []
        for node in self._started:
            lines = node.log_text().splitlines()[-LOG_LINES:]
            parts.append("\n".join([f"--- {node.log.name}, exit code {node.process.poll()}", *lines]))
        return "\n".join(parts)


def at_rest(node: NodeProcess) -> tuple[int, int, int]:
    """Batches in the log, bytes of them, and window entries: (0, 0, 0) at rest."""
    status = node.status()
    return int(status["log_batches"]), int(status["log_bytes"]), int(status["window_entries"])


@contextlib.contextmanager
def paused(node: NodeProcess) -> Iterator[None]:
    """A node that does nothing meanwhile."""
    node.pause()
    try:
        yield
    finally:
        node.resume()
