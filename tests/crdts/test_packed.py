"""Packed values are the values that were packed."""

from hypothesis import given
from hypothesis import strategies as st

from marmoset.crdts.packed import TEXT_BYTES_MAX, packed


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_any_slice_is_that_of_the_list(values: list[bytes | int], start: int, stop: int) -> None:
    made = packed(values)
    assert made is not None and made.size() == len(values)
    start, stop = sorted((min(start, len(values)), min(stop, len(values))))
    assert made.slice(start, stop) == values[start:stop]


def test_what_is_no_bytes_or_too_long_is_not_packed() -> None:
    assert packed([b"a", 1]) is None
    whole: list[bytes | int] = [b"x" * 0xFF] * 0x101
    made = packed(whole)
    assert made is not None and len(made.text) == TEXT_BYTES_MAX and made.slice(0, 0x101) == whole
    assert packed([*whole, b"x"]) is None
