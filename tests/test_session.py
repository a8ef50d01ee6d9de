"""Conversations: several clients of one node, transactions, sizes, and what happens when something goes wrong."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.codec.operations import Inside, SetAdd
from marmoset.commands import COMMANDS
from marmoset.commands.table import Command
from marmoset.config import Config
from marmoset.node import Node, Notify
from marmoset.session import Clients, Session
from tests.commands.beside_redis import Answer, StoppedTime, answers, new_node, request

Word = str | bytes | int


class Client:
    """One client; several may share a node."""

    def __init__(self, node: Node, clients: Clients | None = None, number: int = 1) -> None:
        self.node = node
        self.clients = clients or Clients()
        self.session = Session(node, self.clients, number, f"10.0.0.{number}:5000")

    def another(self, number: int) -> "Client":
        return Client(self.node, self.clients, number)

    def __call__(self, *words: Word) -> object:
        (answer,) = answers(self.session.receive(request(*words)))
        return plain(answer)


def plain(answer: Answer) -> object:
    """An answer without its types: a list, bytes, or None."""
    kind, *parts = answer
    if kind in (b"*", b"~", b"%"):
        return None if parts == [None] else [plain(part) for part in parts]  # type: ignore[arg-type]
    return parts[0] if kind in (b"$", b"=") else kind + parts[0] if kind != b"_" else None  # type: ignore[operator]


@pytest.fixture
def client() -> Client:
    return Client(new_node())


def test_a_pipeline_is_answered_in_one_pass(client: Client) -> None:
    data = request("SET", "k", "v") + request("GET", "k") + b"INCR n\r\n" + request("GET", "n")
    assert client.session.receive(data) == b"+OK\r\n$1\r\nv\r\n:1\r\n$1\r\n1\r\n"


@given(st.lists(st.integers(1, 120), max_size=8))
def test_it_does_not_matter_how_a_pipeline_is_cut(cuts: list[int]) -> None:
    data = request("SET", "k", "a\r\nb") + b"APPEND k 'x y'\r\n" + request("GET", "k") + request("NOSUCH", "*1")
    client = Client(new_node())
    out, at = b"", 0
    for cut in [*cuts, len(data)]:
        out += client.session.receive(data[at : at + cut])
        at += cut
    assert out == b"+OK\r\n:7\r\n$7\r\na\r\nbx y\r\n-ERR unknown command 'NOSUCH', with args beginning with: '*1' \r\n"


def test_a_fault_of_the_protocol_answers_what_was_whole_and_closes(client: Client) -> None:
    assert client.session.receive(request("PING") + b"*1\r\n$-5\r\n") == (
        b"+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"
    )
    assert client.session.closing


def test_nothing_runs_behind_quit(client: Client) -> None:
    assert client.session.receive(request("QUIT") + request("SET", "k", "v")) == b"+OK\r\n"
    assert client.session.closing
    assert client.another(2)("GET", "k") is None


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k 1\r\n",
        b"post / HTTP/1.1\r\n\r\nSET k 1\r\n",
        b"HOST: x\r\nSET k 1\r\n",
        request("Post", "/") + request("SET", "k", 1),
        b"POST /\r\nSET k 1\r\n'unbalanced\r\n",
        request("Host:"),
    ],
)
def test_http_closes_the_connection_and_nothing_behind_it_runs(client: Client, data: bytes) -> None:
    client.node.effects.clear()
    assert client.session.receive(data) == b"" and client.session.closing
    (effect,) = client.node.effects
    assert isinstance(effect, Notify) and effect.level == "warning" and effect.fields["peer"] == "10.0.0.1:5000"
    assert client.another(2)("EXISTS", "k") == b":0"


def test_a_get_over_http_closes_at_its_host(client: Client) -> None:
    answer = client.session.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nSET k 1\r\n")
    assert answer == b"-ERR wrong number of arguments for 'get' command\r\n" and client.session.closing
    assert client.another(2)("EXISTS", "k") == b":0"


def test_http_closes_inside_a_transaction(client: Client) -> None:
    client("MULTI")
    client("SET", "k", 1)
    assert client.session.receive(request("POST", "/") + request("EXEC")) == b""
    assert client.session.closing and client.another(2)("EXISTS", "k") == b":0"


def test_answers_to_writes_are_held_back_while_the_budget_says_so(client: Client) -> None:
    session, budget = client.session, client.node.budget
    client("SET", "k", "v")
    assert not session.delay_ms
    budget.delay_ms = 7
    client("GET", "k")
    assert not session.delay_ms, "it has not written"
    client("SET", "k", "v")
    assert session.delay_ms == 7
    client("GET", "k")
    assert not session.delay_ms
    assert session.receive(request("SET", "k", "w") + request("GET", "k")) and session.delay_ms == 7


def test_an_internal_error_is_answered_and_told_and_the_connection_lives(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(session: Session, args: list[bytes]) -> object:
        raise ZeroDivisionError

    row = Command("broken", broken, 1, "readonly", (0, 0, 0), "server", "Fails.", "O(1)")
    monkeypatch.setattr(client.session, "_lookup", {b"broken": row, **client.session._lookup})
    client.node.effects.clear()
    assert client("broken") == b"-ERR internal error in 'broken'; it has been logged, and the connection goes on"
    (effect,) = client.node.effects
    assert isinstance(effect, Notify) and effect.level == "error" and "ZeroDivisionError" in str(effect.fields)
    assert client("PING") == b"+PONG"


ARGUMENTS = st.sampled_from(
    [
        *(b"s", b"h", b"l", b"str", b"z", b"nosuch", b"", b"0", b"1", b"-1", b"2", b"1.5", b"x", b"*", b"[", b"\xff"),
        *(b"9223372036854775807", b"-9223372036854775808", b"1e300", b"inf", b"nan", b"(", b"[a", b"+", b"-"),
        *(b"LIMIT", b"COUNT", b"MATCH", b"TYPE", b"GET", b"NX", b"XX", b"BEFORE", b"LEFT", b"WITHSCORES", b"RANK"),
        *(b"MAXLEN", b"EX", b"BYSCORE", b"REV", b"ID"),
    ]
)
NAMES = [
    (name.encode(), sub.encode()) if sub else (name.encode(),)
    for name, command in sorted(COMMANDS.items())
    for sub in ("", *sorted(command.subcommands))
]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.lists(ARGUMENTS, max_size=7)), min_size=1, max_size=12))
def test_nothing_that_is_sent_is_an_internal_error(stream: list[tuple[tuple[bytes, ...], list[bytes]]]) -> None:
    node = new_node()
    client = Client(node)
    client("SADD", "s", 1, 2, "x")
    client("HSET", "h", "1", 5, "x", "y")
    client("RPUSH", "l", 1, 2, "x", 2)
    client("SET", "str", 7)
    client("ZADD", "z", 1, "x", 2, "1")
    for protocol in (2, 3):
        client("RESET")
        client("HELLO", protocol)
        for name, args in stream:
            data = client.session.receive(request(*name, *args))
            assert b"internal error" not in data, (name, args)
            answers(data)
            if node.state != "serving":
                return  # MARMOSET LEAVE
    node.end_turn()
    node.replica._check()


# -- transactions


def test_a_watched_key_that_another_client_changes_ends_the_transaction(client: Client) -> None:
    other = client.another(2)
    for change in (("SET", "k", "1"), ("DEL", "k"), ("SADD", "k", "x"), ("FLUSHALL",)):
        client("WATCH", "k", "nosuch")
        other(*change)
        client("MULTI")
        assert client("SET", "mine", "1") == b"+QUEUED"
        assert client("EXEC") is None
        assert client("EXISTS", "mine") == b":0"
    client("WATCH", "k")
    other("SET", "other", "1")
    client("MULTI")
    client("SET", "mine", "1")
    assert client("EXEC") == [b"+OK"]


def test_a_watch_ends_with_exec_discard_unwatch_reset_and_the_connection(client: Client) -> None:
    other = client.another(2)
    for end in (("UNWATCH",), ("DISCARD",), ("EXEC",), ("RESET",)):
        client("WATCH", "k")
        if end[0] in ("DISCARD", "EXEC"):
            client("MULTI")
        client(*end)
        assert not client.node.replica.keyspace.watchers
        other("SET", "k", end[0])
        client("MULTI")
        assert client("PING") == b"+QUEUED"
        assert client("EXEC") == [b"+PONG"]
    client("WATCH", "k")
    client.session.close()
    assert not client.node.replica.keyspace.watchers


def test_watching_very_many_keys_takes_no_time(client: Client) -> None:
    keys = [f"key{i}" for i in range(50_000)]
    assert client("WATCH", *keys) == b"+OK"
    assert client("WATCH", *keys) == b"+OK"
    assert len(client.node.replica.keyspace.watchers) == len(keys)
    assert client("UNWATCH") == b"+OK"
    assert not client.node.replica.keyspace.watchers


def test_exec_takes_nothing_when_a_request_could_not_be_queued(client: Client) -> None:
    for bad in (("NOSUCH",), ("GET",), ("CLIENT", "NOSUCH"), ("CLIENT", "SETNAME"), ("MARMOSET", "LEAVE")):
        client("MULTI")
        client("SET", "k", "v")
        assert str(client(*bad)).startswith("b'-ERR") or str(client(*bad)).startswith('b"-ERR')
        assert client("EXEC") == b"-EXECABORT Transaction discarded because of previous errors."
        assert client("EXISTS", "k") == b":0"


def test_an_error_inside_exec_takes_the_others(client: Client) -> None:
    client("MULTI")
    for words in (("SET", "k", "v"), ("INCR", "k"), ("APPEND", "k", "w")):
        client(*words)
    assert client("EXEC") == [b"+OK", b"-ERR value is not an integer or out of range", b":2"]


def test_a_transaction_is_one_batch() -> None:
    client = Client(new_node(batch_operations_max=3))
    node = client.node
    node.replica.keyspace.tracking = True  # as with other members: operations are kept
    client("SET", "before", "1")
    client("MULTI")
    for i in range(10):
        client("SADD", "s", i)
    client("EXEC")
    client("SET", "behind", "1")
    node.end_turn()
    sizes = [len(entry.operations) for entry in node.replica.log.entries.values()]
    (whole,) = [entry for entry in node.replica.log.entries.values() if len(entry.operations) >= 10]
    assert sum(isinstance(operation, SetAdd) for operation in whole.operations) == 10
    assert sum(sizes) == 12


# -- sizes


LIMIT = 20_000


@pytest.fixture
def narrow() -> Client:
    return Client(new_node(batch_bytes_max=LIMIT))


def is_too_large(answer: object) -> bool:
    text = b"would write more than batch_bytes_max allows (20000 bytes); nothing was changed"
    return isinstance(answer, bytes) and answer.endswith(text)


def test_a_write_larger_than_a_batch_is_refused_and_reading_as_much_is_not(narrow: Client) -> None:
    value = b"x" * (LIMIT + 1)
    assert is_too_large(narrow("SET", "k", value))
    assert is_too_large(narrow("SADD", "s", *range(LIMIT)))
    assert narrow("EXISTS", "k", "s") == b":0"
    assert narrow("ECHO", value) == value
    assert narrow("PING") == b"+PONG"


def test_a_transaction_larger_than_a_batch_is_refused_while_it_is_queued(narrow: Client) -> None:
    narrow("MULTI")
    for _ in range(3):
        answer = narrow("SET", "k", b"x" * (LIMIT // 3))
    assert is_too_large(answer)
    assert narrow("EXEC") == b"-EXECABORT Transaction discarded because of previous errors."
    assert narrow("EXISTS", "k") == b":0"


def test_what_can_write_more_than_it_was_sent_is_checked_before_it_begins(narrow: Client) -> None:
    for i in range(3):
        narrow("SADD", f"s{i}", *[b"%d%09d" % (i, j) for j in range(900)])
    narrow("SET", "target", "kept")
    assert is_too_large(narrow("SUNIONSTORE", "target", "s0", "s1", "s2"))
    assert narrow("GET", "target") == b"kept"
    assert narrow("SUNIONSTORE", "target", "s0") == b":900"
    narrow("SET", "half", b"x" * (LIMIT - 4000))
    assert is_too_large(narrow("APPEND", "half", b"x" * 4100))
    assert narrow("STRLEN", "half") == b":%d" % (LIMIT - 4000)


def test_a_hash_that_nests_is_walked_and_sampled_as_any_other(client: Client) -> None:
    client.node.replica.submit(Inside(b"h", [b"a"], SetAdd(b"", [b"x"])))
    client("HSET", "h", "b", "1")
    assert client("HSCAN", "h", 0) == [b"0", [b"a", b'["x"]', b"b", b"1"]]
    assert client("HRANDFIELD", "h") in (b"a", b"b")
    many = client("HRANDFIELD", "h", -50)
    assert isinstance(many, list) and len(many) == 50 and set(many) == {b"a", b"b"}


def test_members_that_are_popped_are_written_too(narrow: Client) -> None:
    for i in range(3):
        narrow("ZADD", "z", 1, b"%d" % i + b"x" * (LIMIT // 2))
    for word in ("ZPOPMIN", "ZPOPMAX"):
        assert is_too_large(narrow(word, "z", 3)) and narrow("ZCARD", "z") == b":3"
    assert isinstance(narrow("ZPOPMIN", "z"), list) and narrow("ZCARD", "z") == b":2"


@pytest.mark.parametrize(
    "words",
    [
        ("INCRBYFLOAT", "s", "1e300"),
        ("HINCRBYFLOAT", "h", "f", "-1e300"),
        ("ZINCRBY", "z", "1e-300", "m"),
        ("ZADD", "z", "1e300", "m"),
        ("ZADD", "z", "CH", "1e300", "m"),
        ("ZADD", "z", "INCR", "1e300", "m"),
    ],
)
def test_a_number_is_as_long_as_its_digits_not_as_it_was_said(narrow: Client, words: tuple[str, ...]) -> None:
    node = narrow.node
    node.replica.keyspace.tracking = True
    narrow("MULTI")
    for _ in range(LIMIT // 100):
        assert narrow(*words) == b"+QUEUED"
    narrow("EXEC")
    node.end_turn()
    assert max(len(entry.framed) for entry in node.replica.log.entries.values()) < LIMIT + 1000


def test_no_batch_is_larger_than_allowed_however_the_requests_come(narrow: Client) -> None:
    node = narrow.node
    node.replica.keyspace.tracking = True
    narrow("SADD", "s", *[b"%010d" % j for j in range(900)])
    narrow("SET", "k", b"x" * (LIMIT // 2))
    data = request("SUNIONSTORE", "t", "s") + request("APPEND", "k", "y") + request("SET", "l", b"z" * (LIMIT // 2))
    narrow.session.receive(data * 20)
    narrow("MULTI")
    narrow("SUNIONSTORE", "t", "s")
    narrow("APPEND", "k", "y")
    narrow("SUNIONSTORE", "u", "s")
    done = narrow("EXEC")
    assert isinstance(done, list) and [is_too_large(each) for each in done] == [False, True, True]
    node.end_turn()
    assert max(len(entry.framed) for entry in node.replica.log.entries.values()) < LIMIT + (1 << 20) + 4096


def test_a_request_larger_than_a_client_may_send_ends_the_connection() -> None:
    client = Client(new_node(client_query_bytes_max=100_000))
    out = b""
    data = request("SET", "k", b"x" * 200_000)
    for at in range(0, len(data), 10_000):
        out += client.session.receive(data[at : at + 10_000])
        if client.session.closing:
            break
    assert out == b"-ERR Protocol error: a request larger than client_query_bytes_max\r\n"


# -- clients


def test_every_session_sees_the_others(client: Client) -> None:
    other = client.another(2)
    other("CLIENT", "SETNAME", "worker")
    other("HELLO", "3")
    listed = client("CLIENT", "LIST")
    assert isinstance(listed, bytes)
    rows = [dict(pair.split(b"=", 1) for pair in line.split()) for line in listed.splitlines()]
    assert [(row[b"id"], row[b"name"], row[b"resp"], row[b"cmd"]) for row in rows] == [
        (b"1", b"", b"2", b"client|list"),
        (b"2", b"worker", b"3", b"hello"),
    ]
    other.session.close()
    listed = client("CLIENT", "LIST")
    assert isinstance(listed, bytes) and listed.count(b"\n") == 1


def test_hello_answers_in_the_protocol_that_it_chose(client: Client) -> None:
    assert client.session.receive(request("HELLO", 3)).startswith(b"%")
    assert client.session.receive(request("HGETALL", "nosuch")) == b"%0\r\n"
    assert client.session.receive(request("HELLO", 2)).startswith(b"*")
    assert client.session.receive(request("HGETALL", "nosuch")) == b"*0\r\n"


def test_before_it_has_joined_a_node_answers_only_about_itself() -> None:
    config = Config(name="late", port=6379, gossip_port=7946, join=("127.0.0.1:7947",))
    node = Node(config, StoppedTime(), Random(7))
    node.start()
    client = Client(node)
    for words in (("PING",), ("GET", "k"), ("SET", "k", "v"), ("KEYS", "*"), ("DBSIZE",), ("MULTI",), ("FLUSHALL",)):
        assert str(client(*words)).startswith("b'-LOADING "), words
    for words in (
        ("INFO",),
        ("HELLO",),
        ("CLIENT", "ID"),
        ("COMMAND", "COUNT"),
        ("MARMOSET", "STATUS"),
        ("SELECT", "0"),
        ("CONFIG", "GET", "*"),
        ("RESET",),
    ):
        assert not str(client(*words)).startswith("b'-"), words
    assert client("AUTH", "x").__class__ is bytes and b"LOADING" not in bytes(client("AUTH", "x"))  # type: ignore[call-overload]
    assert client("QUIT") == b"+OK"
