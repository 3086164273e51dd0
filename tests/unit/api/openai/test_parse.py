"""The whole request: B4 to B11 of demands-security.md, C.2 and C.4 of llama-engine.md."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.api.asking import ChatRequest
from runner.api.openai.parse import parse, parse_model_name
from runner.errors import Kind, RunnerError
from runner.wire.messages import AdapterScale, ChatPrompt, Sampling, Submit

NAMED = {"type": "function", "function": {"name": "f"}}
USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hel"}
THOUGHT = {"role": "assistant", "reasoning_content": "Well, "}


def request(**members: Any) -> ChatRequest:
    return parse({"model": "m", "messages": [USER], **members})


def refusal(**members: Any) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        request(**members)
    return caught.value


def test_the_least_request() -> None:
    assert request() == ChatRequest(
        model="m",
        prompt=ChatPrompt(messages_json='[{"role":"user","content":"Hi"}]'),
        sampling=Sampling(),
        max_tokens=None,
        stop=(),
        choices=1,
        stream=False,
        include_usage=False,
        cache_prompt=True,
        ignored=(),
    )


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 5.0}, {"max_tokens": 5}),
        ({"n_predict": 0}, {"max_tokens": 0}),
        ({"max_tokens": -1}, {"max_tokens": None}),
        ({"max_tokens": 5, "max_completion_tokens": 5}, {"max_tokens": 5}),
        ({"stop": "END"}, {"stop": ("END",)}),
        ({"stop": ["a", "b", "a"]}, {"stop": ("a", "b")}),
        ({"stop": []}, {"stop": ()}),
        ({"n": 3}, {"choices": 3}),
        ({"n_cmpl": 2}, {"choices": 2}),
        ({"stream": True}, {"stream": True, "include_usage": False}),
        (
            {"stream": True, "stream_options": {"include_usage": True}},
            {"stream": True, "include_usage": True},
        ),
        ({"stream_options": {"include_usage": True}}, {"include_usage": False}),
        ({"cache_prompt": False}, {"cache_prompt": False}),
        ({"tools": [], "functions": [], "tool_choice": "none"}, {"ignored": ()}),
        ({"tools": None, "tool_choice": "auto"}, {"ignored": ()}),
        ({"functions": [{}], "function_call": "none"}, {"ignored": ("functions",)}),
    ],
)
def test_a_field_has_its_effect(members: dict[str, Any], expected: dict[str, Any]) -> None:
    parsed = request(**members)
    assert {name: getattr(parsed, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": "  "}, "model"),
        ({"model": 7}, "model"),
        ({"model": "x" * 513}, "model"),
        ({"messages": None}, "messages"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": 2**63}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 10**6}, "n"),
        ({"n": True}, "n"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": ["x" * 1025]}, "stop[0]"),
        ({"stop": "x" * 1_000_000}, "stop"),
        ({"stop": {"a": 1}}, "stop"),
        ({"cache_prompt": 1}, "cache_prompt"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{}], "tool_choice": "auto"}, "tools[0].type"),
        ({"tools": "x"}, "tools"),
        ({"functions": [{}]}, "functions"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice.function.name",
        ),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"reasoning_format": "x"}, "reasoning_format"),
        ({"reasoning_effort": "x"}, "reasoning_effort"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"messages": "x"}}, "chat_template_kwargs.messages"),
        ({"chat_template_kwargs": {"bos_token": "x"}}, "chat_template_kwargs.bos_token"),
        ({"chat_template_kwargs": {"__class__": "x"}}, "chat_template_kwargs.__class__"),
        ({"chat_template_kwargs": {"a b": 1}}, "chat_template_kwargs.a b"),
        ({"chat_template_kwargs": {"a": {"b": 1}}}, "chat_template_kwargs.a"),
        ({"chat_template_kwargs": {"a": [1]}}, "chat_template_kwargs.a"),
        ({"chat_template_kwargs": {"a": "x" * 4097}}, "chat_template_kwargs.a"),
        (
            {"chat_template_kwargs": {"enable_thinking": "no"}},
            "chat_template_kwargs.enable_thinking",
        ),
        ({"chat_template_kwargs": {f"a{i}": 1 for i in range(33)}}, "chat_template_kwargs"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"continue_final_message": "reasoning"}, "continue_final_message"),
        ({"add_generation_prompt": "x"}, "add_generation_prompt"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    error = refusal(**members)
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, param)
    assert error.row.status == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grammar", 'root ::= "%llguidance"'),
        ("grammar_lazy", True),
        ("grammar_triggers", []),
        ("n_keep", 5),
        ("n_discard", -1),
        ("n_cache_reuse", 256),
        ("id_slot", 0),
        ("chat_parser", "{}"),
        ("speculative.n_max", 16),
    ],
)
def test_the_engines_inside_is_not_for_clients(name: str, value: Any) -> None:
    error = refusal(**{name: value})
    assert error.param == name
    assert "private" in error.message


def test_what_has_no_effect_is_reported() -> None:
    parsed = request(
        user="u",
        metadata={},
        store=True,
        service_tier="auto",
        made_up={"a": 1},
        stream=True,
        stream_options={"continuous_usage_stats": True, "include_obfuscation": False},
        messages=[{**USER, "cache_control": {"type": "ephemeral"}}],
    )
    assert parsed.ignored == (
        "messages[].cache_control",
        "stream_options.continuous_usage_stats",
        "stream_options.include_obfuscation",
        "user",
        "metadata",
        "store",
        "service_tier",
        "made_up",
    )


# ---- who speaks next -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "members", "adds_prompt", "continues"),
    [
        ([USER], {}, True, False),
        ([USER], {"add_generation_prompt": True}, True, False),
        ([USER], {"add_generation_prompt": False}, False, False),
        ([USER], {"continue_final_message": False}, True, False),
        ([USER, ASSISTANT], {}, False, True),
        ([USER, ASSISTANT], {"continue_final_message": True}, False, True),
        ([USER, ASSISTANT], {"continue_final_message": "auto"}, False, True),
        ([USER, ASSISTANT], {"continue_final_message": "content"}, False, "content"),
        ([USER, THOUGHT], {}, False, True),
        (
            [USER, THOUGHT],
            {"continue_final_message": "reasoning_content"},
            False,
            "reasoning_content",
        ),
        ([USER, ASSISTANT], {"continue_final_message": False}, True, False),
        ([USER, ASSISTANT], {"add_generation_prompt": False}, False, True),
    ],
)
def test_a_last_message_of_the_assistant_is_continued(
    messages: list[Any], members: dict[str, Any], adds_prompt: bool, continues: bool | str
) -> None:
    prompt = request(messages=messages, **members).prompt
    assert (prompt.add_generation_prompt, prompt.continue_final_message) == (
        adds_prompt,
        continues,
    )


def test_a_message_cannot_be_both_continued_and_answered() -> None:
    error = refusal(
        messages=[USER, ASSISTANT], continue_final_message=True, add_generation_prompt=True
    )
    assert error.param == "continue_final_message"


def test_a_call_cannot_be_continued() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    error = refusal(messages=[USER, {"role": "assistant", "tool_calls": [call]}])
    assert error.param == "messages[1].tool_calls"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (ASSISTANT, "messages[1].content"),
        ({"role": "assistant", "content": ""}, "messages[1].reasoning_content"),
        ({**THOUGHT, "content": "So"}, "messages[1].content"),
    ],
)
def test_only_a_thought_can_be_continued_as_one(message: Any, param: str) -> None:
    error = refusal(messages=[USER, message], continue_final_message="reasoning_content")
    assert error.param == param


# ---- thoughts and adapters -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "budget"),
    [
        ({}, None),
        ({"reasoning_budget": -1}, None),
        ({"reasoning_budget": 0}, 0),
        ({"reasoning_budget_tokens": 7}, 7),
        ({"thinking_budget_tokens": 7, "reasoning_budget": 7}, 7),
    ],
)
def test_a_thought_may_have_a_budget(members: dict[str, Any], budget: int | None) -> None:
    assert request(**members).prompt.reasoning_budget == budget


def test_the_last_words_of_a_thought_may_be_given() -> None:
    prompt = request(reasoning_budget=5, reasoning_budget_message="Enough.").prompt
    assert (prompt.reasoning_budget, prompt.reasoning_budget_message) == (5, "Enough.")


def test_adapters_are_passed_on() -> None:
    assert request().submits(client="")[0].adapters is None
    lora = [{"id": 0, "scale": 1}, {"name": "law", "scale": -0.5}]
    [submit] = request(lora=lora).submits(client="")
    assert submit.adapters == (AdapterScale(0, 1.0), AdapterScale("law", -0.5))
    assert request(lora=[]).submits(client="")[0].adapters == ()


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"reasoning_budget": -2}, "reasoning_budget"),
        ({"reasoning_budget": 1, "thinking_budget_tokens": 2}, "reasoning_budget"),
        ({"reasoning_budget_message": "x" * 1025}, "reasoning_budget_message"),
        ({"lora": {"0": 1.0}}, "lora"),
        ({"lora": [{}] * 65}, "lora"),
        ({"lora": [1]}, "lora[0]"),
        ({"lora": [{"scale": 1}]}, "lora[0]"),
        ({"lora": [{"id": 0, "name": "x", "scale": 1}]}, "lora[0]"),
        ({"lora": [{"id": 0}]}, "lora[0].scale"),
        ({"lora": [{"id": 0, "scale": 101}]}, "lora[0].scale"),
        ({"lora": [{"id": -1, "scale": 1}]}, "lora[0].id"),
        ({"lora": [{"name": 1, "scale": 1}]}, "lora[0].name"),
    ],
)
def test_what_makes_no_budget_and_no_adapter_is_named(members: dict[str, Any], param: str) -> None:
    error = refusal(**members)
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, param)


def test_template_arguments_are_passed_on_as_they_are() -> None:
    arguments = {"enable_thinking": False, "style": "é", "level": 2, "ratio": 0.5, "none": None}
    text = request(chat_template_kwargs=arguments).prompt.template_kwargs_json
    assert json.loads(text) == arguments


# ---- to the engine ---------------------------------------------------------------------------


def test_choices_differ_in_their_seeds_alone() -> None:
    parsed = request(n=3, seed=4294967294, max_tokens=7, stop="x", cache_prompt=False)
    submits = parsed.submits(client="127.0.0.1")
    assert [submit.sampling.seed for submit in submits] == [4294967294, 0, 1]
    assert submits[0] == Submit(
        id=0,
        prompt=parsed.prompt,
        sampling=Sampling(seed=4294967294),
        max_tokens=7,
        stop=("x",),
        cache_prompt=False,
        client="127.0.0.1",
    )


def test_without_a_seed_every_choice_is_random() -> None:
    first, second = request(n=2).submits(client="")
    assert first == second


def test_the_model_alone_can_be_asked_for() -> None:
    assert parse_model_name({"model": "ai/x", "anything": 1}) == "ai/x"
