"""A queue of bytes that finds the end of a head, however it arrives."""

from __future__ import annotations

from runner.http.buffer import ReceiveBuffer


def test_bytes_are_taken_in_order() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"abc")
    buffer.append(b"def")
    assert (buffer.peek(4), len(buffer)) == (b"abcd", 6)
    assert (buffer.take(2), buffer.take(9), len(buffer)) == (b"ab", b"cdef", 0)


def test_a_block_ends_with_the_first_blank_line() -> None:
    buffer = ReceiveBuffer()
    for byte in b"a\r\nb\r\n\r":
        buffer.append(bytes([byte]))
        assert buffer.take_block(100) is None
    buffer.append(b"\nc\r\n\r\nd")
    assert buffer.take_block(100) == b"a\r\nb\r\n\r\n"
    assert buffer.take_block(100) == b"c\r\n\r\n"
    assert buffer.take_block(100) is None
    assert buffer.take(9) == b"d"


def test_a_block_that_ends_too_late_is_none() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"abc\r\n\r\n")
    assert buffer.take_block(6) is None
    assert buffer.take_block(7) == b"abc\r\n\r\n"
