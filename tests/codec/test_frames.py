"""Frames and the messages that they carry: any cut of the stream, bounds, and what no correct node sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec.frames import FrameReader, MessageReader, frame, frames
from marmoset.errors import PeerError


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(2, 50), st.data())
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(
    messages: list[bytes], frame_bytes_max: int, data: st.DataObject
) -> None:
    stream = b"".join(frames(message, frame_bytes_max) for message in messages)
    reader, assembled = FrameReader(frame_bytes_max), MessageReader(100)
    found: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        for payload in reader.feed(stream[:size]):
            assert len(payload) <= frame_bytes_max
            message = assembled.feed(payload)
            if message is not None:
                found.append(message)
        stream = stream[size:]
        assert reader.held_bytes <= frame_bytes_max + 4
    assert found == messages
    assert reader.held_bytes == 0


@given(st.binary(max_size=64), st.integers(1, 32))
def test_any_stream_gives_payloads_within_the_limit_or_a_fault_of_the_peer(stream: bytes, limit: int) -> None:
    reader = FrameReader(limit)
    try:
        payloads = reader.feed(stream)
    except PeerError:
        return
    assert all(0 < len(payload) <= limit for payload in payloads)


@pytest.mark.parametrize("header", [b"\x00\x00\x00\x00", b"\x00\x00\x00\x11", b"\xff\xff\xff\xff", b"GET "])
def test_a_length_that_cannot_be_is_refused_before_anything_is_kept(header: bytes) -> None:
    with pytest.raises(PeerError, match="a frame of"):
        FrameReader(16).feed(header)


def test_the_largest_frame_is_taken() -> None:
    assert FrameReader(16).feed(frame(b"x" * 16)) == [b"x" * 16]


@given(st.lists(st.binary(max_size=12), max_size=12))
def test_any_payloads_give_messages_within_the_limit_or_a_fault_of_the_peer(payloads: list[bytes]) -> None:
    reader = MessageReader(20)
    for payload in payloads:
        try:
            message = reader.feed(payload)
        except PeerError:
            return
        assert message is None or len(message) <= 20


def test_a_message_above_the_limit_is_refused_as_soon_as_it_is_seen() -> None:
    reader = MessageReader(20)
    assert reader.feed(b"\x00" + b"x" * 15) is None
    with pytest.raises(PeerError, match="above 20"):
        reader.feed(b"\x00" + b"x" * 6)


def test_frames_that_bring_nothing_are_refused_since_they_would_be_kept_for_ever() -> None:
    with pytest.raises(PeerError):
        MessageReader(20).feed(b"\x00")


def test_a_payload_that_is_neither_an_end_nor_a_beginning_is_refused() -> None:
    for payload in (b"\x02abc", b""):
        with pytest.raises(PeerError):
            MessageReader(20).feed(payload)


def test_an_empty_message_is_one_frame() -> None:
    assert frames(b"", 16) == b"\x00\x00\x00\x01\x01"
    assert MessageReader(20).feed(b"\x01") == b""
