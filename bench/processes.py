"""The processes of a measurement: nodes, a real Redis, Python modules. All on loopback, on ports that were free.

Each is a context manager that ends what it started, by its id, whatever happens inside; SIGTERM is made an ordinary
exit (`exit_on_sigterm`), so that holds for it too. `cpu_s` is the processor time of all threads of a process in
nanoseconds' steps where the system has a clock of it (Linux: the clock that `clock_getcpuclockid` names), else in the
steps of `ps`.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, AnyStr

from bench.pipes import Pipe
from marmoset import build

START_S = 20.0
END_S = 10.0
REST_S = 120.0
IDLE_LOOK_S = 0.1
IDLE_SHARE = 0.05
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs: its process, its port for clients, and where nodes reach it if it is one."""

    pid: int
    port: int
    address: str = ""


def exit_on_sigterm() -> None:
    """Have SIGTERM end this process as an exception does, through everything that has to be ended first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextlib.contextmanager
def ended_at_exit(process: "subprocess.Popen[AnyStr]") -> Iterator["subprocess.Popen[AnyStr]"]:
    """A process that does not outlive the measurement."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


@contextlib.contextmanager
def module(*words: str, environment: dict[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
    """A Python module as a process, with pipes for its standard input and output."""
    command = [sys.executable, "-m", *words]
    pipe = subprocess.PIPE
    with ended_at_exit(
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1, env=environment)
    ) as process:
        yield process


def serve_words(name: str, join: Sequence[str]) -> list[str]:
    """The words behind `python -m` that start a node on free ports of loopback."""
    words = ["marmoset", "serve", "--name", name, "--bind", LOOPBACK, "--port", "0", "--gossip-port", "0"]
    return [*words, "--log-level", "error", *(f"--join={address}" for address in join)]


@contextlib.contextmanager
def node(kind: str = "", name: str = "solo", join: Sequence[str] = ()) -> Iterator[Server]:
    """One node, of a build of marmoset if one is named, that takes clients."""
    environment = {**os.environ, build.VARIABLE: kind} if kind else None
    with module(*serve_words(name, join), environment=environment) as process:
        assert process.stdout is not None
        fields = fields_in(process.stdout.readline())
        if "clients" not in fields:
            raise SystemExit(f"node {name} did not start; what it said is above")
        yield Server(process.pid, port_of(fields["clients"]), fields["nodes"])


@contextlib.contextmanager
def group(count: int, kind: str = "") -> Iterator[list[Server]]:
    """So many nodes that replicate, each linked with all others."""
    with contextlib.ExitStack() as stack:
        nodes: list[Server] = []
        for number in range(count):
            nodes.append(stack.enter_context(node(kind, f"n{number}", [each.address for each in nodes])))
        wait_linked(nodes)
        yield nodes


@contextlib.contextmanager
def redis_server(path: str) -> Iterator[Server]:
    """A real Redis without persistence."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        words = [path, "--port", str(port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no", "--dir", folder]
        with ended_at_exit(subprocess.Popen(words, stdout=subprocess.DEVNULL)) as process:
            until = time.monotonic() + START_S
            while True:
                try:
                    socket.create_connection((LOOPBACK, port), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > until or process.poll() is not None:
                        raise
                    time.sleep(0.05)
            yield Server(process.pid, port)


def found_redis() -> str | None:
    """Where the real Redis is; says so, on standard error, where it is not."""
    path = shutil.which("redis-server")
    if path is None:
        print("REDIS IS LEFT OUT: redis-server is not here; on Debian: apt-get install redis-server", file=sys.stderr)
    return path


def flush(servers: Sequence[Server]) -> None:
    """Empty the first of a group, or the one, and with it all others."""
    with contextlib.closing(Pipe(servers[0].port)) as pipe:
        assert pipe.one(b"FLUSHALL") == b"OK"


def wait_linked(nodes: Sequence[Server]) -> None:
    """Wait until every node has a link to every other."""
    wait_status(nodes, lambda status: status["members"] == len(nodes) and status["links"] == len(nodes) - 1, "linked")


def wait_rest(nodes: Sequence[Server]) -> None:
    """Wait until all have everything and hold nothing but plain values: log, folding and windows are empty."""
    names = ("log_batches", "folding_batches", "window_entries")
    wait_status(nodes, lambda status: not any(status[name] for name in names), "at rest")


def wait_status(nodes: Sequence[Server], is_so: Any, what: str) -> None:
    """Wait until each node's `MARMOSET STATUS` is as wanted."""
    until = time.monotonic() + REST_S
    for each in nodes:
        with contextlib.closing(Pipe(each.port)) as pipe:
            while not is_so(status := pipe.mapping(b"MARMOSET", b"STATUS")):
                if time.monotonic() > until:
                    raise SystemExit(f"not {what} within {REST_S:g} s: {status}")
                time.sleep(0.05)


def cpu_s(pid: int) -> float:
    """Processor time that a process has used so far, user and system, in seconds."""
    if sys.platform == "linux":
        return time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of the process, as glibc makes it
    said = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True)
    seconds = 0.0
    for part in said.stdout.strip().split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def wait_idle(pids: Sequence[int]) -> None:
    """Wait until none does more than timers do: large values that were deleted are freed behind the answer."""
    until = time.monotonic() + REST_S
    while True:
        before = [cpu_s(pid) for pid in pids]
        time.sleep(IDLE_LOOK_S)
        if max(cpu_s(pid) - began for pid, began in zip(pids, before, strict=True)) < IDLE_SHARE * IDLE_LOOK_S:
            return
        if time.monotonic() > until:
            raise SystemExit(f"not idle within {REST_S:g} s")


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM; 0 where the system does not say."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def fields_in(line: str) -> dict[str, str]:
    """The fields of the line with which a node says that it is ready."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def port_of(address: str) -> int:
    """The port of `host:port`."""
    return int(address.rpartition(":")[2])
