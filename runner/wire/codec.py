"""Messages to framed bytes and back, for both directions. Payloads are msgpack, by msgspec."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from runner.wire.frames import HEADER_BYTES, FrameBuffer, FrameError, frame_header
from runner.wire.messages import WIRE_VERSION, FromWorker, Load, Message, ToWorker

M = TypeVar("M")

_ENCODER = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Render one message as a frame. Raises :class:`FrameError` when it is over the frame limit."""
    frame = bytearray(HEADER_BYTES)
    _ENCODER.encode_into(message, frame, HEADER_BYTES)
    frame[:HEADER_BYTES] = frame_header(len(frame) - HEADER_BYTES)
    return bytes(frame)


class Decoder(Generic[M]):
    """Frames in any pieces to messages of one direction.

    After a :class:`FrameError` the decoder stays broken: a stream that lost its place has no next
    message, and what the same piece held before the fault is dropped with it.
    """

    def __init__(self, payloads: msgspec.msgpack.Decoder[M]) -> None:
        self._payloads = payloads
        self._frames = FrameBuffer()
        self._error: FrameError | None = None

    def feed(self, data: bytes) -> list[M]:
        """Take the next bytes; return the messages they complete, in order.

        Raises :class:`FrameError` for a bad length, a payload that is no message of this direction,
        and a :class:`Load` of another wire version.
        """
        if self._error is not None:
            raise self._error
        try:
            return [self._decode(payload) for payload in self._frames.feed(data)]
        except FrameError as error:
            self._error = error
            raise

    def finish(self) -> None:
        """Say that the stream ended; raise :class:`FrameError` when it ended inside a frame."""
        if self._frames.pending_bytes:
            raise FrameError(f"the stream ended {self._frames.pending_bytes} bytes into a frame")

    def _decode(self, payload: bytes) -> M:
        try:
            message = self._payloads.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError(f"not a message of ours: {error}") from error
        if isinstance(message, Load) and message.version != WIRE_VERSION:
            # The package was upgraded under a running daemon: its next worker runs the new code.
            raise FrameError(
                f"the daemon speaks wire version {message.version}, this worker {WIRE_VERSION}: "
                "restart the daemon"
            )
        return message


def to_worker_decoder() -> Decoder[ToWorker]:
    """The decoder a worker reads its input with."""
    return Decoder(msgspec.msgpack.Decoder(ToWorker))


def from_worker_decoder() -> Decoder[FromWorker]:
    """The decoder the daemon reads a worker's output with."""
    return Decoder(msgspec.msgpack.Decoder(FromWorker))
