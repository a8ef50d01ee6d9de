"""What a client may send to a running node: each gets Redis's own words, and the node lives on.

The fixture `solo` asks the node after each test whether it still answers.
"""

import contextlib
import random
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import NodeProcess, wait_until
from tests.e2e.wire import RawConnection

Words = tuple[str | bytes, ...]


def request(*words: str | bytes) -> bytes:
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


@pytest.fixture
def raw(solo: NodeProcess) -> Iterator[RawConnection]:
    with RawConnection(solo.port) as connection:
        yield connection


@pytest.mark.parametrize(
    ("before", "words", "answer"),
    [
        ((), ("NOSUCH", "a"), b"-ERR unknown command 'NOSUCH', with args beginning with: 'a' "),
        ((), ("GET",), b"-ERR wrong number of arguments for 'get' command"),
        ((), ("GET", "a", "b"), b"-ERR wrong number of arguments for 'get' command"),
        ((), ("HSET", "a", "b"), b"-ERR wrong number of arguments for 'hset' command"),
        ((), ("MSET", "a", "b", "c"), b"-ERR wrong number of arguments for 'mset' command"),
        (("SADD", "k", "x"), ("GET", "k"), b"-WRONGTYPE Operation against a key holding the wrong kind of value"),
        (("SET", "k", "x"), ("LPUSH", "k", "y"), b"-WRONGTYPE Operation against a key holding the wrong kind of value"),
        (("SET", "k", "x"), ("SADD", "k", "y"), b"-WRONGTYPE Operation against a key holding the wrong kind of value"),
        (
            ("RPUSH", "k", "x"),
            ("HGET", "k", "y"),
            b"-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        (("SET", "k", "x"), ("INCR", "k"), b"-ERR value is not an integer or out of range"),
        (("SET", "k", "1.5"), ("INCR", "k"), b"-ERR value is not an integer or out of range"),
        ((), ("INCRBY", "k", "ten"), b"-ERR value is not an integer or out of range"),
        ((), ("INCRBY", "k", "9223372036854775808"), b"-ERR value is not an integer or out of range"),
        (("SET", "k", "9223372036854775807"), ("INCR", "k"), b"-ERR increment or decrement would overflow"),
        (("SET", "k", "-9223372036854775808"), ("DECR", "k"), b"-ERR increment or decrement would overflow"),
        (("SET", "k", "x"), ("INCRBYFLOAT", "k", "1"), b"-ERR value is not a valid float"),
        (("HSET", "k", "f", "x"), ("HINCRBY", "k", "f", "1"), b"-ERR hash value is not an integer"),
        (("RPUSH", "k", "x"), ("LSET", "k", "7", "y"), b"-ERR index out of range"),
        ((), ("LSET", "k", "0", "y"), b"-ERR no such key"),
        ((), ("SELECT", "1"), b"-ERR DB index is out of range"),
        ((), ("SET", "k", "v", "NX", "XX"), b"-ERR syntax error"),
        ((), ("SET", "k", "v", "WHAT"), b"-ERR syntax error"),
        ((), ("HELLO", "4"), b"-NOPROTO unsupported protocol version"),
        ((), ("EXEC",), b"-ERR EXEC without MULTI"),
        ((), ("DISCARD",), b"-ERR DISCARD without MULTI"),
    ],
)
def test_a_command_that_cannot_run_is_told_why(
    solo: NodeProcess, raw: RawConnection, before: Words, words: Words, answer: bytes
) -> None:
    if before:
        solo.call(*before)
    raw.send(request(*words) + request("PING"))
    assert raw.line() == answer
    assert raw.line() == b"+PONG", "the connection goes on"


def test_an_error_in_a_transaction_takes_nothing_of_it(solo: NodeProcess, raw: RawConnection) -> None:
    raw.send(request("MULTI") + request("SET", "k", "v") + request("NOSUCH") + request("EXEC"))
    assert [raw.line()[:4] for _ in range(3)] == [b"+OK", b"+QUE", b"-ERR"]
    assert raw.line() == b"-EXECABORT Transaction discarded because of previous errors."
    assert solo.call("EXISTS", "k") == 0


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"*2\r\n$3\r\nGET\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$10737418240\r\n", b"-ERR Protocol error: invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$ten\r\n", b"-ERR Protocol error: invalid bulk length"),
        (b"*2147483648\r\n", b"-ERR Protocol error: invalid multibulk length"),
        (b"*many\r\n", b"-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n:5\r\n", b"-ERR Protocol error: expected '$', got ':'"),
        (b'SET a "unbalanced\r\n', b"-ERR Protocol error: unbalanced quotes in request"),
        (b"G" * 70_000, b"-ERR Protocol error: too big inline request"),
    ],
    ids=["minus-five", "ten-gigabytes", "no-number", "too-many", "no-count", "no-bulk", "quotes", "endless-line"],
)
def test_what_is_no_request_ends_the_connection_with_the_reason(raw: RawConnection, data: bytes, answer: bytes) -> None:
    raw.send(request("PING") + data)
    assert raw.line() == b"+PONG", "what came before is answered"
    assert raw.line() == answer
    assert raw.rest() == b""


def test_ten_gigabytes_are_not_reserved_for_a_promise(solo: NodeProcess) -> None:
    before = resident_bytes(solo)
    for length in (512 * 1024 * 1024, 10 * 1024**3):
        with RawConnection(solo.port) as connection:
            connection.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % length + b"x" * 1000)
            assert solo.call("PING")
            assert resident_bytes(solo) < before + 64 * 1024 * 1024


def test_a_huge_count_holds_nobody_up(solo: NodeProcess) -> None:
    with RawConnection(solo.port) as connection:
        for data in (b"*2000000000\r\n", request("PING") + b"*2000000000\r\n"):
            began = time.monotonic()
            connection.send(data)
            connection.rest()
            assert solo.call("PING")
            assert time.monotonic() - began < 1


def test_random_bytes_do_no_harm(solo: NodeProcess) -> None:
    rng = random.Random(20)
    for _ in range(100):
        with RawConnection(solo.port) as connection:
            connection.send(rng.randbytes(rng.randrange(1, 3000)))
            connection.socket.shutdown(socket.SHUT_WR)
            connection.rest()
    assert solo.call("PING")


def test_random_damage_to_requests_does_no_harm(solo: NodeProcess) -> None:
    rng = random.Random(21)
    good = b"".join(request("SET", f"k{n}", "v" * n) + request("LPUSH", f"l{n}", "a", "b") for n in range(20))
    for _ in range(100):
        damaged = bytearray(good)
        for _ in range(rng.randrange(1, 5)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        with RawConnection(solo.port) as connection:
            connection.send(bytes(damaged))
            connection.socket.shutdown(socket.SHUT_WR)
            connection.rest()
    assert solo.call("PING")


def test_half_a_command_and_then_silence_holds_nobody_up(solo: NodeProcess, raw: RawConnection) -> None:
    raw.send(request("SET", "half", "value")[:-4])
    began = time.monotonic()
    for number in range(200):
        assert solo.call("INCR", "n") == number + 1
    assert time.monotonic() - began < 10
    assert solo.call("EXISTS", "half") == 0
    raw.send(request("SET", "half", "value")[-4:])
    assert raw.line() == b"+OK", "and it may still be finished"


def test_a_client_that_vanishes_within_a_command_changes_nothing(solo: NodeProcess) -> None:
    with RawConnection(solo.port) as connection:
        connection.send(request("MULTI") + request("SET", "k", "v") + request("EXEC")[:-3])
        assert connection.line() == b"+OK"
    assert solo.call("EXISTS", "k") == 0


def test_a_client_that_reads_nothing_is_not_answered_without_end(solo: NodeProcess) -> None:
    solo.call("SET", "large", "x" * 100_000)
    before = resident_bytes(solo)
    with RawConnection(solo.port) as connection:
        connection.socket.settimeout(1.0)
        ask = request("GET", "large") * 20_000
        thread = threading.Thread(target=send_until_full, args=(connection.socket, ask))
        thread.start()
        for _ in range(100):
            assert solo.call("PING")
        thread.join()
        assert resident_bytes(solo) < before + 200 * 1024 * 1024


def send_until_full(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(TimeoutError, ConnectionError):
        client.sendall(data)


def test_ten_thousand_idle_connections(solo: NodeProcess) -> None:
    """As many as the limit on open files of this process allows; a node raises its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_000
    if soft < wanted + 200 and hard > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted + 200), hard))
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200
    count = min(wanted - 20, room)
    print(f"{count} idle connections; the limit on open files is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}")
    idle: list[socket.socket] = []
    try:
        for number in range(count):
            idle.append(socket.create_connection(("127.0.0.1", solo.port), timeout=30))
            if number % 500 == 0:
                assert solo.call("PING")
        wait_until(lambda: clients_of(solo) >= count, "all are accepted")
        began = time.monotonic()
        for number in range(200):
            assert solo.call("INCR", "n") == number + 1
        assert time.monotonic() - began < 5
        idle[-1].sendall(request("PING"))
        assert idle[-1].recv(100) == b"+PONG\r\n"
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: clients_of(solo) < 50, "all are gone again")


def clients_of(node: NodeProcess) -> int:
    return int(node.redis.info("clients")["connected_clients"])


def resident_bytes(node: NodeProcess) -> int:
    """Resident memory of the node's process."""
    with open(f"/proc/{node.process.pid}/status", encoding="ascii") as status:
        found = re.search(r"VmRSS:\s+(\d+) kB", status.read())
    assert found
    return int(found[1]) * 1024
