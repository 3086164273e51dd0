"""Answers split into content, reasoning and tool calls as they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.binding import Library, Model, NativeError, Parser, Template

pytestmark = [pytest.mark.native, pytest.mark.model]

TEMPLATES = Path(__file__).parents[2] / "vendor/llama.cpp/models/templates"
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
    return settings_of(model, "Qwen-Qwen3-0.6B")


def settings_of(model: Model, template_name: str) -> dict[str, Any]:
    path = TEMPLATES / f"{template_name}.jinja"
    if not path.exists():
        pytest.skip("llama.cpp's sources are not unpacked: python build_native.py")
    with Template(model, path.read_text()) as template:
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


def test_arguments_nested_deeper_than_any_stack_are_text(
    library: Library, settings: dict[str, Any]
) -> None:
    nested = "[" * 100_000
    text = f'<think>\nx\n</think>\n\n<tool_call>\n{{"name": "weather", "arguments": {{"a": {nested}'
    with Parser(library, settings) as parser:
        total = run(parser, text, 10_000)
    assert total["unparsed"]
    assert total["content"].endswith(nested[:90_000])


CODE = "for i in range(10):\n    print(i < 7, '</', {}, [])\n"
TAGGED = "<tool_call>\n<function=weather>\n<parameter=city>\n"
JSON = '<tool_call>\n{"name": "weather", "arguments": {"city": '


@pytest.mark.parametrize(
    ("template", "beginning", "more"),
    [
        ("Qwen-Qwen3-0.6B", "<think>\n", CODE),
        ("Qwen-Qwen3-0.6B", "<think>\nx\n</think>\n\n", CODE),
        ("Qwen-Qwen3-0.6B", JSON + '"', json.dumps(CODE)[1:-1]),
        ("Qwen-Qwen3-0.6B", JSON + "[", '{"x": [7, "é", null]}, '),
        ("Qwen3-Coder", TAGGED, CODE),
        ("google-gemma-4-31B-it", '<|tool_call>call:weather{city:<|"|>', CODE),
        ("openai-gpt-oss-120b", "<|channel|>analysis<|message|>", CODE),
    ],
)
def test_a_text_in_small_pieces_costs_what_its_length_is(
    library: Library, model: Model, template: str, beginning: str, more: str
) -> None:
    works = []
    for times in (0, 200, 400):
        with Parser(library, settings_of(model, template)) as parser:
            run(parser, beginning + times * more, 4)
            works.append(parser.work)
    assert works[2] - works[1] == pytest.approx(works[1] - works[0], rel=0.02)
    assert works[2] - works[0] < 60 * 400 * len(more)  # parsing it anew each time: 4000 and more


def test_an_unknown_format_is_refused(library: Library) -> None:
    with pytest.raises(NativeError, match="unknown"):
        Parser(library, {"format": "telepathy"})
