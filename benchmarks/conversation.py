"""Twenty turns of one conversation: what of it is computed again, and how soon each answer begins.

The client sends the whole history each time, as clients do. Computed again counts the tokens that
the server had computed in the turn before, as prompt or as answer, and did not take from its cache.
"""

from __future__ import annotations

import itertools

from benchmarks import alone, harness, prompts
from benchmarks.client import Answer, Target, chat, check

TURNS, USER_TOKENS, TOKENS = 20, 30, 24


async def measure(target: Target, seed: str) -> alone.Figures:
    """Talk; milliseconds to first tokens, share 0..1 of all prompt tokens computed again."""
    messages: prompts.Messages = [{"role": "system", "content": f"Be brief. {seed}"}]
    answers: list[Answer] = []
    for turn in range(TURNS):
        content = prompts.essay(USER_TOKENS, f"{seed}/{turn}")
        messages.append({"role": "user", "content": f"{content}. Go on with the story."})
        answer = await chat(target, prompts.sampled(messages, TOKENS))
        check([answer])
        answers.append(answer)
        messages.append({"role": "assistant", "content": answer.text})
    first_ms = [1e3 * answer.first_token_s for answer in answers]
    return {
        "TTFT p50 ms": harness.median(first_ms),
        "TTFT of turn 2 ms": first_ms[1],
        f"TTFT of turn {TURNS} ms": first_ms[-1],
        "computed again": computed_again(answers),
        "prompt tokens": float(answers[-1].prompt_tokens),
    }


def computed_again(answers: list[Answer]) -> float:
    """Share of all prompt tokens that the turn before had computed and the cache did not give."""
    again = [
        max(0, before.prompt_tokens + before.completion_tokens - after.cached_tokens)
        for before, after in itertools.pairwise(answers)
    ]
    return sum(again) / sum(answer.prompt_tokens for answer in answers)


def main(argv: list[str]) -> int:
    """Measure one server."""
    options = alone.arguments("conversation", __doc__).parse_args(argv)
    return alone.run("conversation", options, measure)
