"""Two hours of conversation, at a turn a minute: a turn computes what is new, and little else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MODEL, Daemon, running_daemon

pytestmark = [pytest.mark.model, pytest.mark.slow]

TURNS = 120
ANSWER = {"max_tokens": 3, "temperature": 0, "ignore_eos": True}


@pytest.fixture
def roomy(_engine: None, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose model holds the whole conversation."""
    with running_daemon(tmp_path, RUNNER_CONTEXT_SIZE="4096", RUNNER_PARALLEL="2") as started:
        yield started
        started.stop()


def ask(daemon: Daemon, messages: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"model": MODEL, "messages": messages, **ANSWER}
    answer = daemon.post("/v1/chat/completions", body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_two_hours_of_turns_stay_in_the_prefix_cache(roomy: Daemon) -> None:
    messages = [{"role": "system", "content": "You are a guide to a small museum."}]
    known = again = sent = 0  # tokens: told before this turn, computed twice, of all prompts
    for turn in range(TURNS):
        messages.append({"role": "user", "content": f"And room {turn}?"})
        answer = ask(roomy, messages)
        usage = answer["usage"]
        again += max(0, known - usage["prompt_tokens_details"]["cached_tokens"])
        sent += usage["prompt_tokens"]
        known = usage["prompt_tokens"] + usage["completion_tokens"]
        messages.append(answer["choices"][0]["message"])
        if turn % 20 == 10:
            # Somebody else's question, which may not cost the conversation its place.
            ask(roomy, [{"role": "user", "content": f"What is {turn}?"}])
    share = again / sent
    print(f"{TURNS} turns, {sent} prompt tokens, {again} of them computed again: {share:.2%}")
    assert sent > 50_000
    assert share < 0.02
