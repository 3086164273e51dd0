"""Images and sounds: what a projector makes of files, and steps of rows that are no tokens."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
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
from runner.gguf import read_header
from tests.support.projectors import (
    POOLED_ROWS,
    ROWS,
    SOUND_ROWS,
    png,
    png_of,
    wav,
    write_projectors,
)
from tests.support.state_models import VOCABULARY, WIDTH, write_state_models

from .driver import Engine

pytestmark = pytest.mark.native

MARKER = "<a marker that nobody guesses>"
NAME = -1000  # of the first row of media in a test
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 12, "ignore_eos": True, "top_logprobs": 3}
# In one pass or in several a row's attention is computed by other code: see ARCHITECTURE.md.
CLOSE = 0.02

Rows = NDArray[np.float32]
Pieces = Sequence[Prompt]


# ---- rows in the place of tokens ---------------------------------------------------------------


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_state_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def make(library: Library, paths: dict[str, Path]) -> Iterator[Callable[..., tuple[Engine, Rows]]]:
    """Make an engine, and give what its model reads each token as."""
    contexts: list[Context] = []

    def make(kind: str, **settings: Any) -> tuple[Engine, Rows]:
        data = paths[kind].read_bytes()
        start = read_header(data, len(data)).data_offset  # of the first tensor: token_embd.weight
        rows = np.frombuffer(data, "<f4", VOCABULARY * WIDTH, start).reshape(VOCABULARY, WIDTH)
        scale = WIDTH**0.5 if kind == "window" else 1.0  # Gemma scales what it reads of tokens
        model = Model(library, paths[kind])
        defaults = {"n_ctx": 1024, "n_batch": 64, "n_ubatch": 32, "n_seq_max": 2, "n_threads": 1}
        contexts.append(Context(model, defaults | settings))
        engine = Engine(model, contexts[-1], Stepper(contexts[-1]))
        return engine, np.ascontiguousarray(rows * np.float32(scale))

    yield make
    for context in contexts:
        context.close()


def names(count: int) -> list[int]:
    return list(range(NAME, NAME - count, -1))


def answer(engine: Engine, prompt: Sequence[int], pieces: Pieces, seq: int = 0) -> list[Record]:
    """Take a prompt in these pieces, all but its last token, then answer."""
    for piece in pieces:
        assert engine.step([], piece) == []
    generator, record = engine.begin(seq, prompt, **GREEDY)
    records = engine.go_on(generator, record).records
    engine.context.free_generator(generator)
    engine.context.seq_rm(seq)
    return records


def assert_same(one: list[Record], other: list[Record]) -> None:
    assert [record.token for record in one] == [record.token for record in other]
    for left, right in zip(one, other, strict=True):
        assert left.logprob == pytest.approx(right.logprob, abs=CLOSE)


TEXT = [3 + byte for byte in b"what a model reads of tokens it may be given as numbers, too"]


@pytest.mark.parametrize("kind", ["window", "recurrent", "hybrid"])
@pytest.mark.parametrize("cut", [20, 7])
def test_rows_of_numbers_are_read_as_the_tokens_they_stand_for(
    make: Callable[..., tuple[Engine, Rows]], kind: str, cut: int
) -> None:
    engine, rows = make(kind)
    expected = answer(engine, TEXT, [Prompt(0, 0, TEXT[:-1], None)])
    named = [*TEXT[:10], *names(20), *TEXT[30:]]
    given = rows[TEXT[10:30]]
    pieces = [Prompt(0, 0, named[:10], None)]
    for at in range(0, 20, cut):
        part = named[10 + at : min(10 + at + cut, 30)]
        media = MediaRows(given[at : at + cut], False)
        pieces.append(Prompt(0, 10 + at, part, None, media))
    pieces.append(Prompt(0, 30, named[30:-1], None))
    assert_same(answer(engine, named, pieces), expected)


def test_a_step_has_rows_of_one_sequence_beside_tokens_of_another(
    make: Callable[..., tuple[Engine, Rows]],
) -> None:
    engine, rows = make("hybrid")
    expected = answer(engine, TEXT, [Prompt(0, 0, TEXT[:-1], None)])
    generator, record = engine.begin(1, TEXT[:20], **GREEDY)
    alone = engine.go_on(generator, record).records
    engine.context.seq_rm(1)
    generator, record = engine.begin(1, TEXT[:20], **GREEDY)
    beside = [record]
    named = [*names(40), *TEXT[40:]]
    for at in range(0, 40, 20):
        media = MediaRows(rows[TEXT[at : at + 20]], False)
        piece = Prompt(0, at, named[at : at + 20], None, media)
        beside += engine.step([generator], piece)
    shown = answer(engine, named, [Prompt(0, 40, named[40:-1], None)])
    assert_same(shown, expected)
    assert_same(beside, alone[:3])


def test_rows_that_look_at_one_another_change_what_comes_after(
    make: Callable[..., tuple[Engine, Rows]],
) -> None:
    engine, rows = make("window")
    named, given = [*names(20), *TEXT[20:]], rows[TEXT[:20]]
    causal, around = (
        answer(
            engine,
            named,
            [
                Prompt(0, 0, named[:20], None, MediaRows(given, is_whole)),
                Prompt(0, 20, named[20:-1], None),
            ],
        )
        for is_whole in (False, True)
    )
    assert causal[0].logprob is not None and around[0].logprob is not None
    assert abs(causal[0].logprob - around[0].logprob) > CLOSE


@pytest.mark.parametrize(
    ("piece", "media", "problem"),
    [
        ([5, *names(3)], MediaRows(np.zeros((4, WIDTH), np.float32), False), "has a token"),
        (names(33), MediaRows(np.zeros((33, WIDTH), np.float32), True), "at most 32"),
        (names(65), MediaRows(np.zeros((65, WIDTH), np.float32), False), "at most 64"),
        (names(2), None, "token -1000"),
    ],
)
def test_rows_that_llama_cpp_would_abort_on_are_refused(
    make: Callable[..., tuple[Engine, Rows]],
    piece: list[int],
    media: MediaRows | None,
    problem: str,
) -> None:
    engine, _ = make("hybrid")
    with pytest.raises(NativeError, match=problem) as caught:
        engine.stepper.run([], [Prompt(0, 0, piece, None, media)])
    assert caught.value.code is Code.ARGUMENT
    assert answer(engine, TEXT, [Prompt(0, 0, TEXT[:-1], None)])


def test_a_text_with_rows_is_saved_copied_and_cut_as_any_other(
    make: Callable[..., tuple[Engine, Rows]],
) -> None:
    engine, rows = make("window")
    named = [*names(20), *TEXT[20:]]
    pieces = [
        Prompt(0, 0, named[:20], None, MediaRows(rows[TEXT[:20]], True)),
        Prompt(0, 20, named[20:-1], None),
    ]
    expected = answer(engine, named, pieces)
    for piece in pieces:
        engine.step([], piece)
    state = engine.context.state(0)
    engine.context.seq_cp(0, 1)
    engine.context.seq_rm(1, 30)
    assert_same(answer(engine, named, [Prompt(1, 30, named[30:-1], None)], seq=1), expected)
    engine.context.set_state(1, state, named[:-1])
    assert_same(answer(engine, named, [], seq=1), expected)


# ---- projectors --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def projectors(
    model: Model, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Projector]]:
    paths = write_projectors(tmp_path_factory.mktemp("mmproj"), width=model.info()["n_embd"])
    opened = {
        name: Projector(model, {"path": str(path), "marker": MARKER})
        for name, path in paths.items()
    }
    yield opened
    for projector in opened.values():
        projector.close()


def image(data: bytes, id: str = "one") -> MediaFile:
    return MediaFile(id, data, is_sound=False)


def test_a_projector_says_what_it_takes(projectors: dict[str, Projector]) -> None:
    senses = {name: (each.info.vision, each.info.audio) for name, each in projectors.items()}
    assert senses == {"plain": (True, False), "whole": (True, False), "ear": (False, True)}
    assert projectors["plain"].info.n_embd == 576


def test_a_prompt_is_taken_apart_where_its_files_are(
    model: Model, projectors: dict[str, Projector]
) -> None:
    text = f"Look:{MARKER} and{MARKER}?"
    with projectors["plain"].read(text, [image(png(1), "a"), image(png(2), "b")]) as parts:
        texts = [
            model.tokenize(part, add_special=False, parse_special=True)
            for part in ("Look:", " and", "?")
        ]
        pieces = [{"id": id, "rows": ROWS, "is_whole": False, "columns": 0} for id in ("a", "b")]
        first, second = pieces
        assert parts.parts == [
            {"tokens": texts[0]},
            first,
            {"tokens": texts[1]},
            second,
            {"tokens": texts[2]},
        ]
    with projectors["whole"].read(f"{MARKER}?", [image(png(1))]) as parts:
        described = [part for part in parts.parts if "rows" in part]
        assert described == [{"id": "one", "rows": POOLED_ROWS, "is_whole": True, "columns": 0}]


@pytest.mark.parametrize("name", ["plain", "whole"])
def test_the_same_image_gives_the_same_rows_and_another_one_others(
    projectors: dict[str, Projector], name: str
) -> None:
    def encode(data: bytes) -> Rows:
        with projectors[name].read(f"{MARKER}?", [image(data)]) as parts:
            index = next(i for i, part in enumerate(parts.parts) if "rows" in part)
            return parts.encode(index)

    once, again, other = encode(png(1)), encode(png(1)), encode(png(2))
    assert np.isfinite(once).all()
    assert np.array_equal(once, again)
    assert not np.allclose(once, other)


def test_a_sound_is_rows_for_each_half_minute(projectors: dict[str, Projector]) -> None:
    sound = MediaFile("noise", wav(1, rate=8000), is_sound=True)
    with projectors["ear"].read(f"{MARKER} What is that?", [sound]) as parts:
        [(index, piece)] = [(i, part) for i, part in enumerate(parts.parts) if "rows" in part]
        assert piece == {"id": "noise", "rows": SOUND_ROWS, "is_whole": False, "columns": 0}
        rows = parts.encode(index)
    assert rows.shape == (SOUND_ROWS, 576)
    assert np.isfinite(rows).all()


def bomb() -> bytes:
    """An image of a million pixels whose data unfold to 300 MB."""
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300))
    return png_of(1000, 1000, data + packer.flush())


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "data is NULL|that can be read"),
        (b"hello", "that can be read"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "it is WebP; JPEG, PNG, GIF and BMP can be read: convert"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "it is AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "it is HEIC"),
        (b"II*\0\x08\0\0\0", "it is TIFF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "that can be read"),
        (png(1)[:200], "it is damaged"),
        (png_of(1, 10**9, b""), "that can be read"),
        (png_of(16_000, 16_000, b""), "pixels"),
        (png_of(5000, 2, zlib.compress(b"")), "no picture"),
    ],
)
def test_b14_what_is_no_image_or_too_large_is_refused(
    projectors: dict[str, Projector], data: bytes, problem: str
) -> None:
    with pytest.raises(NativeError, match=problem) as caught:
        projectors["plain"].read(f"{MARKER}{MARKER}?", [image(png(1)), image(data)])
    assert caught.value.code in (Code.PARSE, Code.ARGUMENT)
    assert caught.value.message.startswith("1: ") or not data


def test_b14_an_image_that_unfolds_without_end_is_refused(
    projectors: dict[str, Projector],
) -> None:
    with pytest.raises(NativeError, match="0: it is damaged: outofmem"):
        projectors["plain"].read(f"{MARKER}?", [image(bomb())])


def test_many_large_images_are_refused_together(projectors: dict[str, Projector]) -> None:
    white = png_of(4000, 4000, zlib.compress((b"\0" + b"\xff" * 12_000) * 4000, 9))
    with pytest.raises(NativeError, match="pixels the images of this prompt"):
        projectors["plain"].read(MARKER * 3, [image(white)] * 3)


@pytest.mark.parametrize("data", [b"RIFF", wav(1)[:60], wav(1, seconds=0.01), b"\xff\xfb" * 50])
def test_what_is_no_sound_is_refused(projectors: dict[str, Projector], data: bytes) -> None:
    with pytest.raises(NativeError) as caught:
        projectors["ear"].read(MARKER, [MediaFile("one", data, is_sound=True)])
    assert caught.value.code is Code.PARSE
    assert caught.value.message.startswith("0: it ")


def test_a_sense_that_is_not_there_is_named(projectors: dict[str, Projector]) -> None:
    with pytest.raises(NativeError, match="0: the model takes no images") as caught:
        projectors["ear"].read(MARKER, [image(png(1))])
    assert caught.value.code is Code.UNSUPPORTED
    with pytest.raises(NativeError, match="0: the model takes no sound"):
        projectors["plain"].read(MARKER, [MediaFile("one", wav(1), is_sound=True)])


@pytest.mark.parametrize("text", ["", MARKER * 2])
def test_markers_are_as_many_as_files(projectors: dict[str, Projector], text: str) -> None:
    with pytest.raises(NativeError, match="markers") as caught:
        projectors["plain"].read(text, [image(png(1))])
    assert caught.value.code is Code.PARSE


def test_c9_a_projector_of_another_model_is_refused(model: Model, tmp_path: Path) -> None:
    path = write_projectors(tmp_path, width=64)["plain"]
    with pytest.raises(NativeError, match="mismatch between text model"):
        Projector(model, {"path": str(path), "marker": MARKER})
    with pytest.raises(NativeError, match="marker"):
        Projector(model, {"path": str(path), "marker": "<image>"})
