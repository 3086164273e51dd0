"""Chat templates: the analysis is kept, and nothing of one request stays for the next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from runner.binding import Code, Model, NativeError, Template

pytestmark = [pytest.mark.native, pytest.mark.model]

USER = {"role": "user", "content": "Hi"}
TEMPLATES = Path(__file__).parents[2] / "vendor" / "llama.cpp" / "models" / "templates"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_the_model_s_own_template(template: Template) -> None:
    rendered = template.apply({"messages": [{"role": "system", "content": "Be brief."}, USER]})
    assert rendered["prompt"] == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert rendered["generation_prompt"] == "<|im_start|>assistant\n"
    assert (rendered["format"], rendered["parser"]) == ("Content-only", "")
    assert template.info["explicit"] is True
    assert template.info["supports_thinking"] is False


def test_text_parts_are_joined_for_a_template_that_knows_only_strings(template: Template) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    joined = template.apply({"messages": [{"role": "user", "content": parts}]})
    plain = template.apply({"messages": [{"role": "user", "content": "one\ntwo"}]})
    assert joined["prompt"] == plain["prompt"]


def test_the_final_message_is_continued(template: Template) -> None:
    messages = [USER, {"role": "assistant", "content": "The answer is"}]
    rendered = template.apply({"messages": messages, "continue_final_message": True})
    assert rendered["prompt"].endswith("<|im_start|>assistant\nThe answer is")
    assert rendered["parser"] == ""


def test_no_generation_prompt_unless_asked(template: Template) -> None:
    rendered = template.apply({"messages": [USER], "add_generation_prompt": False})
    assert rendered["prompt"].endswith("Hi<|im_end|>\n")


def test_kwargs_and_the_time_reach_the_template(model: Model) -> None:
    with Template(model, "{{ mood }} {{ date_string }} {{ messages[0].content }}") as template:
        request = {"messages": [USER], "chat_template_kwargs": {"mood": "calm"}, "now": 86400 * 2}
        assert template.apply(request)["prompt"] == "calm 03 Jan 1970 Hi"


def test_a_template_without_a_system_role_gets_it_in_the_next_message(model: Model) -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
        "[{{ m.role }}]{{ m.content }}{% endfor %}"
    )
    with Template(model, source) as template:
        rendered = template.apply({"messages": [{"role": "system", "content": "Be"}, USER]})
        assert rendered["prompt"] == "[user]Be\nHi"


def variations() -> list[dict[str, Any]]:
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    return [
        {"messages": [USER]},
        {"messages": [USER], "tools": [tool]},
        {"messages": [USER], "json_schema": schema},
        {"messages": [USER], "enable_thinking": False},
        {"messages": [USER, {"role": "assistant", "content": "Yo"}, USER]},
    ]


@pytest.mark.parametrize("name", ["Qwen-Qwen3-0.6B.jinja", "google-gemma-2-2b-it.jinja"])
def test_an_old_handle_renders_as_a_new_one(model: Model, name: str) -> None:
    path = TEMPLATES / name
    if not path.exists():
        pytest.skip("llama.cpp's sources are not unpacked: python build_native.py")
    source = path.read_text()
    with Template(model, source) as old:
        for request in variations() + variations()[::-1]:
            with Template(model, source) as new:
                assert old.apply(request | {"now": 1}) == new.apply(request | {"now": 1})


def test_applying_again_costs_a_fraction_of_the_analysis(model: Model) -> None:
    began = time.perf_counter()
    with Template(model, CHATML) as template:
        analysed = time.perf_counter() - began

        def apply() -> float:
            started = time.perf_counter()
            template.apply({"messages": [USER]})
            return time.perf_counter() - started

        assert min(apply() for _ in range(5)) < analysed / 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for %}", "chat template"),
        ("{{ messages[0].content | nonsense }}", "chat template"),
        ("x" * (1024 * 1024 + 1), "at most 1048576"),
    ],
    ids=lambda value: value[:20],
)
def test_a_faulty_template_is_refused(model: Model, source: str, message: str) -> None:
    with pytest.raises(NativeError, match=message) as caught:
        Template(model, source)
    assert caught.value.code == Code.PARSE


def test_a_template_s_own_complaint_is_told(model: Model) -> None:
    source = "{% if messages|length > 3 %}{{ raise_exception('too many turns') }}{% endif %}ok"
    with Template(model, source) as template:
        with pytest.raises(NativeError, match="too many turns") as caught:
            template.apply({"messages": [USER] * 4})
        assert caught.value.code == Code.PARSE


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, '"messages" is missing'),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "media_marker", "text": "x"}]}]},
            "media_marker",
        ),
        ({"messages": [], "continue_final_message": True}, "no message to continue"),
        ({"messages": [USER], "tools": [{"type": "magic"}]}, "tools"),
        ({"messages": [USER], "reasoning_format": "loud"}, "loud"),
    ],
    ids=str,
)
def test_a_faulty_conversation_is_refused(
    template: Template, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(NativeError, match=message):
        template.apply(request_)
