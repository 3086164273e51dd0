from __future__ import annotations

import pytest

from runner.wire.frames import FrameBuffer, FrameError, frame_header


def test_a_frame_is_a_little_endian_length_then_the_payload() -> None:
    assert frame_header(258) == b"\x02\x01\x00\x00"
    assert FrameBuffer().feed(b"\x05\x00\x00\x00hello") == [b"hello"]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"\x02\0\0\0ab\x01\0\0\0c"],
        [b"\x02\0\0\0a", b"b\x01\0\0\0c"],
        [bytes([byte]) for byte in b"\x02\0\0\0ab\x01\0\0\0c"],
    ],
    ids=["whole", "cut", "byte by byte"],
)
def test_frames_may_arrive_in_any_pieces(pieces: list[bytes]) -> None:
    frames = FrameBuffer()
    assert [payload for piece in pieces for payload in frames.feed(piece)] == [b"ab", b"c"]
    assert frames.pending_bytes == 0


def test_a_tail_is_held_back_and_counted() -> None:
    frames = FrameBuffer()
    assert frames.feed(b"\x01\0\0\0x\x09\0") == [b"x"]
    assert frames.pending_bytes == 2


@pytest.mark.parametrize("header", [b"\0\0\0\0", b"\x09\0\0\0", b"GET "])
def test_a_length_no_message_has_is_refused_before_its_payload_comes(header: bytes) -> None:
    with pytest.raises(FrameError, match="expected a frame of 1 to 8 bytes"):
        FrameBuffer(max_bytes=8).feed(header)


@pytest.mark.parametrize("length", [0, 9])
def test_a_payload_the_reader_would_refuse_is_not_framed(length: int) -> None:
    with pytest.raises(FrameError, match="at most 8 bytes"):
        frame_header(length, max_bytes=8)
