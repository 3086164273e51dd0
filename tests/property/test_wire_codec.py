"""Any split of a stream gives the same messages; any bytes give messages or FrameError."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from runner.wire import FrameError, encode, from_worker_decoder
from runner.wire.messages import Begun, Events, Failed, FromWorker, LoadProgress, Piece

numbers = st.integers(min_value=0, max_value=2**63 - 1)
events = st.one_of(
    st.builds(Begun, id=numbers, prompt_tokens=numbers, cached_tokens=numbers),
    st.builds(Piece, id=numbers, text=st.text(max_size=300), tokens=numbers),
    st.builds(Failed, id=numbers, kind=st.text(max_size=8), message=st.text(max_size=80)),
)
messages = st.one_of(
    st.builds(LoadProgress, fraction=st.floats(0, 1)),
    st.builds(Events, events=st.lists(events, max_size=5).map(tuple)),
)


@given(sent=st.lists(messages, max_size=8), cuts=st.lists(numbers, max_size=8))
def test_any_split_gives_the_same_messages(sent: list[FromWorker], cuts: list[int]) -> None:
    stream = b"".join(map(encode, sent))
    places = sorted(cut % (len(stream) + 1) for cut in cuts)
    decoder = from_worker_decoder()
    got: list[FromWorker] = []
    for start, end in zip([0, *places], [*places, len(stream)], strict=True):
        got += decoder.feed(stream[start:end])
    decoder.finish()
    assert got == sent


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_random_bytes_give_messages_or_a_frame_error(pieces: list[bytes]) -> None:
    decoder = from_worker_decoder()
    with contextlib.suppress(FrameError):
        for piece in pieces:
            decoder.feed(piece)


@given(st.binary(min_size=1, max_size=200))
def test_a_random_payload_gives_a_message_or_a_frame_error(payload: bytes) -> None:
    with contextlib.suppress(FrameError):
        from_worker_decoder().feed(len(payload).to_bytes(4, "little") + payload)


@given(message=messages, at=numbers, flip=st.integers(1, 255))
def test_a_flipped_byte_gives_messages_or_a_frame_error(
    message: FromWorker, at: int, flip: int
) -> None:
    frame = bytearray(encode(message))
    frame[at % len(frame)] ^= flip
    with contextlib.suppress(FrameError):
        from_worker_decoder().feed(bytes(frame))
