"""Anthropic's SDK against the real server and model, and what Claude Code sends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import jsonschema
import pydantic
import pytest

from tests.e2e.conftest import MODEL, Daemon, running_daemon
from tests.process.test_worker_tools import THINKER

pytestmark = pytest.mark.model

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"name": "weather", "description": "Tells the weather", "input_schema": CITY, "strict": True},
    {"name": "now", "input_schema": {"type": "object", "properties": {}}},
]
NAMED: Any = {"type": "tool", "name": "weather"}
QUESTION: Any = {"role": "user", "content": "What is the weather in Rome?"}


@contextlib.contextmanager
def sdk(daemon: Daemon) -> Iterator[anthropic.Anthropic]:
    url = f"{daemon.url}/anthropic"
    with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0, timeout=120) as client:
        yield client


def asked(*messages: Any, **members: Any) -> Any:
    """A short request."""
    said = list(messages) or [{"role": "user", "content": "Tell me about Rome."}]
    return {"model": MODEL, "max_tokens": 16, "messages": said} | members


def greedy(*messages: Any, **members: Any) -> Any:
    """One that the SDK sends with a temperature, which it has no argument for."""
    return asked(*messages, extra_body={"temperature": 0}, **members)


def test_a_streamed_message_adds_up_to_the_whole_one(daemon: Daemon) -> None:
    with sdk(daemon) as client:
        whole = client.messages.create(**greedy(system="Be brief."))
        with client.messages.stream(**greedy(system="Be brief.")) as stream:
            pieces = list(stream.text_stream)
            final = stream.get_final_message()
        counted = client.messages.count_tokens(
            model=MODEL, messages=asked()["messages"], system="Be brief."
        )
    assert len(pieces) > 1
    assert [block.to_dict() for block in final.content] == [
        block.to_dict() for block in whole.content
    ]
    assert (whole.stop_reason, final.stop_reason) == ("max_tokens", "max_tokens")
    assert (whole.usage.output_tokens, final.usage.output_tokens) == (16, 16)
    for usage in (whole.usage, final.usage):
        assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == counted.input_tokens
    assert final.usage.cache_read_input_tokens


def test_a_stop_sequence_is_told(daemon: Daemon) -> None:
    with sdk(daemon) as client:
        message = client.messages.create(**greedy(stop_sequences=["e"], max_tokens=64))
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "e")
    [block] = message.content
    assert block.type == "text"
    assert "e" not in block.text


def test_a_tool_loop_comes_to_an_answer(daemon: Daemon) -> None:
    with sdk(daemon) as client:
        members: Any = {"tools": TOOLS, "max_tokens": 100}
        called = client.messages.create(**greedy(QUESTION, tool_choice=NAMED, **members))
        assert called.stop_reason == "tool_use"
        [use] = called.content
        assert use.type == "tool_use"
        assert use.name == "weather"
        jsonschema.validate(use.input, CITY)
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "22 degrees, sunny"}
        answered = client.messages.create(
            **greedy(
                QUESTION,
                {"role": "assistant", "content": called.content},
                {"role": "user", "content": [result]},
                tool_choice={"type": "none"},
                **members,
            )
        )
    assert [block.type for block in answered.content] == ["text"]
    assert answered.stop_reason in ("end_turn", "max_tokens")


def test_the_sdks_tool_runner_calls_and_comes_back(daemon: Daemon) -> None:
    heard = []

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """Tells the weather."""
        heard.append(city)
        return "sunny"

    with sdk(daemon) as client:
        members: Any = greedy(QUESTION, tools=[weather], tool_choice=NAMED, max_iterations=2)
        answers = list(client.beta.messages.tool_runner(**members | {"max_tokens": 100}))
    assert [answer.stop_reason for answer in answers] == ["tool_use", "tool_use"]
    assert len(heard) >= 2


def test_a_streamed_call_adds_up_to_the_whole_one(daemon: Daemon) -> None:
    members: Any = {"tools": TOOLS, "tool_choice": NAMED, "max_tokens": 100}
    with sdk(daemon) as client:
        whole = client.messages.create(**greedy(QUESTION, **members))
        with client.messages.stream(**greedy(QUESTION, **members)) as stream:
            parts = [event.partial_json for event in stream if event.type == "input_json"]
            final = stream.get_final_message()
    [use], [streamed] = whole.content, final.content
    assert use.type == streamed.type == "tool_use"
    assert streamed.input == use.input == json.loads("".join(parts))
    assert final.stop_reason == "tool_use"


def test_an_answer_has_the_structure_of_a_pydantic_model(daemon: Daemon) -> None:
    class City(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=12)
        is_old: bool

    with sdk(daemon) as client:
        parsed = client.messages.parse(**greedy(QUESTION, output_format=City, max_tokens=100))
    assert isinstance(parsed.parsed_output, City)


def test_a_last_message_of_the_assistant_is_gone_on_with(daemon: Daemon) -> None:
    prefill = {"role": "assistant", "content": "Rome is the capital of"}
    with sdk(daemon) as client:
        message = client.messages.create(**greedy(QUESTION, prefill, max_tokens=4))
    [block] = message.content
    assert block.type == "text"
    assert "Italy" in block.text


def test_b7_what_cannot_be_is_refused_by_name_and_the_worker_lives(daemon: Daemon) -> None:
    call = {"type": "tool_use", "id": "t", "name": "weather", "input": "{"}
    image = {"type": "base64", "media_type": "image/png", "data": "eA=="}
    unsound = {"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}}
    refused: list[tuple[dict[str, Any], str]] = [
        (asked({"role": "assistant", "content": [call]}), "messages[0].content[0].input"),
        (
            asked({"role": "user", "content": [{"type": "image", "source": image}]}),
            "messages[0].content[0].source",
        ),
        (
            asked(QUESTION, tools=[*TOOLS, {"name": "bad", "input_schema": unsound}]),
            "tools[2].input_schema",
        ),
        (asked(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "tools[0].type"),
        (asked({"role": "user", "content": "word " * 3000}), "messages"),
    ]
    for body, param in refused:
        answer = daemon.post("/v1/messages", body)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (400, "invalid_request_error"), error
        assert error["details"].get("param", "messages") == param, error
    assert daemon.post("/v1/messages", asked(max_tokens=2)).status_code == 200


# ---- Claude Code -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aliased(_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that answers for Claude."""
    home = tmp_path_factory.mktemp("home")
    with running_daemon(home, "--model-alias", f"claude-*={MODEL},gpt-4o={MODEL}") as started:
        yield started
        started.stop()


def claude_code(turn: int, *messages: Any) -> dict[str, Any]:
    """A request as Claude Code makes it, whose first line is another in each turn."""
    cached = {"cache_control": {"type": "ephemeral"}}
    billing = f"x-anthropic-billing-header: cc_version=2.1.37.e5{turn}; cch=a514{turn};"
    return {
        "model": "claude-sonnet-4-5-20250929",
        "max_tokens": 8,
        "stream": True,
        "system": [
            {"type": "text", "text": billing},
            {"type": "text", "text": "You are Claude Code.", **cached},
            {"type": "text", "text": "Do what the user asks. " * 12, **cached},
        ],
        "messages": list(messages),
        "tools": [{**tool, "eager_input_streaming": True} for tool in TOOLS],
        "metadata": {"user_id": "user_1_session_2"},
        "thinking": {"type": "enabled", "budget_tokens": 31999},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    }


def test_claude_code_finds_its_prefix_again_in_the_next_turn(aliased: Daemon) -> None:
    said: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    headers = {"anthropic-beta": "claude-code-20250219,some-day-2030", "x-api-key": "any"}
    usages = []
    for turn in range(2):
        body = claude_code(turn, *said)
        answer = aliased.post("/v1/messages?beta=true", body, headers=headers)
        assert answer.status_code == 200, answer.text
        lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
        events = [json.loads(line[6:]) for line in lines]
        assert events[0]["message"]["model"] == "claude-sonnet-4-5-20250929"
        usages.append(events[-2]["usage"])
        said += [
            {"role": "assistant", "content": [{"type": "text", "text": "Hi."}]},
            {"role": "user", "content": [{"type": "text", "text": "Who are you?"}]},
        ]
    assert usages[1]["cache_read_input_tokens"] > 100
    assert usages[1]["input_tokens"] < 60


def test_thinking_is_told_to_who_asks_for_it_and_ends_with_its_budget(aliased: Daemon) -> None:
    """The model is made to think by a template that opens a thought."""
    assert aliased.chat("Hi", max_tokens=1).status_code == 200  # so that the model is stored
    template = aliased.home / "thinker.jinja"
    template.write_text(THINKER)
    made = {"name": "tests/thinker", "from": MODEL, "chat_template": str(template)}
    aliased.post("/models/package", made).raise_for_status()
    thinking: Any = {"type": "enabled", "budget_tokens": 8}
    members: Any = {"model": "tests/thinker", "max_tokens": 40}
    with sdk(aliased) as client:
        whole = client.messages.create(**greedy(thinking=thinking, **members))
        with client.messages.stream(**greedy(thinking=thinking, **members)) as stream:
            thoughts = [event.thinking for event in stream if event.type == "thinking"]
            final = stream.get_final_message()
        silent = client.messages.create(**greedy(**members))
        said = [*asked()["messages"], {"role": "assistant", "content": whole.content}]
        said.append({"role": "user", "content": "And?"})
        counted = client.messages.count_tokens(model="tests/thinker", messages=said)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    [thought, _] = whole.content
    assert thought.type == "thinking"
    assert thought.signature
    assert "".join(thoughts).strip() == thought.thinking.strip()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.usage.output_tokens_details is not None
    assert 4 <= final.usage.output_tokens_details.thinking_tokens <= 12
    assert [block.type for block in silent.content] == ["text"]
    assert counted.input_tokens > whole.usage.output_tokens


def test_an_alias_serves_every_api(aliased: Daemon) -> None:
    body = {"model": "gpt-4o", "messages": [QUESTION], "max_tokens": 2}
    answer = aliased.post("/v1/chat/completions", body).json()
    assert answer["model"] == "gpt-4o"
    counted = aliased.post("/v1/messages/count_tokens", claude_code(0, QUESTION)).json()
    assert counted["input_tokens"] > 100
    listed = [model["id"] for model in aliased.get("/anthropic/v1/models")["data"]]
    assert listed[-1] == "gpt-4o"
    assert "claude-*" not in listed
