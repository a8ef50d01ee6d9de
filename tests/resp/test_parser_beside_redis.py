"""Streams of requests, whole and broken, are answered as by a real Redis, up to the fault that ends them."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marmoset.resp.parser import INLINE_BYTES_MAX
from marmoset.session import Clients, Session
from tests.commands.beside_redis import RedisClient, new_node, request

pytestmark = pytest.mark.redis_tools

word = st.one_of(
    st.sampled_from([b"PING", b"ECHO", b"echo", b"hello world", b"", b"\r\n", b"$1\r\n", b"'", b'"', b"*1000000"]),
    # A zero in an inline request makes Redis wait for the end of the line for ever; here it is a byte like any other.
    # And no word is a command that only Redis has: it begins with a question mark.
    st.binary(max_size=6).map(lambda text: b"?" + text.replace(b"\0", b"0")),
)
inline = st.lists(
    st.one_of(
        st.sampled_from(
            [b"PING", b"ECHO", b"a", b"''", b'""', b"'a b'", b'"\\x41\\n\\""', b"'it\\'s'", b"a'b'", b'"\\"']
        ),
        st.text("ab'\" \\tnx0f", max_size=8).map(str.encode),
    ),
    max_size=4,
).map(b" ".join)
piece = st.one_of(
    st.lists(word, min_size=1, max_size=4).map(lambda words: request(*words)),
    inline.map(lambda line: line + b"\r\n"),
    inline.map(lambda line: line + b"\n"),
    st.sampled_from(
        [
            b"*0\r\n",
            b"*-1\r\n",
            b"\r\n",
            b"*1\r\n$4\r\nPINGXX",
            b"*1\r\n$5\r\nPING\r\n",
            b"*1\r\n+PING\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$-5\r\n",
            b"*1\r\n$03\r\n",
            b"*1\r\n$10737418240\r\n",
            b"*2\r\n*1\r\n$1\r\na\r\n",
            b"*03\r\n",
            b"*x\r\n",
            b"*\r\n",
            b"*1\r\n>1000000000\r\n",
            b"*9223372036854775808\r\n",
        ]
    ),
)


def ours(stream: bytes) -> bytes:
    session = Session(new_node(), Clients(), 1, "127.0.0.1:5000")
    return session.receive(stream)


def theirs(port: int, stream: bytes) -> bytes:
    client = RedisClient(port)
    try:
        return client.converse(stream)
    finally:
        client.close()


@settings(max_examples=150)
@example([b"*1\r\n$4\r\nPING\r\n", b"*x\r\n"])
@given(pieces=st.lists(piece, max_size=6))
def test_answers_are_the_same(redis_port: int, pieces: list[bytes]) -> None:
    stream = b"".join(pieces)
    here, there = ours(stream), theirs(redis_port, stream)
    if here != there:  # a header that can become none is refused here before it is whole, and Redis waits for its end
        assert here.startswith(there)
        assert re.fullmatch(rb"-ERR Protocol error: [^\r]*\r\n", here[len(there) :])


@pytest.mark.parametrize("length", [INLINE_BYTES_MAX - 2, INLINE_BYTES_MAX + 100])
def test_inline_requests_have_the_same_limit(redis_port: int, length: int) -> None:
    stream = b"ECHO " + b"a" * (length - 5)
    assert ours(stream) == theirs(redis_port, stream)
