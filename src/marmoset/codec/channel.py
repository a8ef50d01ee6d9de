"""Channels: the bytes of one link between two nodes, sealed where there is a keyring (floor 2).

Without a keyring a channel passes frames as they are. With one, each side proves first that it has a key of the other's
ring, and everything behind that is sealed; nothing of a `Hello` is ever sent in the clear. In frames:

    dialler    0x02 | version | randomness (32) | ids of its keys, the one that it prefers first
    acceptor   0x03 | randomness (32) | id of the key | proof (32)         or   0x04 | reason
    both       records: AES-GCM over a piece of the plain channel's bytes

The acceptor takes the first key of the dialler's list that it has too, so in mid-rotation two nodes meet as long as
their rings share any key. From that key and everything that was said (so that nobody on the way can shorten the list)
HKDF derives two session keys, one for each direction, and the key of the acceptor's proof, HMAC. The dialler's
proof is its first record: until that opens, the acceptor's node hears nothing of the link.

*What a listener or meddler can do.* The nonce of a record is its number, on a key of its own, so a record that is
replayed, reordered, left out, reflected or taken from another link does not open, and ends the link. A whole recorded
connection does not open either, whichever side is played: the other side's randomness is fresh. Every `REKEY_RECORDS`
the session key is replaced by one derived from it, so no key ever seals more than 16 GiB. A stream that is cut ends
in a prefix, which is harmless by design (DESIGN.md 3.2). There is no forward secrecy: who records a link and is given
the key of the ring later can read it.

A refusal is not sealed (there is no key for it), and therefore a number of a table, never a text.

The life of a channel is the table `STATES`. Randomness is an argument.
"""

import hashlib
import hmac
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from marmoset.codec.frames import FrameReader, frame, frames
from marmoset.codec.keyring import KEY_ID_BYTES, KEYS_MAX, Key, Keyring, derive
from marmoset.codec.messages import Refuse, encode
from marmoset.codec.sealing import (
    FORGED,
    MALFORMED,
    NO_KEY,
    NO_KEYRING,
    NONCE_BYTES,
    NOT_SEALED,
    TAG_BYTES,
    NotCopied,
    SealError,
)

VERSION: Final = b"\x01"
OFFER: Final = 2
CHOICE: Final = 3
REFUSAL: Final = 4
RANDOM_BYTES: Final = 32
PROOF_BYTES: Final = 32
RECORD_BYTES: Final = 1 << 18
"""The most that one record carries."""
REKEY_RECORDS: Final = 1 << 16
_OFFER_HEAD: Final = 2 + RANDOM_BYTES
_CHOICE_BYTES: Final = 1 + RANDOM_BYTES + KEY_ID_BYTES + PROOF_BYTES
_WIRE_REASONS: Final = (NO_KEY, NO_KEYRING)

AWAITING_OFFER: Final = "awaiting offer"
AWAITING_CHOICE: Final = "awaiting choice"
AWAITING_PROOF: Final = "awaiting proof"
OPEN: Final = "open"
BROKEN: Final = "broken"
STATES: Final = {
    AWAITING_OFFER: (AWAITING_PROOF, BROKEN),  # accepted
    AWAITING_PROOF: (OPEN, BROKEN),
    AWAITING_CHOICE: (OPEN, BROKEN),  # dialled
    OPEN: (BROKEN,),  # a plain channel begins here
    BROKEN: (),
}
"""The states of a channel, and which may follow."""

PLAIN_REFUSAL: Final = frames(
    encode(Refuse("encryption", "this group is encrypted and the other side has no keyring", 0)), 1 << 16
)
"""What a node without a keyring is told, in the way that it understands."""


@final
class _Direction(NotCopied):
    """The session key of one direction, and the number of the next record."""

    __slots__ = ("_cipher", "_number", "_secret")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher = AESGCM(secret)
        self._number = 0

    def _next(self) -> bytes:
        number = self._number
        if number and number % REKEY_RECORDS == 0:
            self._secret = derive(self._secret, len(self._secret), b"marmoset next session key 1")
            self._cipher = AESGCM(self._secret)
        self._number = number + 1
        return number.to_bytes(NONCE_BYTES, "big")

    def seal(self, piece: bytes) -> bytes:
        nonce = self._next()
        return self._cipher.encrypt(nonce, piece, None)

    def open(self, record: bytes) -> bytes:
        nonce = self._next()
        try:
            return self._cipher.decrypt(nonce, record, None)
        except InvalidTag:
            raise SealError(FORGED) from None


@final
class Channel(NotCopied):
    """One end of a link: `first` is to be sent at once, `feed` takes what comes, `seal` what goes.

    `randomness` are 32 fresh random bytes, used for this link alone. The owner sends `take_reply()` after each `feed`,
    also after one that raised, and does nothing with the link before `is_open`.
    """

    __slots__ = (
        "_cluster",
        "_frames",
        "_is_first",
        "_keyring",
        "_offer",
        "_opening",
        "_randomness",
        "_records",
        "_reply",
        "_sealing",
        "first",
        "key_id",
        "state",
    )

    def __init__(
        self, keyring: Keyring | None, cluster: str, dialled: bool, randomness: bytes, frame_bytes_max: int
    ) -> None:
        assert len(randomness) == RANDOM_BYTES or keyring is None, "32 random bytes"
        self._keyring = keyring
        self._cluster = cluster.encode()
        self._randomness = randomness
        self._frames = FrameReader(frame_bytes_max)
        self._records = FrameReader(RECORD_BYTES + TAG_BYTES)
        self._is_first = True
        self._offer = b""
        self._reply = b""
        self._sealing: _Direction | None = None
        self._opening: _Direction | None = None
        self.key_id = b""
        """The id of the key that the link uses; empty as long as none is agreed on, or for a plain link."""
        self.first = b""
        self.state = OPEN
        if keyring is not None and dialled:
            self.state = AWAITING_CHOICE
            ids = b"".join(key.id for key in keyring.keys)
            self._offer = bytes((OFFER,)) + VERSION + randomness + ids
            self.first = frame(self._offer)
        elif keyring is not None:
            self.state = AWAITING_OFFER

    @property
    def is_open(self) -> bool:
        """Whether the node may use the link: it is plain, or the other side has proved that it has the key."""
        return self.state == OPEN

    def seal(self, data: bytes) -> bytes:
        """The bytes to send for frames of the node. O(length)."""
        if self._keyring is None:
            return data
        assert self.state == OPEN and self._sealing is not None, f"nothing is sealed on a channel that is {self.state}"
        if len(data) <= RECORD_BYTES:
            return frame(self._sealing.seal(data))
        pieces = (data[at : at + RECORD_BYTES] for at in range(0, len(data), RECORD_BYTES))
        return b"".join(frame(self._sealing.seal(piece)) for piece in pieces)

    def take_reply(self) -> bytes:
        """What has to be sent because of what came."""
        reply, self._reply = self._reply, b""
        return reply

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the node's frames that `data` completes, in order. O(length).

        Raises:
            PeerError: the link is to be ended, after what `take_reply` gives was sent.
        """
        if self.state == BROKEN:
            return []
        if self._keyring is None:
            payloads = self._frames.feed(data)
            if self._is_first and payloads:
                self._is_first = False
                if payloads[0][0] == OFFER:
                    self._refuse(NO_KEYRING)
            return payloads
        payloads = []
        try:
            for record in self._records.feed(data):
                payloads += self._take(record)
        except Exception:
            self._become(BROKEN)
            raise
        return payloads

    def _become(self, state: str) -> None:
        assert state in STATES[self.state], f"a channel cannot go from {self.state} to {state}"
        self.state = state

    def _refuse(self, reason: str) -> None:
        """Say in which way the two sides differ, and end.

        Raises:
            SealError: always.
        """
        self._reply = frame(bytes((REFUSAL, _WIRE_REASONS.index(reason))))
        if self._keyring is None:
            self._become(BROKEN)
        raise SealError(reason)

    def _take(self, record: bytes) -> list[bytes]:
        if self.state == AWAITING_OFFER:
            self._choose(record)
            return []
        if self.state == AWAITING_CHOICE:
            self._check_choice(record)
            return []
        assert self._opening is not None
        piece = self._opening.open(record)
        if self.state == AWAITING_PROOF:
            self._become(OPEN)
        return self._frames.feed(piece)

    def _choose(self, offer: bytes) -> None:
        """The acceptor: take the first key of the offer that is in this ring."""
        assert self._keyring is not None
        if offer[0] in (0, 1):
            self._reply = PLAIN_REFUSAL
            raise SealError(NOT_SEALED)
        ids = offer[_OFFER_HEAD:]
        count, rest = divmod(len(ids), KEY_ID_BYTES)
        if offer[0] != OFFER or offer[1:2] != VERSION or rest or not 0 < count <= KEYS_MAX:
            raise SealError(MALFORMED)
        offered = [ids[at : at + KEY_ID_BYTES] for at in range(0, len(ids), KEY_ID_BYTES)]
        key = next((found for key_id in offered if (found := self._keyring.find(key_id)) is not None), None)
        if key is None:
            self._refuse(NO_KEY)
            return
        self._offer = offer
        to_acceptor, to_dialler, proof = self._session(key, self._randomness)
        self._opening, self._sealing = _Direction(to_acceptor), _Direction(to_dialler)
        self._reply = frame(bytes((CHOICE,)) + self._randomness + key.id + proof)
        self._become(AWAITING_PROOF)

    def _check_choice(self, choice: bytes) -> None:
        """The dialler: does the other side have the key that it chose?"""
        assert self._keyring is not None
        if choice[0] in (0, 1):
            raise SealError(NOT_SEALED)
        if choice[0] == REFUSAL and len(choice) == 2 and choice[1] < len(_WIRE_REASONS):
            reason = _WIRE_REASONS[choice[1]]
            raise SealError(NOT_SEALED if reason == NO_KEYRING else reason)
        if choice[0] != CHOICE or len(choice) != _CHOICE_BYTES:
            raise SealError(MALFORMED)
        theirs = choice[1 : 1 + RANDOM_BYTES]
        key = self._keyring.find(choice[1 + RANDOM_BYTES : -PROOF_BYTES])
        if key is None:
            raise SealError(MALFORMED)
        to_acceptor, to_dialler, proof = self._session(key, theirs)
        if not hmac.compare_digest(proof, choice[-PROOF_BYTES:]):
            raise SealError(FORGED)
        self._sealing, self._opening = _Direction(to_acceptor), _Direction(to_dialler)
        self._become(OPEN)

    def _session(self, key: Key, acceptors_randomness: bytes) -> tuple[bytes, bytes, bytes]:
        """The keys towards acceptor and dialler, and the acceptor's proof, all bound to what was said."""
        said = b"".join((len(self._offer).to_bytes(2, "big"), self._offer, acceptors_randomness, key.id, self._cluster))
        size = len(key.secret)
        salt = hashlib.sha256(said).digest()
        derived = derive(key.secret, 2 * size + PROOF_BYTES, b"marmoset link 1", salt)
        self.key_id = key.id
        proof = hmac.digest(derived[2 * size :], said, "sha256")
        return derived[:size], derived[size : 2 * size], proof

    @property
    def held_bytes(self) -> int:
        """Bytes of unfinished records and frames."""
        return self._records.held_bytes + self._frames.held_bytes
