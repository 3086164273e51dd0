"""Pictures that are grids for their model (M-RoPE): fewer positions than callers count rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runner.binding import (
    Code,
    Context,
    Library,
    MediaFile,
    MediaRows,
    Model,
    NativeError,
    Projector,
    Prompt,
    Record,
    Stepper,
)
from tests.support.projectors import png, write_grid_projector
from tests.support.state_models import WIDTH, write_grid_model

from .driver import Engine

pytestmark = pytest.mark.native

MARKER = "<a marker that nobody guesses>"
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 12, "ignore_eos": True, "top_logprobs": 1}
WIDE, HIGH = png(1, width=140, height=84), png(2, width=56, height=196)

# What llama-server of the pinned llama.cpp says of these files, greedily, and how likely it is.
SEEN = {
    ("Look: @ and?", (WIDE,)): [
        (13, -0.6086), (133, -1.5824), (133, -0.4410), (133, -0.1375), (133, -0.0142),
        (133, -0.5551), (119, -1.0101), (136, -0.0955), (3, -0.8492), (3, -0.1924),
        (3, -0.1247), (3, -0.1702),
    ],
    ("Look: @ and?@ which?", (WIDE, HIGH)): [
        (13, -0.0005), (3, -0.0315), (96, -0.3182), (107, -0.2594), (3, -0.8745),
        (96, -0.2836), (107, -0.1101), (107, -0.5179), (107, -0.7992), (107, -0.8018),
        (107, -0.3272), (107, -0.1703),
    ],
}  # fmt: skip
CLOSE = 0.05  # encoders of another build compute with other kernels


@dataclass(frozen=True)
class Shown:
    """A prompt with its pictures: names of all rows, and where the numbers come from."""

    rows: list[int]
    pictures: list[tuple[int, NDArray[np.float32], int]]  # first row, numbers, columns

    def pieces(self, seq: int, most: int) -> Iterator[Prompt]:
        """The prompt but its last token, in pieces of at most so many rows."""
        at = 0
        for first, numbers, columns in self.pictures:
            yield Prompt(seq, at, self.rows[at:first], None)
            for start in range(0, len(numbers), most):
                part = numbers[start : start + most]
                media = MediaRows(part, False, start, len(numbers), columns)
                names = self.rows[first + start : first + start + len(part)]
                yield Prompt(seq, first + start, names, None, media)
            at = first + len(numbers)
        yield Prompt(seq, at, self.rows[at:-1], None)


@dataclass(frozen=True)
class Eye:
    engine: Engine
    projector: Projector

    def show(self, text: str, files: Sequence[bytes]) -> Shown:
        named = [MediaFile(f"{i}", data, is_sound=False) for i, data in enumerate(files)]
        shown = Shown([], [])
        with self.projector.read(text.replace("@", MARKER), named) as parts:
            for index, part in enumerate(parts.parts):
                first = len(shown.rows)
                if "tokens" in part:
                    shown.rows.extend(part["tokens"])
                    continue
                shown.pictures.append((first, parts.encode(index), part["columns"]))
                shown.rows.extend(range(-1000 - first, -1000 - first - part["rows"], -1))
        return shown

    def take(self, shown: Shown, seq: int = 0, most: int = 64) -> None:
        for piece in shown.pieces(seq, most):
            self.engine.step([], piece)

    def answer(self, rows: Sequence[int], seq: int = 0) -> list[Record]:
        """Answer behind what the sequence holds, and empty it."""
        generator, record = self.engine.begin(seq, rows, **GREEDY)
        records = self.engine.go_on(generator, record).records
        self.engine.context.free_generator(generator)
        self.engine.context.seq_rm(seq)
        return records


@pytest.fixture(scope="module", params=[True, False], ids=["unified", "streams"])
def eye(
    library: Library, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Eye]:
    folder = tmp_path_factory.mktemp("grid")
    model = Model(library, write_grid_model(folder))
    settings = {"n_batch": 64, "n_ubatch": 32, "n_seq_max": 2, "n_threads": 1}
    context = Context(model, settings | {"n_ctx": 1024, "kv_unified": request.param})
    path = write_grid_projector(folder, width=WIDTH)
    with Projector(model, {"path": str(path), "marker": MARKER}) as projector:
        yield Eye(Engine(model, context, Stepper(context)), projector)
    context.close()


def assert_says(records: list[Record], expected: list[tuple[int, float]]) -> None:
    assert [record.token for record in records] == [token for token, _ in expected]
    assert [record.logprob for record in records] == pytest.approx(
        [logprob for _, logprob in expected], abs=CLOSE
    )


@pytest.mark.parametrize("most", [64, 7])
@pytest.mark.parametrize(("text", "files"), SEEN)
def test_pictures_are_seen_as_llama_server_sees_them(
    eye: Eye, text: str, files: tuple[bytes, ...], most: int
) -> None:
    shown = eye.show(text, files)
    eye.take(shown, most=most)
    assert eye.engine.context.seq_range(0) == (0, len(shown.rows) - 2)  # rows, not positions
    assert_says(eye.answer(shown.rows), SEEN[text, files])


def test_a_picture_says_its_columns(eye: Eye) -> None:
    [(_, wide, columns), (_, high, fewer)] = eye.show("@ and @!", [WIDE, HIGH]).pictures
    assert (len(wide), columns, len(high), fewer) == (15, 5, 14, 2)


def test_a_text_with_pictures_is_saved_copied_and_cut(eye: Eye) -> None:
    text, files = "Look: @ and?@ which?", (WIDE, HIGH)
    shown, context = eye.show(text, files), eye.engine.context
    expected = SEEN[text, files]
    eye.take(shown)
    state = context.state(0)
    context.seq_cp(0, 1)
    assert_says(eye.answer(shown.rows, seq=1), expected)
    first, numbers, _ = shown.pictures[1]
    assert context.seq_rm(0, first + len(numbers) + 2)  # into the text behind both
    assert_says(eye.answer(shown.rows), expected)
    context.set_state(1, state, shown.rows[:-1])
    assert context.seq_range(1) == (0, len(shown.rows) - 2)
    assert_says(eye.answer(shown.rows, seq=1), expected)
    for cut in (state[:-1], state[:-12]):  # a state of other pictures than its rows
        with pytest.raises(NativeError, match="another size"):
            context.set_state(1, cut, shown.rows[:-1])
        assert context.seq_range(1) == (-1, -1)


def test_what_comes_after_a_cut_before_a_picture_is_another_text(eye: Eye) -> None:
    context = eye.engine.context
    both = eye.show("Look: @ and?@ which?", [WIDE, HIGH])
    eye.take(both)
    first, numbers, _ = both.pictures[0]
    assert context.seq_rm(0, first + len(numbers))  # right behind the first picture
    assert context.seq_range(0) == (0, first + len(numbers) - 1)
    alone = eye.show("Look: @ and?", [WIDE])
    assert_says(eye.answer(alone.rows), SEEN["Look: @ and?", (WIDE,)])
    eye.take(both)
    assert context.seq_rm(0, first)  # where it begins
    assert context.seq_range(0) == (0, first - 1)
    for piece in alone.pieces(0, 64):
        if piece.start >= first:
            eye.engine.step([], piece)
    assert_says(eye.answer(alone.rows), SEEN["Look: @ and?", (WIDE,)])


def test_no_picture_is_cut_in_two(eye: Eye) -> None:
    context, shown = eye.engine.context, eye.show("Look: @ and?", [WIDE])
    eye.take(shown)
    first = shown.pictures[0][0]
    assert not context.seq_rm(0, first + 3)
    assert context.seq_range(0) == (0, len(shown.rows) - 2)
    if context.info.kv_unified:
        with pytest.raises(NativeError, match="inside a picture"):
            context.seq_cp(0, 1, 0, first + 3)
    assert_says(eye.answer(shown.rows), SEEN["Look: @ and?", (WIDE,)])


@pytest.mark.parametrize(
    ("start", "rows", "columns", "code"),
    [
        (0, 15, 4, Code.ARGUMENT),
        (0, 3, 3, Code.ARGUMENT),
        (-1, 15, 5, Code.ARGUMENT),
        (12, 15, 5, Code.ARGUMENT),
        (0, 1_000_000, 5, Code.ARGUMENT),
        (1, 15, 5, Code.STATE),
    ],
)
def test_rows_that_are_of_no_grid_are_refused(
    eye: Eye, start: int, rows: int, columns: int, code: Code
) -> None:
    [(_, numbers, _)] = eye.show("@!", [WIDE]).pictures
    eye.engine.step([], Prompt(0, 0, [1, 5, 6], None))
    media = MediaRows(numbers[:5], False, start, rows, columns)
    with pytest.raises(NativeError) as caught:
        eye.engine.stepper.run([], [Prompt(0, 3, [-9, -8, -7, -6, -5], None, media)])
    assert caught.value.code is code
    assert eye.engine.context.seq_range(0) == (0, 2)
    eye.engine.context.seq_rm(0)


def test_another_picture_does_not_go_on_where_one_is_unfinished(eye: Eye) -> None:
    [(_, numbers, columns)] = eye.show("@!", [WIDE]).pictures
    eye.engine.step([], Prompt(0, 0, [1], None))
    begun = MediaRows(numbers[:5], False, 0, len(numbers), columns)
    eye.engine.step([], Prompt(0, 1, list(range(-9, -4)), None, begun))
    with pytest.raises(NativeError, match="another picture") as caught:
        eye.engine.stepper.run([], [Prompt(0, 6, list(range(-9, -4)), None, begun)])
    assert caught.value.code is Code.STATE
    eye.engine.context.seq_rm(0)
