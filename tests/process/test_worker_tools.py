"""Calls and structure on the real model, whose own template knows no tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from runner.wire.messages import (
    ChatPrompt,
    Ended,
    EngineWishes,
    Failed,
    Piece,
    Ready,
    Sampling,
    Submit,
)
from runner.wire.pieces import join
from tests.process.worker_client import WorkerClient, model_path

pytestmark = [pytest.mark.native, pytest.mark.model]

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": CITY}},
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}},
]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}
THINKER = """\
{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% else %}<think>
{% endif %}{% endif %}"""


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerClient]:
    with WorkerClient() as client:
        client.load(model_path(), EngineWishes(context_size=1024, parallel=2, threads=1))
        client.wait_for(Ready)
        yield client


def ask(
    worker: WorkerClient, id: int, content: str, *, schema: Any = None, **members: Any
) -> tuple[Piece, Ended]:
    messages = [{"role": "user", "content": content}]
    temperature = members.pop("temperature", 0.0)
    max_tokens = members.pop("max_tokens", 200)
    prompt = ChatPrompt(messages_json=json.dumps(messages), **members)
    sampling = Sampling(temperature=temperature, seed=id, json_schema=schema and json.dumps(schema))
    worker.send(Submit(id=id, prompt=prompt, sampling=sampling, max_tokens=max_tokens))
    [last] = worker.wait_for_last(id)
    assert isinstance(last, Ended), last
    pieces = [event for event in worker.log[id] if isinstance(event, Piece)]
    return join(pieces) if pieces else Piece(id, "", 0), last


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_required_call_is_made_and_its_arguments_fit(worker: WorkerClient, seed: int) -> None:
    answer, last = ask(
        worker,
        seed,
        "Tell me a story.",
        temperature=1.5,
        tools_json=json.dumps(TOOLS),
        tool_choice="required",
        parallel_tool_calls=False,
    )
    assert last.reason == "eos"
    [call] = answer.calls
    assert call.id.startswith("call_")
    tool = next(tool["function"] for tool in TOOLS if tool["function"]["name"] == call.name)
    jsonschema.validate(json.loads(call.arguments), tool["parameters"])
    assert answer.text == ""


def test_the_named_function_is_called_once(worker: WorkerClient) -> None:
    named = {"tool_choice": "required", "tool_name": "now"}
    answer, _ = ask(
        worker, 10, "What is the weather in Rome?", tools_json=json.dumps(TOOLS), **named
    )
    assert [call.name for call in answer.calls] == ["now"]


def test_who_may_call_may_also_talk(worker: WorkerClient) -> None:
    answer, _ = ask(worker, 11, "Tell me a story.", tools_json=json.dumps(TOOLS))
    assert answer.text or answer.calls


def test_an_answer_with_a_structure_is_a_call_or_fits(worker: WorkerClient) -> None:
    for id in range(12, 16):
        answer, last = ask(
            worker,
            id,
            "How much is 2 and 2?",
            schema=SCHEMA,
            temperature=1.2,
            tools_json=json.dumps(TOOLS),
        )
        assert last.reason == "eos"
        assert bool(answer.calls) != bool(answer.text)
        if answer.text:
            jsonschema.validate(json.loads(answer.text), SCHEMA)


def test_no_calls_where_none_are_wanted(worker: WorkerClient) -> None:
    answer, _ = ask(
        worker,
        16,
        "How much is 2 and 2?",
        schema=SCHEMA,
        tools_json=json.dumps(TOOLS),
        tool_choice="none",
    )
    jsonschema.validate(json.loads(answer.text), SCHEMA)
    assert answer.calls == ()


def test_b8_a_schema_without_a_grammar_names_its_tool(worker: WorkerClient) -> None:
    bad = {"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}}
    tools = [TOOLS[0], {"type": "function", "function": {"name": "bad", "parameters": bad}}]
    prompt = ChatPrompt(
        messages_json='[{"role":"user","content":"x"}]',
        tools_json=json.dumps(tools),
        tool_choice="required",
    )
    worker.send(Submit(id=17, prompt=prompt, sampling=Sampling()))
    [last] = worker.wait_for_last(17)
    assert isinstance(last, Failed)
    assert (last.kind, last.param) == ("invalid_request", "tools[1].function.parameters")


@pytest.fixture(scope="module")
def thinker() -> Iterator[WorkerClient]:
    wishes = EngineWishes(context_size=512, parallel=2, threads=1, chat_template=THINKER)
    with WorkerClient() as client:
        client.load(model_path(), wishes)
        client.wait_for(Ready)
        yield client


def test_structure_binds_what_is_shown_of_a_model_that_thinks(thinker: WorkerClient) -> None:
    answer, last = ask(thinker, 1, "How much is 2 and 2?", schema=SCHEMA, enable_thinking=False)
    assert last.reason == "eos"
    jsonschema.validate(json.loads(answer.text), SCHEMA)


def test_thoughts_are_told_apart_and_counted(thinker: WorkerClient) -> None:
    answer, last = ask(thinker, 2, "Hi", max_tokens=20)
    assert answer.reasoning
    assert answer.text == ""
    assert last.reasoning_tokens == 20


def test_thoughts_are_left_in_the_content_where_that_is_asked(thinker: WorkerClient) -> None:
    answer, last = ask(thinker, 3, "Hi", max_tokens=20, reasoning_format="none")
    assert answer.reasoning == ""
    assert answer.text
    assert last.reasoning_tokens == 0


def test_of_some_allowed_tools_one_is_called(worker: WorkerClient) -> None:
    for id in range(18, 22):
        answer, _ = ask(
            worker,
            id,
            "What is the weather in Rome?",
            temperature=1.5,
            tools_json=json.dumps(TOOLS),
            tool_choice="required",
            allowed_tools=("now",),
            parallel_tool_calls=False,
        )
        assert [call.name for call in answer.calls] == ["now"]


def test_a_choice_of_tools_changes_nothing_in_the_prompt(worker: WorkerClient) -> None:
    asked = {"tools_json": json.dumps(TOOLS), "max_tokens": 8}
    _, first = ask(worker, 22, "What is the time in Oslo?", **asked)
    for id, choice in enumerate(
        (
            {"tool_choice": "required"},
            {"tool_choice": "required", "tool_name": "now"},
            {"allowed_tools": ("weather",)},
        ),
        start=23,
    ):
        _, last = ask(worker, id, "What is the time in Oslo?", **asked, **choice)
        assert last.prompt_tokens == first.prompt_tokens
        assert last.cached_tokens == first.prompt_tokens - 1


@pytest.mark.parametrize("budget", [0, 5])
def test_a_thought_ends_with_its_budget(thinker: WorkerClient, budget: int) -> None:
    said = "Enough."
    answer, last = ask(
        thinker,
        10 + budget,
        "Why is the sky blue?",
        max_tokens=40,
        reasoning_budget=budget,
        reasoning_budget_message=said,
    )
    assert answer.reasoning.endswith(said)
    assert last.reasoning_tokens <= budget + 12  # those of the last words and of the end


def test_a_budget_holds_with_a_structure(thinker: WorkerClient) -> None:
    answer, last = ask(thinker, 20, "How much is 2 and 2?", schema=SCHEMA, reasoning_budget=4)
    assert last.reason == "eos"
    assert answer.reasoning
    jsonschema.validate(json.loads(answer.text), SCHEMA)


@pytest.mark.parametrize("continues", [True, "reasoning_content"])
def test_a_thought_is_continued(thinker: WorkerClient, continues: Any) -> None:
    messages = [
        {"role": "user", "content": "Why is the sky blue?"},
        {"role": "assistant", "content": "", "reasoning_content": "The user asks about the"},
    ]
    prompt = ChatPrompt(
        messages_json=json.dumps(messages),
        add_generation_prompt=False,
        continue_final_message=continues,
    )
    id = 30 + (continues is True)
    sampling = Sampling(temperature=0.0)
    thinker.send(Submit(id=id, prompt=prompt, sampling=sampling, max_tokens=16))
    [last] = thinker.wait_for_last(id)
    assert isinstance(last, Ended), last
    answer = join([event for event in thinker.log[id] if isinstance(event, Piece)])
    assert answer.reasoning
    assert not answer.reasoning.startswith("The user asks")


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_who_thinks_may_call_though_the_template_knows_no_tools(
    thinker: WorkerClient, choice: str
) -> None:
    answer, _ = ask(
        thinker,
        40 + (choice == "auto"),
        "What is the weather in Rome?",
        tools_json=json.dumps(TOOLS),
        tool_choice=choice,
        reasoning_budget=4,
        max_tokens=100,
    )
    assert answer.reasoning
    assert "think>" not in answer.text
    if choice == "required":
        assert answer.calls
        assert answer.text == ""
