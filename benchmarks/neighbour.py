"""One stream beside a busy process: what a compiler or a browser tab costs.

Tokens a second of one stream, first with the cores to itself, then beside one process that never
waits, which ends with the measurement. Threads that spin while they wait for each other collapse.
"""

from __future__ import annotations

from benchmarks import alone, prompts
from benchmarks.client import Target, chat_for, check
from benchmarks.processes import busy_process

TOKENS = 48
LIMIT_S = 12.0  # of one answer: a server that collapses is cut off, and its arrivals counted


async def measure(target: Target, seed: str) -> alone.Figures:
    """Decode alone, then beside a busy process."""
    idle = await _decode(target, f"{seed}/idle")
    with busy_process(2 * LIMIT_S):
        busy = await _decode(target, f"{seed}/busy")
    return {"tok/s busy": busy, "tok/s idle": idle, "share of idle": busy / idle}


async def _decode(target: Target, seed: str) -> float:
    body = prompts.sampled(prompts.story(40, seed), TOKENS)
    answer = await chat_for(target, body, LIMIT_S)
    check([answer])
    return answer.decode_tokens_per_s


def main(argv: list[str]) -> int:
    """Measure one server."""
    options = alone.arguments("neighbour", __doc__).parse_args(argv)
    return alone.run("neighbour", options, measure)
