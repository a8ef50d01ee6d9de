"""Sealed datagrams, and what sealing has in common with links (floor 2).

A datagram is a mark and, where there is a keyring, AES-GCM over the packet with the name of the cluster as associated
data: what another cluster sealed does not open here, even with the same key.

    plain    0x00 | packet
    sealed   0x01 | key id (4) | nonce (12) | packet, encrypted | tag (16)

*Nonces.* One key serves all nodes for months, and drawing 96 random bits for each datagram is safe for 2^32 of them
(NIST SP 800-38D, 8.3): seven weeks of sixty nodes that send twenty a second. So a nonce is a prefix of 64 random bits,
drawn by each process for itself, and a counter of 32 bits; before the counter would begin again another prefix is
drawn. Two nonces are equal only if two processes drew one prefix: a million prefixes under one key have a chance
of 3e-8. A sealer must not be copied, since both copies would count on from one number: it refuses to be.

Datagrams may be replayed by whoever recorded them: what they carry (SWIM) is ordered by incarnations and sequence
numbers of its own, and never counts for stability.

Randomness is an argument. Nothing here knows time.
"""

from collections.abc import Callable
from typing import Final, NoReturn, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from marmoset.codec.keyring import KEY_ID_BYTES, Key, Keyring, derive
from marmoset.errors import PeerError

PLAIN_MARK: Final = b"\x00"
SEALED_MARK: Final = b"\x01"
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
PREFIX_BYTES: Final = 8
COUNTER_END: Final = 1 << 32
_HEAD_BYTES: Final = 1 + KEY_ID_BYTES + NONCE_BYTES
SEALED_OVERHEAD: Final = _HEAD_BYTES + TAG_BYTES

NOT_SEALED: Final = "not sealed"
NO_KEYRING: Final = "no keyring"
NO_KEY: Final = "no key"
FORGED: Final = "forged"
MALFORMED: Final = "malformed"
REASONS: Final = {
    NOT_SEALED: "the other side is not encrypted and this node has a keyring",
    NO_KEYRING: "the other side is encrypted and this node has no keyring",
    NO_KEY: "no key in common: the keyrings of the two nodes differ",
    FORGED: "it was not sealed with this key for this cluster, or was changed, repeated or left out on its way",
    MALFORMED: "it is no message of an encrypted node",
}
"""Why something does not open, in words for people."""


class SealError(PeerError):
    """Something does not open; `reason` is one of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(REASONS[reason])
        self.reason = reason


class NotCopied:
    """What counts nonces: a copy would use them twice."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a copy would seal two things with one nonce")


@final
class PacketSealer(NotCopied):
    """Seals the datagrams of one node and opens those of others. `random_bytes(n)` gives n fresh random bytes."""

    __slots__ = ("_ciphers", "_cluster", "_counter", "_first", "_prefix", "_random_bytes", "refused")

    def __init__(self, keyring: Keyring | None, cluster: str, random_bytes: Callable[[int], bytes]) -> None:
        self._cluster = cluster.encode()
        self._random_bytes = random_bytes
        self._counter = COUNTER_END
        self._prefix = b""
        self._ciphers: dict[bytes, AESGCM] = {}
        self._first = b""
        self.refused: dict[str, int] = dict.fromkeys(REASONS, 0)
        """How many datagrams did not open, by reason."""
        self.use(keyring)

    def use(self, keyring: Keyring | None) -> None:
        """Seal and open with another ring from now on. O(keys)."""
        self._ciphers = {} if keyring is None else {key.id: self._cipher(key) for key in keyring.keys}
        self._first = b"" if keyring is None else keyring.first.id

    def _cipher(self, key: Key) -> AESGCM:
        return AESGCM(derive(key.secret, len(key.secret), b"marmoset datagrams 1"))

    @property
    def overhead(self) -> int:
        """By how many bytes a datagram is longer than its packet."""
        return SEALED_OVERHEAD if self._ciphers else len(PLAIN_MARK)

    def seal(self, packet: bytes) -> bytes:
        """The datagram that carries a packet. O(length)."""
        if not self._ciphers:
            return PLAIN_MARK + packet
        if self._counter == COUNTER_END:
            self._counter, self._prefix = 0, self._random_bytes(PREFIX_BYTES)
        nonce = self._prefix + self._counter.to_bytes(NONCE_BYTES - PREFIX_BYTES, "big")
        self._counter += 1
        return b"".join(
            (SEALED_MARK, self._first, nonce, self._ciphers[self._first].encrypt(nonce, packet, self._cluster))
        )

    def open(self, data: bytes) -> bytes:
        """The packet that a datagram carries. O(length).

        Raises:
            SealError: it does not open here; it is counted in `refused`.
        """
        try:
            return self._open(data)
        except SealError as problem:
            self.refused[problem.reason] += 1
            raise

    def _open(self, data: bytes) -> bytes:
        mark = data[:1]
        if mark == PLAIN_MARK:
            if self._ciphers:
                raise SealError(NOT_SEALED)
            return data[1:]
        if mark != SEALED_MARK or len(data) < SEALED_OVERHEAD:
            raise SealError(MALFORMED)
        if not self._ciphers:
            raise SealError(NO_KEYRING)
        cipher = self._ciphers.get(data[1 : 1 + KEY_ID_BYTES])
        if cipher is None:
            raise SealError(NO_KEY)
        try:
            return cipher.decrypt(data[1 + KEY_ID_BYTES : _HEAD_BYTES], data[_HEAD_BYTES:], self._cluster)
        except InvalidTag:
            raise SealError(FORGED) from None
