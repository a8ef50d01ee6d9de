"""The keys that a group shares (floor 2): a ring, the first of which seals while all of them open.

The file has one key a line, base64 of 16, 24 or 32 random bytes (AES-128, -192 or -256); a line may be empty, and
what follows a `#` is a comment. A key is named by its *id*, a short hash of it, and never shown: neither in the text
of an error nor in a `repr` nor in a message between nodes. Nothing is sealed with a key of the ring itself: what is
used is derived from it (HKDF, RFC 5869), for one purpose each. Reading the file is the shell's work.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Final, final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from marmoset.errors import UsageError

KEY_SIZES: Final = (16, 24, 32)
KEYS_MAX: Final = 16
KEY_ID_BYTES: Final = 4
_ID_LABEL: Final = b"marmoset key id 1\x00"


def derive(secret: bytes, length: int, info: bytes, salt: bytes | None = None) -> bytes:
    """Bytes for one purpose, `info`, from a secret. O(length)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


@final
class Key:
    """One key. Its secret is for `derive` alone."""

    __slots__ = ("id", "secret")

    def __init__(self, secret: bytes) -> None:
        if len(secret) not in KEY_SIZES:
            raise UsageError(f"a key of {len(secret)} bytes; a key has 16, 24 or 32")
        self.secret = secret
        self.id = hashlib.sha256(_ID_LABEL + secret).digest()[:KEY_ID_BYTES]

    def __repr__(self) -> str:
        return f"Key({self.id.hex()})"


@final
class Keyring:
    """Keys in order: the first seals, all open. Never changed; a file that is read again gives a new ring."""

    __slots__ = ("keys",)

    def __init__(self, keys: Sequence[Key]) -> None:
        if not 0 < len(keys) <= KEYS_MAX:
            raise UsageError(f"a keyring has 1 to {KEYS_MAX} keys, not {len(keys)}")
        if len({key.id for key in keys}) != len(keys):
            raise UsageError("a keyring has each key once")
        self.keys = tuple(keys)

    @property
    def first(self) -> Key:
        """The key that seals."""
        return self.keys[0]

    def find(self, key_id: bytes) -> Key | None:
        """The key of an id. O(keys)."""
        return next((key for key in self.keys if key.id == key_id), None)

    def ids(self) -> list[str]:
        """The ids in order, as people read them."""
        return [key.id.hex() for key in self.keys]


def parse_keyring(text: str) -> Keyring:
    """The ring that a file describes. O(length).

    Raises:
        UsageError: a line is no key, a key comes twice, or there is none; the text names the line and never the key.
    """
    keys: list[Key] = []
    lines: dict[bytes, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        written = line.partition("#")[0].strip()
        if not written:
            continue
        try:
            key = Key(base64.b64decode(written, validate=True))
        except (binascii.Error, ValueError) as error:
            raise UsageError(f"line {number} is no key: it takes base64 of 16, 24 or 32 bytes") from error
        except UsageError as wrong_size:
            raise UsageError(f"line {number}: {wrong_size}") from wrong_size
        if key.id in lines:
            raise UsageError(f"line {number} has the same key as line {lines[key.id]}")
        lines[key.id] = number
        keys.append(key)
    if not keys:
        raise UsageError("there is no key in it; marmoset keygen prints one")
    return Keyring(keys)


def key_line(secret: bytes) -> str:
    """A key as a line of the file."""
    return base64.b64encode(Key(secret).secret).decode()
