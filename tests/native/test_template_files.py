"""All templates of the vendored tree: what is kept of one changes nothing for what comes next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.binding import Model, NativeError, Parser, Template
from runner.wire.messages import ChatPrompt
from runner.worker import plain_tools
from runner.worker.conversation import Conversations, Turn

pytestmark = [pytest.mark.native, pytest.mark.model]

FOLDER = Path(__file__).parents[2] / "vendor" / "llama.cpp" / "models" / "templates"
FILES = sorted(FOLDER.glob("*.jinja"))

USER = {"role": "user", "content": "What is the weather?"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
NOW = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
SCHEMA = '{"type":"object","properties":{"x":{"type":"integer"}}}'
CALLED = [
    {"role": "system", "content": "Be brief."},
    USER,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call12345",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call12345", "content": "sunny"},
]
THOUGHT = {"role": "assistant", "content": "Sunny.", "reasoning_content": "Hm."}


def asked(*messages: Any, tools: list[Any] | None = None, **members: Any) -> ChatPrompt:
    """Put a prompt together as ``api`` does."""
    tools_json = None if tools is None else json.dumps(tools)
    return ChatPrompt(messages_json=json.dumps(messages), tools_json=tools_json, **members)


BOTH = [WEATHER, NOW]
PROMPTS: list[tuple[ChatPrompt, str | None]] = [
    (asked(USER), None),
    (asked(*CALLED), None),
    (asked(USER, THOUGHT, USER), None),
    (asked(USER, {"role": "assistant", "content": "It is"}, continue_final_message=True,
           add_generation_prompt=False), None),
    (asked(USER, enable_thinking=False), SCHEMA),
    (asked(USER, tools=BOTH), None),
    (asked(USER, tools=BOTH), SCHEMA),
    (asked(*CALLED, tools=BOTH, parallel_tool_calls=True), None),
    (asked(USER, tools=BOTH, tool_choice="required"), None),
    (asked(USER, tools=BOTH, tool_choice="required", tool_name="now"), None),
    (asked(*CALLED, tools=BOTH, tool_choice="none"), None),
]  # fmt: skip


class Rendering:
    """Conversations over handles of its own, as the worker makes them."""

    def __init__(self, model: Model, source: str) -> None:
        self._own = Template(model, source)
        caps = self._own.info["caps"]
        knows = caps.get("supports_tools") and caps.get("supports_tool_calls")
        thinks = self._own.info["supports_thinking"]
        plain = plain_tools.THINKING_TEMPLATE if thinks else plain_tools.TEMPLATE
        self._plain = None if knows else Template(model, plain)
        library = model.library
        self._conversations = Conversations(
            self._own, partial(Parser, library), library.schema_to_grammar, self._plain
        )

    def __enter__(self) -> Rendering:
        return self

    def __exit__(self, *_: object) -> None:
        for template in (self._own, self._plain):
            if template is not None:
                template.close()

    def render(self, prompt: ChatPrompt, schema: str | None) -> Turn | str:
        """Return the turn, or what the template says against the conversation."""
        try:
            return self._conversations.render(prompt, schema, now_s=86400)
        except NativeError as error:
            return error.message


@pytest.fixture(scope="module")
def fresh(model: Model) -> Iterator[Any]:
    """Render with handles that never saw another conversation."""

    def render(source: str, prompt: ChatPrompt, schema: str | None) -> Turn | str:
        with Rendering(model, source) as rendering:
            return rendering.render(prompt, schema)

    yield render


def test_the_files_are_there() -> None:
    if not FOLDER.exists():
        pytest.skip("llama.cpp's sources are not unpacked: python build_native.py")
    assert len(FILES) >= 70


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_kept_handle_renders_as_a_new_one(model: Model, fresh: Any, path: Path) -> None:
    source = path.read_text()
    with Rendering(model, source) as kept:
        turns = [kept.render(*asked) for asked in PROMPTS]
        again = [kept.render(*asked) for asked in reversed(PROMPTS)]
    assert again[::-1] == turns
    assert any(isinstance(turn, Turn) for turn in turns)
    for asked, turn in zip(PROMPTS, turns, strict=True):
        assert fresh(source, *asked) == turn


SHARE = {"type": "number", "minimum": 2, "exclusiveMaximum": 4}
SHARED = {"type": "object", "properties": {"share": SHARE}, "required": ["share"]}
SPLIT = {"type": "function", "function": {"name": "split", "parameters": SHARED}}
SHARE_RULE = '([2-3] ("." [0-9]{1,14})?)'
# Their calls are no JSON: llama.cpp holds them to their form and not to their schema.
LOOSE = ("google-gemma-4", "Kimi-K3", "LFM2.5-8B")
CONSTANT = "8031962481"  # begins what stands for a number while the grammar is made


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bounded_number_is_shown_whole_and_held(model: Model, path: Path) -> None:
    cases = [
        (asked(USER, tools=[SPLIT], tool_choice="required"), None, 1),
        (asked(USER, tools=[SPLIT]), None, 1),
        (asked(USER, tools=[SPLIT, NOW], tool_choice="required", tool_name="split"), None, 1),
        (asked(USER, tools=[SPLIT]), json.dumps(SHARED), 2),
        (asked(USER, tools=[SPLIT], tool_choice="none"), json.dumps(SHARED), 1),
    ]
    with Rendering(model, path.read_text()) as rendering:
        for prompt, schema, rules in cases:
            turn = rendering.render(prompt, schema)
            if isinstance(turn, str):
                continue  # the template takes no such conversation
            assert CONSTANT not in turn.text
            if turn.grammar:
                grammar = turn.grammar["grammar"]
                assert CONSTANT not in grammar
                is_loose = prompt.tool_choice != "none" and path.stem.startswith(LOOSE)
                assert grammar.count(SHARE_RULE) == rules - is_loose
                model.check_grammar(grammar)
