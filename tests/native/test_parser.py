"""Answers split into content, reasoning and tool calls as they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.binding import Library, Model, NativeError, Parser, Template

pytestmark = [pytest.mark.native, pytest.mark.model]

QWEN = Path(__file__).parents[2] / "vendor/llama.cpp/models/templates/Qwen-Qwen3-0.6B.jinja"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PARSER_KEYS = ("format", "parser", "generation_prompt")


@pytest.fixture
def settings(model: Model) -> dict[str, Any]:
    """What a parser needs for a thinking model with one tool."""
    if not QWEN.exists():
        pytest.skip("llama.cpp's sources are not unpacked: python build_native.py")
    with Template(model, QWEN.read_text()) as template:
        rendered = template.apply({"messages": [{"role": "user", "content": "?"}], "tools": [TOOL]})
    return {key: rendered[key] for key in PARSER_KEYS}


def run(parser: Parser, text: str, size: int, *, is_cut: bool = False) -> dict[str, Any]:
    """Feed the text in pieces and add the deltas up."""
    total: dict[str, Any] = {"content": "", "reasoning": "", "calls": {}, "unparsed": False}
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    deltas = [delta for piece in pieces for delta in parser.feed(piece)]
    for delta in deltas + parser.feed("", is_final=True, is_cut=is_cut):
        total["content"] += delta.get("content", "")
        total["reasoning"] += delta.get("reasoning_content", "")
        total["unparsed"] |= delta.get("unparsed", False)
        if call := delta.get("tool_call"):
            known = total["calls"].setdefault(call["index"], {"name": "", "arguments": ""})
            known["name"] = call.get("name") or known["name"]
            known["arguments"] += call["arguments"]
    return total


def test_plain_text_passes_as_it_comes(library: Library) -> None:
    with Parser(library, {"format": "Content-only", "parser": ""}) as parser:
        assert parser.feed("Hel") == [{"content": "Hel"}]
        assert parser.feed("lo") == [{"content": "lo"}]
        assert parser.feed("", is_final=True) == []


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_reasoning_and_a_tool_call_are_told_apart(
    library: Library, settings: dict[str, Any], size: int
) -> None:
    text = (
        "<think>\nI should look.\n</think>\n\n<tool_call>\n"
        '{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    )
    with Parser(library, settings) as parser:
        total = run(parser, text, size)
    assert total["reasoning"].strip() == "I should look."
    assert total["calls"][0]["name"] == "weather"
    assert json.loads(total["calls"][0]["arguments"]) == {"city": "Rome"}
    assert not total["unparsed"]


@pytest.mark.parametrize("size", [1, 1000])
def test_text_that_does_not_fit_the_format_is_not_lost(
    library: Library, settings: dict[str, Any], size: int
) -> None:
    with Parser(library, settings) as parser:
        total = run(parser, "<think>\nx\n</think>\n\n<tool_call>\nnonsense\n</tool_call>", size)
    assert total["unparsed"]
    assert "nonsense" in total["content"]


@pytest.mark.parametrize("size", [1, 1000])
def test_a_call_that_was_cut_off_is_told_as_far_as_it_came(
    library: Library, settings: dict[str, Any], size: int
) -> None:
    text = '<think>\nx\n</think>\n\n<tool_call>\n{"name": "weather", "arguments": {"city": "Ro'
    with Parser(library, settings) as parser:
        total = run(parser, text, size, is_cut=True)
    assert (total["reasoning"].strip(), total["content"].strip()) == ("x", "")
    assert not total["unparsed"]
    assert total["calls"] == {0: {"name": "weather", "arguments": '{"city": "Ro'}}


def test_an_unknown_format_is_refused(library: Library) -> None:
    with pytest.raises(NativeError, match="unknown"):
        Parser(library, {"format": "telepathy"})
