"""Identities: random, never zero, and readable both ways."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.ids import ID_BITS, ID_TEXT_LENGTH, id_text, is_replica_id, new_replica_id, parse_id

IDS = st.integers(1, (1 << ID_BITS) - 1)


@given(IDS)
def test_an_id_is_read_back_from_its_text(replica: int) -> None:
    text = id_text(replica)
    assert len(text) == ID_TEXT_LENGTH
    assert parse_id(text) == replica


@given(IDS, IDS)
def test_texts_are_in_the_order_of_ids(one: int, other: int) -> None:
    assert (id_text(one) < id_text(other)) == (one < other)


@pytest.mark.parametrize("text", ["", "0" * 15, "f" * 14, "f" * 16, "F" * 15, " " * 15, "+00000000000001", "٣" * 15])
def test_what_is_no_id_is_none(text: str) -> None:
    assert parse_id(text) is None


@given(st.text(max_size=20))
def test_any_text_is_an_id_or_none(text: str) -> None:
    parsed = parse_id(text)
    assert parsed is None or (id_text(parsed) == text and is_replica_id(parsed))


def test_new_ids_come_from_the_generator_that_is_given_and_are_never_zero() -> None:
    assert new_replica_id(Random(5)) == new_replica_id(Random(5))
    assert is_replica_id(new_replica_id(Random(5)))

    class Zeros(Random):
        def getrandbits(self, bits: int, /) -> int:
            return 0

    assert new_replica_id(Zeros()) == 1


def test_the_bounds_of_ids() -> None:
    assert [is_replica_id(i) for i in (-1, 0, 1, (1 << ID_BITS) - 1, 1 << ID_BITS)] == [False, False, True, True, False]
