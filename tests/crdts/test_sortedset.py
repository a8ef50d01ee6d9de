"""A sorted set is a map from member to score and an order; the short ways to read a score agree with the long one."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marmoset.codec.operations import Scalar
from marmoset.crdts.sortedset import SortedSet, double, parse_any_score, parse_score

MEMBERS = [b"a", b"b", b"c", b"d"]
EXACT: list[Scalar] = [
    0,
    1,
    -7,
    (1 << 53) + 1,
    1 << 53,
    (1 << 62) + 1,
    b"0.5",
    b"0.1",
    b"inf",
    b"-inf",
    b"1" + b"0" * 320,
]

DIGITS = st.text("0123456789", max_size=25)
SIGNS = st.sampled_from(["", "-", "+"])
TEXTS = st.one_of(
    st.from_regex(rb"[+-]?[0-9]{0,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.builds(
        lambda sign, whole, part: f"{sign}{whole}.{part}".encode(), st.sampled_from(["", "-", "+"]), DIGITS, DIGITS
    ),
    st.integers().map(lambda number: b"%d" % number),
    st.floats().map(lambda number: repr(number).encode()),
    st.binary(max_size=6),
)


@given(TEXTS)
@example(b"")
@example(b"000000000012")
@example(b"999999999999999999")
@example(b"9999999999999999999")
@example(b"9223372036854775808")
@example(b"-")
@example(b"-0")
@example(b"-007")
@example(b"--7")
@example(b"-0.0")
@example(b"0.10")
@example(b"00.1")
@example(b".5")
@example(b"1.")
@example(b"-0.5")
@example(b"0." + b"0" * 337 + b"1")
@example(b"0." + b"0" * 338 + b"1")
@example(b"9" * 338 + b".5")
@example(b"9" * 341 + b".5")
@example(b"\xb2")
@example(b"1.5\n")
@example(b"12\n")
def test_a_score_is_read_the_same_whichever_way(text: bytes) -> None:
    short, long = parse_score(text), parse_any_score(text)
    assert short == long and type(short) is type(long)


@given(st.lists(st.tuples(st.sampled_from(MEMBERS), st.sampled_from([*EXACT, None]))), st.booleans())
def test_a_sorted_set_is_a_map_and_its_members_by_score(
    changes: list[tuple[bytes, Scalar | None]], is_split: bool
) -> None:
    value, plain = SortedSet(), dict[bytes, Scalar]()
    if is_split:
        value.split(4)
    for member, score in changes:
        if score is None:
            assert value.pop(member) == plain.pop(member, None)
        else:
            value[member] = plain[member] = score
        value._check()
    assert dict(value.items()) == plain and len(value) == len(plain) and set(value) == set(plain)
    ordered = sorted(plain, key=lambda member: (double(plain[member]), member))
    assert value.slice(0, len(plain)) == ordered
    assert [value.rank(member) for member in ordered] == list(range(len(ordered)))
    assert [value[member] for member in ordered] == [plain[member] for member in ordered]


@pytest.mark.parametrize("exact", EXACT)
def test_a_score_is_ordered_as_a_double(exact: Scalar) -> None:
    if isinstance(exact, int) or len(exact) < 10:
        assert double(exact) == float(exact)
    else:
        assert double(exact) == float("inf") and Decimal(exact.decode()) > 0


@pytest.mark.parametrize("spoilt", [b"nan", b"ten", b""])
def test_what_a_faulty_member_calls_a_score_has_a_place_in_the_order(spoilt: bytes) -> None:
    value = SortedSet([(b"m", spoilt), (b"l", -1), (b"n", 1)])
    assert value.slice(0, 3) == [b"l", b"m", b"n"]
    value[b"m"] = 2
    assert value.slice(0, 3) == [b"l", b"n", b"m"]
    value._check()


def test_a_score_that_is_the_same_double_is_kept_exactly() -> None:
    value = SortedSet([(b"m", 1 << 53), (b"n", 1 << 53)])
    value[b"m"] = (1 << 53) + 1
    assert value[b"m"] == (1 << 53) + 1 and value.slice(0, 2) == [b"m", b"n"]
    value._check()


def test_a_member_is_kept_once_whatever_score_it_gets() -> None:
    kept = SortedSet()
    for score in (1, 2, b"0.5"):
        kept[b"mem" + bytes([98, 101, 114])] = score  # another object each time
    assert kept.slice(0, 1)[0] is next(iter(kept))
