"""A gap between two texts as tokens: fill-in-the-middle, as code models were trained for it. Pure.

The order is prefix, suffix, middle (Bavarian et al. 2022, "PSM"); what other files hold comes
before it as in a repository (Qwen2.5-Coder report, section 3.2), where the model has the tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.errors import Kind, RunnerError
from runner.wire.messages import InfillPrompt

NONE = -1
REPOSITORY = "project\n"
FILE = "file\n"
SEPARATOR = "\n\n--- snippet ---\n\n"  # where the model has no token between files


@dataclass(frozen=True, slots=True, kw_only=True)
class InfillTokens:
    """The tokens that mark a gap; -1 for those that a vocabulary does not have."""

    begin: int = NONE  # BOS, where the model wants it
    prefix: int = NONE
    suffix: int = NONE
    middle: int = NONE
    repo: int = NONE
    file: int = NONE

    @property
    def is_complete(self) -> bool:
        """Whether a gap can be asked for."""
        return NONE not in (self.prefix, self.suffix, self.middle)


def find_infill(info: dict[str, Any]) -> InfillTokens:
    """Read the tokens out of ``rn_model_info``."""
    return InfillTokens(begin=info["bos"] if info["add_bos"] else NONE, **info["fim"])


def infill_tokens(
    prompt: InfillPrompt, marks: InfillTokens, tokenize: Callable[[str], list[int]]
) -> list[int]:
    """Return the whole prompt; ``tokenize`` reads plain text.

    Nothing is cut: a prompt that does not fit is refused later, with its numbers. Raises
    RunnerError(MODEL_NOT_SUPPORTED) for a model without the tokens.
    """
    if not marks.is_complete:
        raise RunnerError(
            Kind.MODEL_NOT_SUPPORTED,
            "this model cannot fill a gap: its vocabulary has no tokens for that",
            hint="code models such as Qwen2.5-Coder have them; or send the prompt alone",
            param="suffix",
        )
    return [
        *([] if marks.begin == NONE else [marks.begin]),
        *_surroundings(prompt, marks, tokenize),
        marks.prefix,
        *tokenize(prompt.prefix),
        marks.suffix,
        *tokenize(prompt.suffix),
        marks.middle,
        *tokenize(prompt.start),
    ]


def _surroundings(
    prompt: InfillPrompt, marks: InfillTokens, tokenize: Callable[[str], list[int]]
) -> list[int]:
    if not prompt.extra:
        return []
    tokens: list[int] = []
    if marks.repo != NONE:
        tokens += [marks.repo, *tokenize(REPOSITORY)]
    for snippet in prompt.extra:
        if marks.file != NONE:
            tokens += [marks.file, *tokenize(f"{snippet.filename}\n{snippet.text}")]
        else:
            tokens += tokenize(SEPARATOR + snippet.text)
    # The gap is in a file of its own, whose name nobody told.
    tokens += [marks.file, *tokenize(FILE)] if marks.file != NONE else tokenize(SEPARATOR)
    return tokens
