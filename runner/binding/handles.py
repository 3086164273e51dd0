"""Native objects as context managers: each has one owner, and ``close()`` may be called twice.

No work is done in ``__del__``: what is not closed lives as long as the process. Handles may be
closed in any order: a context keeps its model's memory for as long as it needs it.
"""

from __future__ import annotations

import ctypes as c
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from .library import Library, json_bytes
from .prototypes import Buf


class Handle:
    """A native pointer and the function that frees it."""

    _free: str

    def __init__(self, library: Library, pointer: int) -> None:
        self.library = library
        self._pointer: int | None = pointer

    @property
    def pointer(self) -> int:
        """The native pointer; ValueError once closed."""
        if self._pointer is None:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._pointer

    def close(self) -> None:
        """Free the native object."""
        if self._pointer is not None:
            pointer, self._pointer = self._pointer, None
            getattr(self.library, self._free)(pointer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LoadWatch:
    """Seen and written from both sides of a load that runs in another thread."""

    def __init__(self) -> None:
        self.progress = c.c_float(0.0)
        self.stop = c.c_int32(0)

    @property
    def fraction(self) -> float:
        """Share of the model read so far, 0..1."""
        return self.progress.value

    def cancel(self) -> None:
        """Make the load fail with NativeError(CANCELLED) soon."""
        self.stop.value = 1


class Model(Handle):
    """Weights and vocabulary of one GGUF file. Every method may be called by any thread."""

    _free = "rn_model_free"

    def __init__(
        self,
        library: Library,
        path: Path,
        *,
        gpu_layers: int = -1,
        use_mmap: bool = True,
        check_tensors: bool = False,
        watch: LoadWatch | None = None,
    ) -> None:
        watch = watch or LoadWatch()
        settings = {
            "path": str(path),
            "gpu_layers": gpu_layers,
            "use_mmap": use_mmap,
            "check_tensors": check_tensors,
        }
        handle = library.rn_model_load(
            json_bytes(settings), c.byref(watch.progress), c.byref(watch.stop)
        )
        super().__init__(library, library.check_handle(handle))

    def info(self) -> dict[str, Any]:
        """Facts about the model, by the names of ``rn_model_info``."""
        facts: dict[str, Any] = self.library.read(self.library.rn_model_info, self.pointer)
        return facts

    def load_adapter(self, path: Path) -> dict[str, str]:
        """Load a LoRA adapter: its index is the number of those loaded before.

        For the contexts made from now on. Returns what its file says: name, task, prompt_prefix.
        Raises NativeError that says what does not fit.
        """
        buf = Buf()
        self.library.check(
            self.library.rn_adapter_load(self.pointer, str(path).encode(), c.byref(buf))
        )
        return _json_dict(self.library.take(buf))

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Tokens of a text; ``add_special`` adds BOS and EOS where the model wants them."""
        data = text.encode()
        room = len(data) + 2  # a token has at least one byte, but for BOS and EOS
        while True:
            tokens = (c.c_int32 * room)()
            count = self.library.check(
                self.library.rn_tokenize(
                    self.pointer, data, len(data), add_special, parse_special, tokens, room
                )
            )
            if count <= room:
                return tokens[:count]
            room = count

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Bytes of one token, perhaps part of a character; of a control token only if asked."""
        room = 64
        while True:
            data = c.create_string_buffer(room)
            size = self.library.check(
                self.library.rn_token_piece(self.pointer, token, special, data, room)
            )
            if size <= room:
                return data.raw[:size]
            room = size

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        """Bytes of a whole sequence of tokens."""
        array = (c.c_int32 * len(tokens))(*tokens)
        room = 8 * len(tokens) + 64
        while True:
            data = c.create_string_buffer(room)
            size = self.library.check(
                self.library.rn_detokenize(self.pointer, array, len(tokens), special, data, room)
            )
            if size <= room:
                return data.raw[:size]
            room = size

    def check_grammar(self, gbnf: str) -> None:
        """Raise NativeError(GRAMMAR) when the grammar cannot be used."""
        self.library.check(self.library.rn_grammar_check(self.pointer, gbnf.encode()))


@dataclass(frozen=True, slots=True)
class ContextInfo:
    """What a context really has, which may differ from what was asked."""

    n_ctx: int  # KV cells of all sequences
    n_ctx_seq: int  # tokens one sequence may hold
    n_batch: int  # rows of one step
    n_ubatch: int
    n_seq_max: int
    n_outputs_max: int  # rows of one step that may be sampled from
    text_per_record: int  # bytes
    kv_unified: bool
    can_shift: bool
    seq_rm: Literal[
        "part", "full", "rs"
    ]  # what seq_rm can do: any range, whole sequences, a short tail
    state_bytes: int  # of a sequence's saved state: so many,
    token_bytes: int  # and so many more for each token
    memory_bytes: dict[str, int]  # model, context, compute
    window: int  # tokens of a sliding window; 0: no layer has one
    full_window: bool  # those layers have room for all tokens
    window_token_bytes: int  # less in a state for each token before the window


class Context(Handle):
    """KV memory, threads and generators over a model.

    One engine thread owns it. Any thread may call ``new_generator``, ``abort``, and
    ``free_generator`` of one that no running step uses.
    """

    _free = "rn_ctx_free"

    def __init__(self, model: Model, settings: Mapping[str, Any]) -> None:
        """Make a context and warm it up; ``settings`` as ``rn_ctx_new`` takes them."""
        library = model.library
        handle = library.rn_ctx_new(model.pointer, json_bytes(settings))
        super().__init__(library, library.check_handle(handle))
        self.info = ContextInfo(**library.read(library.rn_ctx_info, self.pointer))

    def take_draft(self, draft: Context) -> None:
        """Let ``draft``, a context of a smaller model with the same vocabulary, guess tokens.

        It belongs to this one from then on. Raises NativeError(UNSUPPORTED) where it cannot.
        """
        self.library.check(self.library.rn_ctx_set_draft(self.pointer, draft.pointer))
        draft._pointer = None

    def use_adapters(self, scales: Sequence[float]) -> None:
        """Compute with the model's adapters at these scales, by index, from the next step on."""
        array = (c.c_float * len(scales))(*scales)
        self.library.check(self.library.rn_adapters_use(self.pointer, array, len(scales)))

    def set_threads(self, threads: int, batch_threads: int) -> None:
        """Threads for a step of one row, and for every other."""
        self.library.check(self.library.rn_threads_set(self.pointer, threads, batch_threads))

    def seq_rm(self, seq: int, start: int = 0) -> bool:
        """Forget the rows from ``start`` on; False when this memory cannot."""
        return self.library.check(self.library.rn_seq_rm(self.pointer, seq, start)) == 1

    def seq_cp(self, source: int, target: int, start: int = 0, end: int = -1) -> None:
        """Let the empty ``target`` hold those positions of ``source`` too; see ``rn_seq_cp``."""
        self.library.check(self.library.rn_seq_cp(self.pointer, source, target, start, end))

    def seq_range(self, seq: int) -> tuple[int, int]:
        """First and last position in memory; (-1, -1) when empty."""
        first, last = c.c_int32(), c.c_int32()
        self.library.check(
            self.library.rn_seq_range(self.pointer, seq, c.byref(first), c.byref(last))
        )
        return first.value, last.value

    def state_size(self, seq: int) -> int:
        """Bytes that :meth:`state` gives now."""
        return self.library.check(self.library.rn_seq_state_size(self.pointer, seq))

    def state(self, seq: int) -> NDArray[np.uint8]:
        """Write a sequence's memory down: bytes for :meth:`set_state` of this very context.

        Or of one with the same model, settings and library. The sequence stays as it is.
        """
        data = np.empty(self.state_size(seq), np.uint8)
        self.library.check(
            self.library.rn_seq_state_get(self.pointer, seq, data.ctypes.data, data.nbytes)
        )
        return data

    def set_state(self, seq: int, state: NDArray[np.uint8], tokens: Sequence[int]) -> None:
        """Put a state back into an empty sequence; ``tokens`` is the text that it stands for.

        Raises NativeError when it does not fit or there is no room; the sequence is empty then.
        The library trusts the content: give it only what :meth:`state` gave.
        """
        array = (c.c_int32 * len(tokens))(*tokens)
        self.library.check(
            self.library.rn_seq_state_set(
                self.pointer, seq, state.ctypes.data, state.nbytes, array, len(tokens)
            )
        )

    def clear(self) -> None:
        """Empty all sequences."""
        self.library.check(self.library.rn_kv_clear(self.pointer))

    def score(self, seq: int, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Log-probability of each token but the first, over the raw logits; see ``rn_score``.

        The sequence must be empty, and is so again.
        """
        array = np.asarray(tokens, dtype=np.int32)
        logprob = np.empty(max(len(array) - 1, 0), dtype=np.float32)
        self.library.check(
            self.library.rn_score(
                self.pointer,
                seq,
                array.ctypes.data_as(c.POINTER(c.c_int32)),
                len(array),
                logprob.ctypes.data_as(c.POINTER(c.c_float)),
            )
        )
        return logprob

    def new_generator(self, settings: Mapping[str, Any]) -> int:
        """Make a generator; ``settings`` as ``rn_gen_new`` takes them. Any thread."""
        return self.library.check(self.library.rn_gen_new(self.pointer, json_bytes(settings)))

    def schema_to_grammar(self, schema_json: str) -> str:
        """Return the GBNF that a schema becomes. Any thread."""
        return self.library.schema_to_grammar(schema_json)

    def bind(self, generator: int, seq: int, n_past: int, tail: Sequence[int] = ()) -> None:
        """Put a generator on a sequence that has, or is about to get, ``n_past`` tokens."""
        array = (c.c_int32 * len(tail))(*tail)
        self.library.check(
            self.library.rn_gen_bind(self.pointer, generator, seq, n_past, array, len(tail))
        )

    def free_generator(self, generator: int) -> None:
        """Give a generator back; its number may be used again."""
        self.library.check(self.library.rn_gen_free(self.pointer, generator))

    def abort(self) -> None:
        """Make the step that runs now end with rc 2. Any thread."""
        self.library.check(self.library.rn_abort(self.pointer))

    def perf(self, *, reset: bool = False) -> dict[str, Any]:
        """Counters of llama.cpp since the last reset."""
        buf = Buf()
        self.library.check(self.library.rn_perf(self.pointer, c.byref(buf), reset))
        return _json_dict(self.library.take(buf))


class Template(Handle):
    """A chat template of a model. Every method may be called by any thread."""

    _free = "rn_tmpl_free"

    def __init__(self, model: Model, override: str | None = None) -> None:
        """Parse the model's own template, or ``override``; NativeError(PARSE) when it is faulty."""
        library = model.library
        buf = Buf()
        source = None if override is None else override.encode()
        handle = library.rn_tmpl_new(model.pointer, source, c.byref(buf))
        super().__init__(library, library.check_handle(handle))
        self.info = _json_dict(library.take(buf))

    def apply(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Render a conversation; names in and out as at ``rn_tmpl_apply``."""
        rendered: dict[str, Any] = self.library.read(
            self.library.rn_tmpl_apply, self.pointer, json_bytes(request)
        )
        return rendered


class Parser(Handle):
    """Splits one answer into content, reasoning and tool calls as it comes."""

    _free = "rn_parser_free"

    def __init__(self, library: Library, settings: Mapping[str, Any]) -> None:
        """``settings`` come from :meth:`Template.apply`; see ``rn_parser_new``."""
        handle = library.rn_parser_new(json_bytes(settings))
        super().__init__(library, library.check_handle(handle))

    def feed(
        self, text: str, *, is_final: bool = False, is_cut: bool = False
    ) -> list[dict[str, Any]]:
        """Add text and return what is new: see ``rn_parser_feed`` for the members.

        ``is_cut``: it is final because there was no room for more.
        """
        data = text.encode()
        end = 2 if is_cut else int(is_final)
        deltas: list[dict[str, Any]] = self.library.read(
            self.library.rn_parser_feed, self.pointer, data, len(data), end
        )
        return deltas

    @property
    def work(self) -> int:
        """Rules tried and bytes read so far: see ``rn_parser_work``."""
        return int(self.library.rn_parser_work(self.pointer))


def _json_dict(data: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(data)
    return value
