"""Calls in the formats of all templates of the vendored tree: forced, and parsed as they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.binding import Flag, Library, Model, Parser
from runner.worker.conversation import Turn

from .driver import Engine
from .test_parser import run
from .test_template_files import FILES, USER, Rendering, asked

pytestmark = [pytest.mark.native, pytest.mark.model]

DAYS = {
    "type": "object",
    "properties": {"days": {"type": "integer", "enum": [7], "description": "how many"}},
    "required": ["days"],
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": DAYS}}
    for name in ("weather", "time")
]
MOST_TOKENS = 48


def answer(engine: Engine, turn: Turn) -> tuple[str, int]:
    """What the model says under the turn's grammar, thinking little; and how it ended."""
    settings: dict[str, Any] = {**turn.grammar, "preserved_tokens": turn.preserved_tokens}
    if turn.budget is not None:
        settings["reasoning_budget"] = turn.budget
    # Ids and the like are free in some formats: a small model repeats itself there for ever.
    free = {"temperature": 0, "frequency_penalty": 2.0, "max_tokens": MOST_TOKENS}
    said = engine.complete("x", **free, **settings)
    return said.text, said.last.flags


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_call_that_must_be_made_comes_first_and_is_parsed_as_it_comes(
    library: Library, model: Model, shared: Engine, path: Path
) -> None:
    prompt = asked(
        USER,
        tools=TOOLS,
        tool_choice="required",
        allowed_tools=("weather",),
        parallel_tool_calls=False,
        reasoning_budget=3,
    )
    with Rendering(model, path.read_text()) as rendering:
        turn = rendering.render(prompt, None)
    assert isinstance(turn, Turn), turn
    assert turn.parser is not None
    text, flags = answer(shared, turn)
    is_cut = flags == Flag.LENGTH
    totals = []
    for size in (len(text), 1):
        with Parser(library, turn.parser) as parser:
            total = run(parser, text, size, is_cut=is_cut)
        totals.append(total | {"content": total["content"].strip()})
    whole, by_characters = totals
    assert whole == by_characters
    assert not whole["unparsed"], text
    assert whole["content"] == "", text
    assert whole["calls"] or is_cut, text
    for call in whole["calls"].values():
        assert call["name"] == "weather"
        if not is_cut:
            json.loads(call["arguments"])
