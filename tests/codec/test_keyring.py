"""Keyring files: what is read, what is refused, and that no text ever holds a key."""

import base64

import pytest

from marmoset.codec.keyring import KEYS_MAX, Key, Keyring, derive, key_line, parse_keyring
from marmoset.errors import UsageError

A, B, C = bytes(range(16)), bytes(range(24)), bytes(range(32))


def test_keys_come_in_the_order_of_their_lines_with_comments_and_blanks_beside_them() -> None:
    text = f"# of ada\n\n{key_line(C)}  # since May\n  {key_line(A)}\r\n{key_line(B)}\n"
    ring = parse_keyring(text)
    assert [key.secret for key in ring.keys] == [C, A, B]
    assert ring.first.secret == C
    assert ring.find(Key(B).id) is ring.keys[2] and ring.find(b"none") is None
    assert ring.ids() == [Key(secret).id.hex() for secret in (C, A, B)]


def test_an_id_belongs_to_a_key_and_does_not_change_with_releases() -> None:
    assert Key(C).id.hex() == "121df239"
    assert len({Key(secret).id for secret in (A, B, C)}) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "there is no key in it"),
        ("# nothing\n\n", "there is no key in it"),
        ("not base64!\n", "line 1 is no key"),
        (f"\n{key_line(A)[:-3]}\n", "line 2 is no key"),
        (f"{key_line(A)} {key_line(B)}\n", "line 1 is no key"),
        (base64.b64encode(bytes(17)).decode(), "line 1: a key of 17 bytes"),
        ("====", "line 1"),
        (f"{key_line(A)}\n#\n{key_line(A)}\n", "line 3 has the same key as line 1"),
        ("\n".join(key_line(bytes([n]) * 32) for n in range(KEYS_MAX + 1)), f"1 to {KEYS_MAX} keys, not 17"),
        ("ключ", "line 1 is no key"),
    ],
)
def test_files_that_are_none(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_keyring(text)
    assert expected in str(caught.value)
    for line in text.split():
        assert len(line) < 8 or line not in str(caught.value), "a key, or what may be one, in the text of an error"


def test_a_key_is_never_shown() -> None:
    key = Key(C)
    assert repr(key) == f"Key({key.id.hex()})"
    assert key_line(C) not in f"{Keyring([key]).keys}" and C.hex() not in f"{Keyring([key]).keys!r}"


def test_what_is_derived_differs_by_purpose_salt_and_secret() -> None:
    derived = [derive(A, 32, b"x"), derive(A, 32, b"y"), derive(B, 32, b"x"), derive(A, 32, b"x", b"salt")]
    assert len(set(derived)) == 4 and all(len(each) == 32 for each in derived)
    assert derive(A, 32, b"x") == derived[0]
