"""The hot path: arrays made once, so that a step costs Python a few tens of microseconds."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterable, Sequence
from enum import IntFlag
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .handles import Context
from .prototypes import Rows, StepIn, StepOut


class Flag(IntFlag):
    """``RN_OUT_*``: why a token is a generator's last."""

    EOS = 1
    STOP = 2
    LENGTH = 4
    GRAMMAR = 8


class MediaRows(NamedTuple):
    """What rows are computed from that are no tokens; ``is_whole``: they look at one another."""

    numbers: NDArray[np.float32]  # (rows, n_embd), contiguous
    is_whole: bool
    start: int = 0  # which row of its picture is the first here,
    rows: int = 0  # of so many,
    columns: int = 0  # a grid of so many columns; 0: rows in a line


class Prompt(NamedTuple):
    """Rows of one prompt: ``tokens`` at positions ``start``.. of ``seq``.

    ``generator`` samples from the last of them, or None when the prompt goes on. Rows of ``media``
    have names below -1 in the place of tokens. ``scored`` names for each row a token to be told of,
    how likely it is behind that row, or -1; empty: for none. So are the ``top`` likeliest ones.
    """

    seq: int
    start: int
    tokens: Sequence[int]
    generator: int | None
    media: MediaRows | None = None
    scored: Sequence[int] = ()
    top: int = 0


class Record(NamedTuple):
    """What one generator gave. ``flags`` is 0 while it goes on.

    ``generator`` -1: what was to be told of ``token`` behind a prompt's row.
    """

    generator: int
    token: int
    text: str
    flags: int
    stop_index: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Outcome(NamedTuple):
    """How a step ended: ``rc`` 0 ok, 1 no KV cell, 2 aborted, < 0 failed; records only when 0.

    ``drafted`` counts the guesses that were computed for each generator of the decode part; it is
    empty when none were allowed.
    """

    rc: int
    records: list[Record]
    decode_us: int
    sample_us: int
    drafted: tuple[int, ...] = ()


class Stepper:
    """Runs steps of one context, on its engine thread."""

    def __init__(self, context: Context, *, max_top_logprobs: int = 20) -> None:
        info = context.info
        outputs = info.n_outputs_max
        self._context = context
        self._call = context.library.rn_step
        self._check = context.library.check
        self._cap_top = max_top_logprobs

        self._gen = np.empty(info.n_batch, np.int32)  # too many are for the library to refuse
        self._drafts = np.empty((2, info.n_batch), np.int32)  # n_draft, n_drafted
        # tok, pos, seq, out_gen; rows of media come beside a whole batch of tokens
        self._rows = np.empty((4, 2 * info.n_batch), np.int32)
        self._media: list[tuple[int, MediaRows]] = []  # of this step, by their first rows
        self._score = np.full(2 * info.n_batch, -1, np.int32)
        self._has_scores = False  # in this step
        self._out_ints = np.empty((5, outputs), np.int32)  # gen, tok, flags, stop_index, n_top
        self._text_off = np.empty(outputs + 1, np.int64)
        self._text = np.empty(outputs * info.text_per_record, np.uint8)
        self._logprob = np.empty(outputs, np.float32)
        self._top_tok = np.empty((outputs, max_top_logprobs), np.int32)
        self._top_logprob = np.empty((outputs, max_top_logprobs), np.float32)

        # Read and written without numpy: on a handful of numbers its calls cost more than they do.
        self._view_gen = self._gen.data
        self._view_draft, self._view_drafted = (row.data for row in self._drafts)
        self._view_ints = [row.data for row in self._out_ints]
        self._view_off = self._text_off.data
        self._view_text = self._text.data
        self._view_logprob = self._logprob.data

        self._in = self._make_in()
        self._out = self._make_out(outputs)
        self._in_ref, self._out_ref = c.byref(self._in), c.byref(self._out)

    def run(
        self,
        decode: Sequence[int],
        prompts: Iterable[Prompt] = (),
        drafts: Sequence[int] = (),
    ) -> Outcome:
        """Feed each generator of ``decode`` its own last token, then the prompt rows, in one batch.

        ``drafts`` allows each generator of ``decode`` so many guesses; empty: none. A generator has
        a record more for each guess that was right. Raises NativeError, with nothing done, for what
        the library refuses.
        """
        for at, generator in enumerate(decode):
            self._view_gen[at] = generator
        self._in.n_gen = len(decode)
        if drafts:
            return self._run_with_guesses(drafts, prompts)
        return self._run(prompts)

    def _run_with_guesses(self, drafts: Sequence[int], prompts: Iterable[Prompt]) -> Outcome:
        if len(drafts) != self._in.n_gen:
            raise ValueError(f"{len(drafts)} drafts for {self._in.n_gen} generators")
        for at, most in enumerate(drafts):
            self._view_draft[at] = most
        self._in.n_draft = _address(self._drafts[0])
        try:
            outcome = self._run(prompts)
        finally:
            self._in.n_draft = None
        return outcome._replace(drafted=tuple(self._view_drafted[: len(drafts)].tolist()))

    def _run(self, prompts: Iterable[Prompt]) -> Outcome:
        self._in.n_rows = self._put_rows(prompts)
        if self._has_scores:
            self._run_with_scores()
        elif self._media:
            self._run_with_media()
        else:
            self._check(self._call(self._context.pointer, self._in_ref, self._out_ref))
        out = self._out
        records = self._records(out.n_out) if out.rc == 0 else []
        return Outcome(out.rc, records, out.us_decode, out.us_sample)

    def _run_with_scores(self) -> None:
        self._in.score = _address(self._score)
        try:
            self._run_with_media()
        finally:
            self._in.score, self._in.score_top = None, 0
            self._score.fill(-1)
            self._has_scores = False

    def _run_with_media(self) -> None:
        pieces = (Rows * len(self._media))()
        for piece, (first, media) in zip(pieces, self._media, strict=True):
            piece.first, piece.n, piece.is_whole = first, len(media.numbers), media.is_whole
            piece.start, piece.of, piece.columns = media.start, media.rows, media.columns
            piece.embd = _address(media.numbers)
        self._in.n_media, self._in.media = len(pieces), c.addressof(pieces)
        try:
            self._check(self._call(self._context.pointer, self._in_ref, self._out_ref))
        finally:
            self._in.n_media, self._in.media = 0, None
            self._media.clear()

    def _put_rows(self, prompts: Iterable[Prompt]) -> int:
        rows = self._rows
        at = 0
        for seq, start, tokens, generator, media, scored, top in prompts:
            end = at + len(tokens)
            if end > rows.shape[1]:
                raise ValueError(f"{end} prompt rows, a step has at most {rows.shape[1]}")
            rows[0, at:end] = tokens
            rows[1, at:end] = np.arange(start, start + end - at, dtype=np.int32)
            rows[2, at:end] = seq
            rows[3, at:end] = -1
            if generator is not None:
                rows[3, end - 1] = generator
            if media is not None:
                self._media.append((at, media))
            if scored:
                self._score[at:end] = scored
                self._in.score_top = max(self._in.score_top, top)
                self._has_scores = True
            at = end
        return at

    def _records(self, count: int) -> list[Record]:
        generators, tokens, flags, stops, tops = [row[:count].tolist() for row in self._view_ints]
        offsets = self._view_off[: count + 1].tolist()
        logprobs = self._view_logprob[:count].tolist()
        text = bytes(self._view_text[: offsets[count]])
        return [
            Record(
                generators[i],
                tokens[i],
                text[offsets[i] : offsets[i + 1]].decode(),
                flags[i],
                stops[i],
                *self._logprobs_of(i, logprobs[i], tops[i]),
            )
            if logprobs[i] == logprobs[i]  # NaN: none were asked
            else Record(
                generators[i],
                tokens[i],
                text[offsets[i] : offsets[i + 1]].decode(),
                flags[i],
                stops[i],
            )
            for i in range(count)
        ]

    def _logprobs_of(
        self, i: int, logprob: float, top: int
    ) -> tuple[float, tuple[tuple[int, float], ...]]:
        pairs = zip(
            self._top_tok[i, :top].tolist(), self._top_logprob[i, :top].tolist(), strict=True
        )
        return logprob, tuple(pairs)

    def _make_in(self) -> StepIn:
        tok, pos, seq, out_gen = (_address(row) for row in self._rows)
        return StepIn(
            size=c.sizeof(StepIn),
            flags=0,
            gen=_address(self._gen),
            tok=tok,
            pos=pos,
            seq=seq,
            out_gen=out_gen,
        )

    def _make_out(self, outputs: int) -> StepOut:
        gen, tok, flags, stop_index, n_top = (_address(row) for row in self._out_ints)
        return StepOut(
            size=c.sizeof(StepOut),
            cap_out=outputs,
            n_drafted=_address(self._drafts[1]),
            gen=gen,
            tok=tok,
            flags=flags,
            stop_index=stop_index,
            text_off=_address(self._text_off),
            text=_address(self._text),
            cap_text=self._text.size,
            logprob=_address(self._logprob),
            cap_top=self._cap_top,
            n_top=n_top,
            top_tok=_address(self._top_tok),
            top_logprob=_address(self._top_logprob),
        )


def _address(array: NDArray[Any]) -> int:
    """Where the data lies; the array must outlive every use and never be resized."""
    return array.ctypes.data
