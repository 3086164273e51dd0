"""llama-server's flags, as far as they set what may be set: everything else is refused. Pure.

Docker's ``--runtime-flags`` and Compose's ``runtime_flags`` are written so. No flag that names a
file, an address or a key is known here, so none can be passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from runner.errors import Kind, RunnerError
from runner.service.options import Options

MAX_INTEGER = 2**31 - 1


class Flag(NamedTuple):
    """One option: its flags, the first of which is how we write it."""

    name: str  # field of Options
    spellings: tuple[str, ...]
    parse: Callable[[str], Any]  # ValueError's text says what is expected


def parse_flags(words: Sequence[str], *, param: str) -> Options:
    """Read flags; raise RunnerError(INVALID_REQUEST) for one that is not known, or a bad value.

    ``param`` is the request's field that has them. A flag may be ``--flag value`` or
    ``--flag=value``; the last of several counts.
    """
    found: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        spelling, has_value, value = word.partition("=")
        if spelling in WITHOUT_EFFECT:
            continue
        if spelling in SWITCHES:
            name, meaning = SWITCHES[spelling]
            found[name] = meaning
            continue
        flag = _BY_SPELLING.get(spelling)
        if flag is None:
            raise _refused(f"{spelling[:80]!r} is not a flag that can be set for a model", param)
        try:
            found[flag.name] = flag.parse(value if has_value else _next(rest))
        except ValueError as expected:
            raise _refused(f"{spelling} takes {expected}", param) from None
    return Options(**found)


def render_flags(options: Options) -> list[str]:
    """Write what is set as flags, in the order of the table."""
    stated = options.stated()
    words: list[str] = []
    for flag in FLAGS:
        if flag.name in stated:
            words += [flag.spellings[0], _render(stated[flag.name])]
    layout = {"unified": ["--kv-unified"], "streams": ["--no-kv-unified"]}
    return words + layout.get(stated.get("kv_layout", ""), [])


def whole(low: int, high: int = MAX_INTEGER) -> Callable[[str], int]:
    """Parse a whole number out of ``low``..``high``."""

    def parse(text: str) -> int:
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) < 12 and low <= int(text) <= high:
            return int(text)
        raise ValueError(f"a whole number from {low} to {high}")

    return parse


def decimal(low: float, high: float) -> Callable[[str], float]:
    """Parse a number out of ``low``..``high``."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = high + 1
        if low <= number <= high:
            return number
        raise ValueError(f"a number from {low:g} to {high:g}")

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Parse one of some words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return parse


def switch(text: str) -> bool | None:
    """Parse on or off; ``auto`` is no wish."""
    meanings = {"on": True, "1": True, "off": False, "0": False, "auto": None}
    if text not in meanings:
        raise ValueError("on, off or auto")
    return meanings[text]


def _layers(text: str) -> int:
    return -1 if text in ("all", "auto") else whole(-1)(text)


_KV = one_of("f32", "f16", "bf16", "q8_0", "q4_0")

FLAGS = (
    Flag("context_size", ("--ctx-size", "-c"), whole(1)),
    Flag("parallel", ("--parallel", "-np"), whole(1, 128)),
    Flag("threads", ("--threads", "-t"), whole(1, 512)),
    Flag("threads_batch", ("--threads-batch", "-tb"), whole(1, 512)),
    Flag("batch_size", ("--batch-size", "-b"), whole(2, 65_536)),
    Flag("ubatch_size", ("--ubatch-size", "-ub"), whole(1, 65_536)),
    Flag("flash_attention", ("--flash-attn", "-fa"), switch),
    # K and V are of one type here, so that either flag sets it.
    Flag("kv_type", ("--cache-type-k", "-ctk", "--cache-type-v", "-ctv"), _KV),
    Flag("gpu_layers", ("--n-gpu-layers", "-ngl", "--gpu-layers"), _layers),
    Flag("seed", ("--seed", "-s"), whole(0, 2**32 - 1)),
    Flag("temperature", ("--temp", "--temperature"), decimal(0, 2)),
    Flag("top_k", ("--top-k",), whole(0)),
    Flag("top_p", ("--top-p",), decimal(0, 1)),
    Flag("min_p", ("--min-p",), decimal(0, 1)),
    Flag("typical_p", ("--typical", "--typical-p"), decimal(0, 1)),
    Flag("repeat_penalty", ("--repeat-penalty",), decimal(0, 10)),
    Flag("repeat_last_n", ("--repeat-last-n",), whole(-1)),
    Flag("presence_penalty", ("--presence-penalty",), decimal(-2, 2)),
    Flag("frequency_penalty", ("--frequency-penalty",), decimal(-2, 2)),
    Flag("reasoning_budget", ("--reasoning-budget",), whole(-1)),
)
SWITCHES: dict[str, tuple[str, Any]] = {
    "--kv-unified": ("kv_layout", "unified"),
    "-kvu": ("kv_layout", "unified"),
    "--no-kv-unified": ("kv_layout", "streams"),
}
# What is always so here: which kind of model it is, its header says.
WITHOUT_EFFECT = frozenset(
    {"--embeddings", "--embedding", "--reranking", "--rerank", "--jinja", "--metrics", "--slots"}
)
_BY_SPELLING = {spelling: flag for flag in FLAGS for spelling in flag.spellings}


def _next(rest: Iterator[str]) -> str:
    try:
        return next(rest)
    except StopIteration:
        raise ValueError("a value") from None


def _render(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _refused(problem: str, param: str) -> RunnerError:
    known = [*(flag.spellings[0] for flag in FLAGS), "--kv-unified", "--no-kv-unified"]
    return RunnerError(
        Kind.INVALID_REQUEST,
        f"{param}: {problem}",
        hint="what can be set: " + " ".join(known),
        param=param,
    )
