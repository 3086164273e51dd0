"""Text that repeats the prompt: what guessing tokens from the text itself is worth.

Repeating, summarising and editing copy much of the prompt, so a server may guess the next tokens
from it and check them all in one step. Greedy, so that the answer must be the same with and
without: guessing may change when tokens come, never which. Tokens are counted by the server's
usage: one arrival may hold several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import alone, harness
from benchmarks.client import Answer, Target, chat, check

TOKENS = 96

STORY = """\
The lighthouse keeper woke before dawn and climbed the hundred and twelve steps to the lamp
room. The night had been long, and a storm from the north had thrown salt against every window.
He cleaned the glass with a soft cloth, filled the oil, and wrote the state of the sea into the
book that his father had begun forty years ago. At six the mail boat came around the point. Its
captain waved, put two sacks and a crate of oranges on the pier, and was gone again before the
keeper had come down all the steps."""
CODE = """def total_price(items, tax_rate):
    subtotal = 0
    for item in items:
        subtotal += item.price * item.quantity
    tax = subtotal * tax_rate
    return subtotal + tax


def average_price(items, tax_rate):
    if not items:
        return 0
    return total_price(items, tax_rate) / len(items)
"""
TASKS = {
    "repeat": f"Repeat the following text word for word, and nothing else.\n\n{STORY}",
    "summarise": f"Summarise the following text. Quote its sentences where you can.\n\n{STORY}",
    "edit text": f"Write this text again with 'boat' replaced by 'ship'.\n\n{STORY}",
    "edit code": f"Rename tax_rate to rate. Write the whole code again.\n\n```python\n{CODE}```",
}


@dataclass(frozen=True, slots=True)
class Copy:
    """One task's answer, as far as it is compared."""

    text: str
    tokens_per_s: float
    drafted: int
    accepted: int


async def copies(target: Target) -> dict[str, Copy]:
    """Do all tasks, one after another; the answers' prompts come from the cache when repeated."""
    return {task: _copy(await _ask(target, content)) for task, content in TASKS.items()}


async def measure(target: Target, seed: str) -> alone.Figures:
    """Do all tasks; tokens a second of each and of all. The seed changes nothing: it is greedy."""
    done = await copies(target)
    drafted = sum(copy.drafted for copy in done.values())
    return {
        "tok/s": harness.median([copy.tokens_per_s for copy in done.values()]),
        **{f"{task} tok/s": copy.tokens_per_s for task, copy in done.items()},
        "accepted": sum(copy.accepted for copy in done.values()) / drafted if drafted else 0.0,
    }


def compare(
    guessing: Sequence[dict[str, Copy]], plain: Sequence[dict[str, Copy]]
) -> list[dict[str, Any]]:
    """One row a task out of measurements in turn, with and without guessing."""
    rows = []
    for task in TASKS:
        speeds = harness.Comparison(
            tuple(copies[task].tokens_per_s for copies in guessing),
            tuple(copies[task].tokens_per_s for copies in plain),
        )
        drafted = sum(copies[task].drafted for copies in guessing)
        accepted = sum(copies[task].accepted for copies in guessing)
        texts = {copies[task].text for copies in (*guessing, *plain)}
        rows.append(
            {
                "task": task,
                **speeds.row("guessing tok/s", "plain tok/s"),
                "accepted": accepted / drafted if drafted else float("nan"),
                "identical": "yes" if len(texts) == 1 else "no",
            }
        )
    return rows


async def _ask(target: Target, content: str) -> Answer:
    body = {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "stream_options": {"include_usage": True},
    }
    answer = await chat(target, body)
    check([answer])
    return answer


def _copy(answer: Answer) -> Copy:
    return Copy(
        answer.text,
        answer.decode_tokens_per_s,
        answer.timings.get("draft_n", 0),
        answer.timings.get("draft_n_accepted", 0),
    )


def main(argv: list[str]) -> int:
    """Measure one server; ``peer`` compares ours with and without guessing."""
    options = alone.arguments("copying", __doc__).parse_args(argv)
    return alone.run("copying", options, measure)
