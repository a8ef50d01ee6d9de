"""The request parser: what is taken, what is refused and when, and that it does not matter how the bytes are cut."""

import time
from itertools import pairwise

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.resp.errors import ProtocolError
from marmoset.resp.parser import (
    ARGUMENTS_MAX,
    BULK_BYTES_MAX,
    INLINE_BYTES_MAX,
    JoinedParser,
    RequestParser,
    split_inline,
)

HELD_MAX = 1 << 20

Parsed = tuple[list[list[bytes]], str | None]


def parse(*chunks: bytes, held_bytes_max: int = HELD_MAX) -> Parsed:
    """The requests in some chunks, and the fault that ended them: the same for both ways to look at them first."""
    found = [_parse(RequestParser(held_bytes_max, walks_first=walks_first), chunks) for walks_first in (False, True)]
    assert found[0] == found[1]
    return found[0]


def _parse(parser: RequestParser, chunks: tuple[bytes, ...]) -> Parsed:
    requests: list[list[bytes]] = []
    try:
        for chunk in chunks:
            parser.feed(chunk, requests)
    except ProtocolError as problem:
        return requests, problem.text
    return requests, None


def pack(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


PING = pack(b"PING")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"*1\r\n$-5\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$10737418240\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$%d\r\n" % (BULK_BYTES_MAX + 1), "Protocol error: invalid bulk length"),
        (b"*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$+3\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$03\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$03\r\nGET\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$99999999999999999999999999999999999", "Protocol error: invalid bulk length"),
        (b"*1\r\n$\r\n\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$3x\nGET\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$3\rxGET\r\n", "Protocol error: invalid bulk length"),
        (b"*x\r\n", "Protocol error: invalid multibulk length"),
        (b"*\r\n", "Protocol error: invalid multibulk length"),
        (b"*01\r\n", "Protocol error: invalid multibulk length"),
        (b"*01\r\n$4\r\nPING\r\n", "Protocol error: invalid multibulk length"),
        (b"*%d\r\n" % (ARGUMENTS_MAX + 1), "Protocol error: invalid multibulk length"),
        (b"*1000000000\r\n", "Protocol error: invalid multibulk length"),
        (b"*99999999999999999999999999999999999", "Protocol error: invalid multibulk length"),
        (b"*1\r\nx", "Protocol error: expected '$', got 'x'"),
        (b"*1\r\n:5\r\n", "Protocol error: expected '$', got ':'"),
        (b"*1\r\n+PING\r\n", "Protocol error: expected '$', got '+'"),
        (b"*1\r\n=8\r\ntxt:PING\r\n", "Protocol error: expected '$', got '='"),
        (b"*2\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n", "Protocol error: expected '$', got '*'"),
        (b"*1\r\n*1048576\r\n", "Protocol error: expected '$', got '*'"),
        (b"*1\r\n>1000000000\r\n", "Protocol error: expected '$', got '>'"),
        (b"*1\r\n~1000000000\r\n", "Protocol error: expected '$', got '~'"),
        (b"*1\r\n%1000000000\r\n", "Protocol error: expected '$', got '%'"),
        (b"*1\r\n\n", "Protocol error: expected '$', got '\n'"),
        (b"*1\r\n\xff", "Protocol error: expected '$', got '\udcff'"),
        (b"a" * (INLINE_BYTES_MAX + 1), "Protocol error: too big inline request"),
        (b"a" * (INLINE_BYTES_MAX + 1) + b"\r\n", "Protocol error: too big inline request"),
        (b'SET a "b\r\n', "Protocol error: unbalanced quotes in request"),
        (b"SET a 'b'c\r\n", "Protocol error: unbalanced quotes in request"),
    ],
)
def test_a_fault_is_named_and_what_came_before_it_was_taken(data: bytes, fault: str) -> None:
    assert parse(data) == ([], fault)
    assert parse(PING + data) == ([[b"PING"]], fault)
    assert parse(pack(b"SET", b"k", b"v") * 3 + data) == ([[b"SET", b"k", b"v"]] * 3, fault)
    assert parse(b"PING\r\n" + data) == ([[b"PING"]], fault)


def test_a_length_is_refused_before_its_bytes_come() -> None:
    parser = RequestParser(HELD_MAX)
    with pytest.raises(ProtocolError):
        parser.feed(b"*1\r\n$99999999999\r", [])
        parser.feed(b"\n", [])
    assert parser.held_bytes < 64


def test_what_is_held_of_one_request_is_bounded() -> None:
    parser = RequestParser(1000)
    requests: list[list[bytes]] = []
    parser.feed(b"*2\r\n$3\r\nGET\r\n$5000\r\n", requests)
    with pytest.raises(ProtocolError, match="client_query_bytes_max"):
        for _ in range(20):
            parser.feed(b"x" * 100, requests)
    assert parser.held_bytes <= 1100


def test_a_large_argument_in_many_pieces_is_whole() -> None:
    value = bytes(range(256)) * 2000
    data = pack(b"SET", b"k", value) + PING
    chunks = [data[i : i + 1000] for i in range(0, len(data), 1000)]
    assert parse(*chunks) == ([[b"SET", b"k", value], [b"PING"]], None)


@pytest.mark.parametrize("length", [0, 9, 10, 99, 100, 999_999, 1_000_000, 9_999_999, 10_000_000])
def test_a_length_may_have_any_number_of_digits(length: int) -> None:
    within = pack(b"y")[4:]  # what follows a length that was misread may look as if it was right
    for shift in range(len(within)):
        value = (within * (length // len(within) + 2))[shift : shift + length]
        assert parse(PING + pack(value, b"y") + PING) == ([[b"PING"], [value, b"y"], [b"PING"]], None)


def test_the_time_of_a_large_request_grows_with_its_length_only() -> None:
    began = time.process_time()
    value = b"x" * (16 << 20)
    data = pack(b"SET", b"k", value)
    pieces = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    assert parse(*pieces, held_bytes_max=len(data)) == ([[b"SET", b"k", value]], None)
    many = pack(*[b"x"] * 200_000)
    (found,), fault = parse(*[many[at : at + 1000] for at in range(0, len(many), 1000)], held_bytes_max=len(many))
    assert len(found) == 200_000 and fault is None
    assert time.process_time() - began < 3


def test_empty_requests_do_nothing() -> None:
    assert parse(b"*0\r\n*-1\r\n\r\n\n   \r\n" + PING) == ([[b"PING"]], None)
    assert parse(PING + b"*0\r\n" + PING) == ([[b"PING"], [b"PING"]], None)
    assert parse(pack(b"GET", b"*0\r\n")) == ([[b"GET", b"*0\r\n"]], None)


def test_text_that_looks_like_a_header_is_only_text() -> None:
    for text in (b"*1000000\r\n", b">1000000000", b"\r\n$5\r\n", b"\r\n*3\r\n$3", b"%123456|123456~123456"):
        data = pack(b"SET", b"k", text) * 3
        assert parse(data) == ([[b"SET", b"k", text]] * 3, None)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"SET a b", [b"SET", b"a", b"b"]),
        (b"  SET\ta   b  ", [b"SET", b"a", b"b"]),
        (b"", []),
        (b"   ", []),
        (b'SET a ""', [b"SET", b"a", b""]),
        (b"SET a ''", [b"SET", b"a", b""]),
        (b'"a b" c', [b"a b", b"c"]),
        (b'"a\\n\\r\\t\\b\\a\\x41\\xzz\\q\\\\"', [b"a\n\r\t\b\aAxzzq\\"]),
        (b"'a\\n\\'\"'", [b"a\\n'\""]),
        (b'a"b c"', [b"ab c"]),
        (b"a'b c'", [b"ab c"]),
        (b"a\\ b", [b"a\\", b"b"]),
        (b"\xff\xfe", [b"\xff\xfe"]),
    ],
)
def test_inline_requests_are_quoted_as_on_the_command_line(line: bytes, words: list[bytes]) -> None:
    assert split_inline(line) == words


@pytest.mark.parametrize("line", [b'"', b"'", b'"a', b"'a", b'"a"b', b"'a'b", b'a"b"c', b'"a\\"', b"'a\\'", b"a\vb'c"])
def test_quotes_must_be_balanced(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        split_inline(line)


def test_bad_inline_bytes_cost_no_more_than_good_ones() -> None:
    """The patterns do not try again what they have tried: this would take minutes if they did."""
    for line in (b"'" + b"\\" * 60_000, b'"' + b"\\" * 59_999, b"a" * 60_000 + b'"', b"'" + b"\\'" * 30_000):
        with pytest.raises(ProtocolError):
            split_inline(line)
    assert len(parse(b"\n" * 60_000 + b"PING\n" * 10_000)[0]) == 10_000


words = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from([b"\r\n", b"$1\r\n", b"*1\r\n", b"*100000\r\n", b"GET", b">999999", b"x" * 300]),
    ),
    min_size=1,
    max_size=5,
)
piece = st.one_of(
    words.map(lambda found: pack(*found)),
    st.sampled_from(
        [b"PING\r\n", b"SET a 'b c'\n", b"\r\n", b"*0\r\n", b"*-1\r\n", b"*1\r\n$4\r\nPINGXX", b"\x00\r\n", b"'\r\n"]
    ),
    st.sampled_from([b"*", b"$", b">", b"*1\r\n+A\r\n", b"*2\r\n$1\r\na\r\n", b"*3\r\n_\r\n", b"*1\r\n$-1\r\n", b"-"]),
    st.binary(max_size=6),
)
streams = st.lists(piece, max_size=8).map(b"".join)


@given(words)
def test_what_was_packed_is_parsed(found: list[bytes]) -> None:
    assert parse(pack(*found)) == ([found], None)


@given(streams, st.data())
def test_it_does_not_matter_how_bytes_are_cut(stream: bytes, data: st.DataObject) -> None:
    whole = parse(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    ends = [0, *cuts, len(stream)]
    assert parse(*[stream[a:b] for a, b in pairwise(ends)]) == whole
    assert parse(*[stream[i : i + 1] for i in range(len(stream))]) == whole


@given(streams, st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_a_broken_stream_gives_requests_or_a_fault_and_nothing_else(stream: bytes, at: int, noise: bytes) -> None:
    requests, _ = parse(stream[:at] + noise + stream[at:])
    assert all(request and all(type(word) is bytes for word in request) for request in requests)


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 1000])
def test_many_requests_come_at_once(count: int) -> None:
    requests = [[b"SET", b"k%d" % number, b"v" * (number % 7)] for number in range(count)]
    stream = b"".join(pack(*request) for request in requests)
    assert parse(stream) == (requests, None)
    assert parse(stream + b"*1\r\n$4\r\nPI", b"NG\r\n") == ([*requests, [b"PING"]], None)
    assert parse(stream + b"*1\r\n!")[0] == requests


class CountingReader:
    """hiredis's reader, and how often it is asked for what it has."""

    def __init__(self) -> None:
        self.reader = hiredis.Reader()
        self.asked = 0

    def feed(self, data: bytes) -> None:
        self.reader.feed(data)

    def gets(self) -> object:
        self.asked += 1
        return self.reader.gets()


def test_a_long_pipeline_is_parsed_at_once_wherever_it_is_cut() -> None:
    requests = [[b"SET", b"k%d" % number, b"v"] for number in range(3000)]
    stream = b"".join(pack(*request) for request in requests)
    parser, reader, found = RequestParser(HELD_MAX, walks_first=True), CountingReader(), list[list[bytes]]()
    parser._reader.feed, parser._reader.gets = reader.feed, reader.gets
    for at in range(0, len(stream), 20_000):
        parser.feed(stream[at : at + 20_000], found)
    assert found == requests
    assert reader.asked <= 2 * (len(stream) // 20_000 + 1), "one by one"


WORDS = st.binary(max_size=12) | st.sampled_from([b"", b"*3\r\n", b"$1\r\n", b"\r\n", b"x" * 300])
WHOLE = st.lists(st.lists(WORDS, min_size=1, max_size=5), min_size=1, max_size=4)
NOT_WHOLE = st.sampled_from(
    [
        b"",
        PING[:-1],
        PING + b"*",
        PING + b"PING\r\n",
        b"PING\r\n",
        b"*0\r\n",
        PING + b"*0\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n*1\r\n$1\r\na\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*1\r\n$4\r\nPINGx",
        b":1\r\n",
    ]
)


@given(st.lists(WHOLE | NOT_WHOLE, max_size=6))
def test_what_many_clients_sent_is_parsed_together_where_it_is_whole(sent: list[list[list[bytes]] | bytes]) -> None:
    parts = [part if isinstance(part, bytes) else b"".join(pack(*words) for words in part) for part in sent]
    expected = [[] if isinstance(part, bytes) else part for part in sent]
    joined = JoinedParser(is_of_use=True)
    assert joined.parse(parts) == expected
    assert joined.parse([PING]) == [[[b"PING"]]], "nothing was left of them"
    assert JoinedParser(is_of_use=False).parse(parts) == [[] for _ in parts]


def test_very_many_short_requests_are_parsed_together() -> None:
    assert JoinedParser(is_of_use=True).parse([PING * 200, b"PI", PING * 3000]) == [
        [[b"PING"]] * 200,
        [],
        [[b"PING"]] * 3000,
    ]


def test_a_reader_that_disagrees_with_the_headers_gives_nothing_and_is_not_used_again() -> None:
    joined = JoinedParser(is_of_use=True)
    joined._reader.feed(b"*1\r\n$5\r\nab")
    assert joined.parse([PING, PING]) == [[], []]
    assert joined.parse([PING, PING]) == [[[b"PING"]]] * 2


def test_nothing_of_a_parse_that_failed_is_given_to_the_next_one() -> None:
    def fail() -> object:
        raise MemoryError

    joined = JoinedParser(is_of_use=True)
    joined._reader.gets = fail
    assert joined.parse([pack(b"ECHO", b"of a"), PING]) == [[], []]
    assert joined.parse([PING, PING]) == [[[b"PING"]]] * 2


@pytest.mark.parametrize("walks_first", [False, True])
@pytest.mark.parametrize(
    ("data", "is_between"),
    [
        (b"", True),
        (PING, True),
        (b"PING\r\n", True),
        (PING[:-1], False),
        (b"*", False),
        (b"PI", False),
        (PING + b"P", False),
    ],
)
def test_it_says_whether_it_is_between_requests(walks_first: bool, data: bytes, is_between: bool) -> None:
    parser = RequestParser(HELD_MAX, walks_first=walks_first)
    assert parser.is_between_requests
    parser.feed(data, [])
    assert parser.is_between_requests is is_between
    if data == PING[:-1]:
        parser.feed(b"\n", [])
        assert parser.is_between_requests
