"""Replies in both protocols, byte for byte."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marmoset.resp.replies import NULL_ARRAY, OK, ErrorReply, Reply, SetReply, Verbatim, encode, error


@pytest.mark.parametrize(
    ("reply", "resp2", "resp3"),
    [
        (OK, b"+OK\r\n", b"+OK\r\n"),
        (-5, b":-5\r\n", b":-5\r\n"),
        (b"a\r\nb", b"$4\r\na\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
        (b"", b"$0\r\n\r\n", b"$0\r\n\r\n"),
        ("string", b"+string\r\n", b"+string\r\n"),
        (None, b"$-1\r\n", b"_\r\n"),
        (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
        (True, b":1\r\n", b"#t\r\n"),
        (False, b":0\r\n", b"#f\r\n"),
        (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
        ([], b"*0\r\n", b"*0\r\n"),
        ([1, b"a", None], b"*3\r\n:1\r\n$1\r\na\r\n$-1\r\n", b"*3\r\n:1\r\n$1\r\na\r\n_\r\n"),
        (
            {b"a": 1, b"b": [2]},
            b"*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*1\r\n:2\r\n",
            b"%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*1\r\n:2\r\n",
        ),
        (SetReply([b"a"]), b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
        (SetReply(["a"]), b"*1\r\n+a\r\n", b"~1\r\n+a\r\n"),
        (Verbatim(b"a=1"), b"$3\r\na=1\r\n", b"=7\r\ntxt:a=1\r\n"),
        ([ErrorReply("ERR no")], b"*1\r\n-ERR no\r\n", b"*1\r\n-ERR no\r\n"),
    ],
)
def test_encode(reply: Reply, resp2: bytes, resp3: bytes) -> None:
    for protocol, expected in ((2, resp2), (3, resp3)):
        out: list[bytes] = []
        encode(reply, protocol, out)
        assert b"".join(out) == expected


def test_an_error_is_one_line_and_keeps_the_bytes_that_it_repeats() -> None:
    assert error("ERR a\r\nb \udcff") == b"-ERR a  b \xff\r\n"


def test_what_is_no_reply_is_our_own_bug() -> None:
    with pytest.raises(TypeError):
        encode(object(), 2, [])


@pytest.mark.parametrize("length", [0, 1, 9, 10, 1022, 1023, 1024, 1025, 3000])
def test_a_bulk_string_says_its_length(length: int) -> None:
    out: list[bytes] = []
    encode([b"x" * length], 2, out)
    assert b"".join(out) == b"*1\r\n$%d\r\n%b\r\n" % (length, b"x" * length)


@given(st.one_of(st.integers(), st.integers(-10, 2_000_000)))
@example(999)
@example(1000)
@example(999_999)
@example(1_000_000)
def test_integers(number: int) -> None:
    out: list[bytes] = []
    encode(number, 2, out)
    assert b"".join(out) == b":%d\r\n" % number
