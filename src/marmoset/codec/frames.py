"""Frames: how messages are told apart on a stream (floor 2).

A frame is a length, four bytes big-endian, and as many bytes of payload. The first byte of the payload says whether
the message ends with this frame (1) or goes on in the next (0), so that a large message crosses in several frames and
never needs a frame larger than `frame_bytes_max`. Nothing here does I/O; a reader holds at most one unfinished frame
and one unfinished message.
"""

import struct
from typing import Final, final

from marmoset.errors import PeerError

HEADER: Final = struct.Struct(">I")
FRAME_BYTES_LIMIT: Final = 64 * 1024 * 1024
"""What a reader believes: the upper end of `frame_bytes_max`, since members may be set differently."""
LAST: Final = b"\x01"
MORE: Final = b"\x00"


def frames(message: bytes, frame_bytes_max: int) -> bytes:
    """A message as the bytes of one frame or several. O(length)."""
    if len(message) < frame_bytes_max:
        return HEADER.pack(len(message) + 1) + LAST + message
    step = frame_bytes_max - 1
    parts: list[bytes] = []
    for start in range(0, len(message), step):
        part = message[start : start + step]
        parts += (HEADER.pack(len(part) + 1), LAST if start + step >= len(message) else MORE, part)
    return b"".join(parts)


def is_one_frame(framed: bytes) -> bool:
    """Whether a message that was framed stands in one frame, so that it ends as it would by itself. O(1)."""
    if len(framed) < HEADER.size:
        return False
    (length,) = HEADER.unpack_from(framed)
    return bool(length + HEADER.size == len(framed))


def frame(payload: bytes) -> bytes:
    """One payload behind its length."""
    return HEADER.pack(len(payload)) + payload


@final
class FrameReader:
    """Cuts a stream of bytes into payloads of frames; `limit` is the largest length that is believed."""

    __slots__ = ("_buffer", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that `data` completes, in order. O(length).

        Raises:
            PeerError: a length is zero or above the limit; the stream cannot be followed any further.
        """
        buffer = self._buffer
        buffer += data
        payloads: list[bytes] = []
        at = 0
        while len(buffer) - at >= HEADER.size:
            (length,) = HEADER.unpack_from(buffer, at)
            if not 0 < length <= self.limit:
                raise PeerError(f"a frame of {length} bytes, where 1 to {self.limit} are allowed")
            end = at + HEADER.size + length
            if len(buffer) < end:
                break
            payloads.append(bytes(buffer[at + HEADER.size : end]))
            at = end
        if at:
            del buffer[:at]
        return payloads

    @property
    def held_bytes(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._buffer)


@final
class MessageReader:
    """Puts payloads of frames together to messages of at most `limit` bytes."""

    __slots__ = ("_parts", "_size", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, payload: bytes) -> bytes | None:
        """The message that this payload ends, or None while it goes on. O(length).

        Raises:
            PeerError: the payload is neither an end nor a beginning, or the message grows above the limit.
        """
        mark = payload[:1]
        if mark == LAST and not self._parts:
            return payload[1:]
        if mark not in (LAST, MORE):
            raise PeerError("a frame that neither ends a message nor goes on with one")
        if mark == MORE and len(payload) == 1:
            raise PeerError("a frame that brings nothing and promises more")
        self._size += len(payload) - 1
        if self._size > self.limit:
            raise PeerError(f"a message above {self.limit} bytes")
        self._parts.append(payload[1:])
        if mark == MORE:
            return None
        message = b"".join(self._parts)
        self._parts, self._size = [], 0
        return message

    @property
    def held_bytes(self) -> int:
        """Bytes of an unfinished message."""
        return self._size
