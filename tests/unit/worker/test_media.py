"""Images and sounds on their way to the scheduler, with a projector of paper."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from runner.binding import Code, MediaFile, MediaInfo, NativeError, Parts
from runner.engine import SequenceRequest
from runner.engine.backend import Span
from runner.errors import Kind, RunnerError
from runner.wire.messages import Failed
from runner.worker.encoding import Encoding, RowCache, Rows
from runner.worker.media import Encoded, Media, Piece, Seeing, Unencoded, row_names, take_media
from runner.worker.prompts import Prepared

A, B = MediaFile("aa", b"A", is_sound=False), MediaFile("bb", b"B", is_sound=False)
MEDIA = (Media(A, "messages[0].content[0]"), Media(B, "messages[2].content[1]"))


@dataclass
class PaperParts:
    parts: list[dict[str, Any]]
    encoded: list[int] = field(default_factory=list)
    is_closed: bool = False
    error: NativeError | None = None
    before: Callable[[], object] = lambda: None

    def encode(self, index: int) -> Rows:
        self.before()
        if self.error:
            raise self.error
        self.encoded.append(index)
        return np.full((self.parts[index]["rows"], 4), index, np.float32)

    def close(self) -> None:
        self.is_closed = True


@dataclass
class PaperProjector:
    parts: list[dict[str, Any]] = field(default_factory=list)
    error: NativeError | None = None

    def read(self, text: str, files: Any) -> Parts:
        if self.error:
            raise self.error
        return cast("Parts", PaperParts(self.parts))


def seeing(projector: PaperProjector) -> Seeing:
    return Seeing(projector, "<m>", "p", 8, MediaInfo(vision=True, audio=False, n_embd=4))


def rows_of(id: str, rows: int, *, is_whole: bool = False) -> dict[str, Any]:
    return {"id": id, "rows": rows, "is_whole": is_whole, "columns": 0}


# ---- out of the messages -----------------------------------------------------------------------


def test_files_are_taken_out_of_messages_in_order() -> None:
    picture = {"type": "image", "data": base64.b64encode(b"A").decode(), "param": "p1"}
    sound = {"type": "audio", "data": base64.b64encode(b"B").decode(), "param": "p2"}
    text = {"type": "text", "text": "What?"}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [picture, text]},
        {"role": "assistant", "content": None},
        {"role": "user", "content": [text, sound]},
    ]
    found = take_media(messages, "<m>")
    assert [(one.file.data, one.file.is_sound, one.param) for one in found] == [
        (b"A", False, "p1"),
        (b"B", True, "p2"),
    ]
    assert found[0].file.id == "559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd"
    marker = {"type": "media_marker", "text": "<m>"}
    assert messages[1]["content"] == [marker, text]
    assert messages[3]["content"] == [text, marker]


# ---- names -------------------------------------------------------------------------------------


def test_rows_have_names_that_no_token_has_and_that_do_not_change() -> None:
    assert row_names("x", 3) == row_names("x", 3)
    assert row_names("x", 2) == row_names("x", 3)[:2]
    assert not set(row_names("x", 500)) & set(row_names("y", 500))
    assert all(-(2**31) < name < -1 for name in row_names("x", 5000))


def test_a_prompt_has_the_same_rows_for_the_same_file_and_others_for_its_next_piece() -> None:
    parts = [{"tokens": [1, 2]}, rows_of("aa", 2), rows_of("aa", 2), {"tokens": [3]}]
    tokens, media = seeing(PaperProjector(parts)).read("", MEDIA)
    first, second = row_names("p/aa/0", 2), row_names("p/aa/1", 2)
    assert tokens == [1, 2, *first, *second, 3]
    assert first != second
    assert [piece.span for piece in media.pieces] == [Span(2, 2), Span(4, 2)]
    assert [(piece.part, piece.key) for piece in media.pieces] == [(1, ("aa", 0)), (2, ("aa", 1))]


@pytest.mark.parametrize(
    ("error", "kind", "param", "message"),
    [
        (
            NativeError(Code.PARSE, "1: it is damaged"),
            Kind.INVALID_REQUEST,
            "messages[2].content[1]",
            "messages[2].content[1]: it is damaged",
        ),
        (
            NativeError(Code.UNSUPPORTED, "0: the model takes no images"),
            Kind.MODEL_NOT_SUPPORTED,
            "messages[0].content[0]",
            "messages[0].content[0]: the model takes no images",
        ),
        (
            NativeError(Code.EXCEPTION, "out of luck"),
            Kind.INTERNAL,
            "messages[0].content[0]",
            "messages[0].content[0]: out of luck",
        ),
    ],
)
def test_the_file_at_fault_is_named(
    error: NativeError, kind: Kind, param: str, message: str
) -> None:
    with pytest.raises(RunnerError) as caught:
        seeing(PaperProjector(error=error)).read("", MEDIA)
    assert (caught.value.kind, caught.value.param) == (kind, param)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([rows_of("aa", 9, is_whole=True), {"tokens": [1]}], "looks at the 9 rows"),
        ([{"tokens": [1]}, rows_of("aa", 2)], "must not end with"),
    ],
)
def test_what_the_engine_cannot_compute_is_refused(parts: list[Any], problem: str) -> None:
    with pytest.raises(RunnerError, match=problem) as caught:
        seeing(PaperProjector(parts)).read("", MEDIA)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, MEDIA[1].param)


# ---- encoding ----------------------------------------------------------------------------------


class Outlet:
    """Where requests go from the encoder."""

    def __init__(self, cache: RowCache | None = None) -> None:
        self.delivered: list[Prepared] = []
        self.refused: list[Failed] = []
        self.discarded: list[Prepared] = []
        self.encoding = Encoding(
            deliver=self.delivered.append,
            refuse=self.refused.append,
            discard=self.discarded.append,
            cache=cache,
        )


def prepared(id: int, parts: PaperParts | None, *keys: str) -> Prepared:
    request = SequenceRequest(id, (1, -2, -3, 4), 7)
    if parts is None:
        return Prepared(request, ())
    pieces = tuple(Piece(Span(1 + i, 1), i, (key, 0), 0) for i, key in enumerate(keys))
    return Prepared(request, (), media=Unencoded(cast("Parts", parts), pieces))


def paper(count: int, **more: Any) -> PaperParts:
    return PaperParts([rows_of("", 1) for _ in range(count)], **more)


def test_text_goes_straight_on() -> None:
    outlet = Outlet()
    outlet.encoding.take(prepared(1, None))
    assert [one.request.id for one in outlet.delivered] == [1]
    assert len(outlet.encoding) == 0


def test_rows_are_computed_once_for_each_content() -> None:
    outlet = Outlet()
    first, second = paper(2), paper(2)
    for id, parts in ((1, first), (2, second)):
        request = prepared(id, parts, "aa", "bb" if id == 1 else "cc")
        outlet.encoding.take(request)
        outlet.encoding.handle(request)
    assert (first.encoded, second.encoded) == ([0, 1], [1])
    assert first.is_closed and second.is_closed
    spans = outlet.delivered[1].request.spans
    assert [(span.start, span.length) for span in spans] == [(1, 1), (2, 1)]
    contents = [cast("Encoded", span.content).numbers.tolist() for span in spans]
    assert contents == [[[0.0] * 4], [[1.0] * 4]]
    assert outlet.delivered[1].media is None
    assert len(outlet.encoding) == 0


def test_who_left_while_waiting_costs_nothing() -> None:
    outlet = Outlet()
    parts = paper(1)
    request = prepared(1, parts, "aa")
    outlet.encoding.take(request)
    assert outlet.encoding.cancel(1)
    assert not outlet.encoding.cancel(1)
    outlet.encoding.handle(request)
    assert (parts.encoded, parts.is_closed) == ([], True)
    assert (outlet.delivered, outlet.discarded) == ([], [request])


def test_who_leaves_during_the_encoding_is_not_delivered() -> None:
    outlet = Outlet()
    request = prepared(1, paper(1, before=lambda: outlet.encoding.cancel(1)), "aa")
    outlet.encoding.take(request)
    outlet.encoding.handle(request)
    assert (outlet.delivered, outlet.refused, outlet.discarded) == ([], [], [request])


def test_a_failure_ends_one_request() -> None:
    outlet = Outlet()
    request = prepared(1, paper(1, error=NativeError(Code.EXCEPTION, "bad luck")), "aa")
    outlet.encoding.take(request)
    outlet.encoding.handle(request)
    message = "an image or a sound could not be encoded: exception: bad luck"
    assert outlet.refused == [Failed(1, "internal_error", message)]
    assert outlet.discarded == [request]
    assert len(outlet.encoding) == 0


def test_the_thread_takes_requests_in_order() -> None:
    outlet = Outlet()
    done = threading.Event()
    threading.Thread(target=outlet.encoding.run, daemon=True).start()
    outlet.encoding.take(prepared(1, paper(1), "aa"))
    outlet.encoding.take(prepared(2, paper(1, before=done.set), "bb"))
    assert done.wait(10)
    while len(outlet.encoding):
        assert done.wait(0.01)
    assert [one.request.id for one in outlet.delivered] == [1, 2]


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    rows = np.zeros((1, 4), np.float32)
    cache = RowCache(limit_bytes=2 * rows.nbytes)
    cache.put(("a", 0), rows)
    cache.put(("b", 0), rows)
    assert cache.get(("a", 0)) is rows
    cache.put(("c", 0), rows)
    assert [cache.get((id, 0)) is None for id in "abc"] == [False, True, False]
    assert cache.bytes == 2 * rows.nbytes
