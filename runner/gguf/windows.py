"""Blocks whose attention looks back no further than a window: told by keys, else by architecture.

The table follows llama.cpp's ``load_arch_hparams`` (``src/models/*.cpp``): what a file leaves out
is known there from the architecture's name.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.gguf.values import Gguf


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window; all zero where there is none."""

    tokens: int = 0
    share: float = 0.0  # of the blocks that keep cells


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One block in every ``every`` sees everything: the last of them, or the first."""

    every: int
    dense_first: bool = False
    usual_tokens: int = 0  # where the file does not say; 0: there is no window then
    fixed_tokens: int = 0  # whatever the file says, unless it says 0

    def is_window(self, block: int) -> bool:
        """As ``llama_hparams::set_swa_pattern``."""
        if self.every == 0:
            return True
        return block % self.every != (0 if self.dense_first else self.every - 1)


PATTERNS = {
    "afmoe": _Pattern(4),
    "cohere2": _Pattern(4),
    "cohere2moe": _Pattern(4, dense_first=True),
    "exaone-moe": _Pattern(4),
    "exaone4": _Pattern(4, usual_tokens=4096),
    "gemma-embedding": _Pattern(6),
    "gemma2": _Pattern(2, usual_tokens=4096),
    "gemma3": _Pattern(6),
    "gemma3n": _Pattern(5),
    "gpt-oss": _Pattern(2),
    "laguna": _Pattern(4, dense_first=True),
    "llama4": _Pattern(4, usual_tokens=8192, fixed_tokens=8192),
    "mellum": _Pattern(4),
    "modern-bert": _Pattern(3, dense_first=True),
    "muse-glimmer": _Pattern(4),
    "olmo2": _Pattern(4),
    "plamo3": _Pattern(8),
    "smallthinker": _Pattern(4, dense_first=True, fixed_tokens=4096),
}
_EXAONE4_BLOCKS = 64  # its 32B has windows, the smaller ones have none
_HYBRIDS = frozenset({"lfm2"})  # every block that is not recurrent has the window


def find_window(gguf: Gguf) -> Window:
    """Tell how far back some blocks look, and how many of those that keep cells do.

    Architectures that are not in the table have a window if an array of the file says which
    blocks: no other key makes llama.cpp give them a cache of its size.
    """
    architecture = gguf.architecture or ""
    pattern = PATTERNS.get(architecture)
    tokens = _tokens(gguf, architecture, pattern)
    blocks = gguf.integer(f"{architecture}.block_count") or 0
    if not tokens or (architecture == "exaone4" and blocks != _EXAONE4_BLOCKS):
        return Window()
    if architecture in _HYBRIDS:
        return Window(tokens, 1.0)
    share = _share(gguf, architecture, pattern, blocks=blocks)
    return Window(tokens, share) if share else Window()


def _tokens(gguf: Gguf, architecture: str, pattern: _Pattern | None) -> int:
    told = gguf.integer(f"{architecture}.attention.sliding_window")
    if told is None:
        return pattern.usual_tokens if pattern else 0
    return (pattern.fixed_tokens if pattern and told else 0) or max(0, told)


def _share(gguf: Gguf, architecture: str, pattern: _Pattern | None, *, blocks: int) -> float:
    key = f"{architecture}.attention.sliding_window_pattern"
    told = gguf.array(key)
    if told is not None:
        numbers = told.numbers()
        return sum(map(bool, numbers)) / len(numbers) if numbers else 0.0
    if pattern is None or not blocks:
        return 0.0
    every = gguf.integer(key)
    if every is not None and every >= 0:
        pattern = _Pattern(every, pattern.dense_first)
    return sum(map(pattern.is_window, range(blocks))) / blocks
