"""Ollama's requests are read strictly, errors name what the client sent."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest

from runner.api.ollama.embeddings import EmbedRequest, parse_embed, parse_embeddings
from runner.api.ollama.parse import Keeping, TextRequest, parse_chat, parse_generate
from runner.errors import Kind, RunnerError
from runner.wire.messages import ChatPrompt, InfillPrompt, Sampling, TextPrompt

HELLO = {"role": "user", "content": "hello"}


def chat(*messages: Any, **members: Any) -> TextRequest:
    request = parse_chat({"model": "a", "messages": [*messages] or [HELLO], **members})
    assert isinstance(request, TextRequest)
    return request


def generate(prompt: str = "hello", **members: Any) -> TextRequest:
    request = parse_generate({"model": "a", "prompt": prompt, **members})
    assert isinstance(request, TextRequest)
    return request


def conversation(request: TextRequest) -> list[dict[str, Any]]:
    assert isinstance(request.prompt, ChatPrompt)
    said: list[dict[str, Any]] = json.loads(request.prompt.messages_json)
    return said


def refusal(parse: Any, *args: Any, **members: Any) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        parse(*args, **members)
    assert caught.value.kind in (Kind.INVALID_REQUEST, Kind.MODEL_NOT_SUPPORTED)
    return caught.value


def test_a_chat_streams_unless_told_not_to() -> None:
    request = chat()
    assert request.model == "a"
    assert request.stream
    assert not chat(stream=False).stream
    assert conversation(request) == [HELLO]
    assert request.prompt == ChatPrompt(messages_json=request.prompt.messages_json)  # type: ignore[union-attr]
    assert request.ignored == ()
    assert request.keep_alive_s is None


def test_the_older_name_of_a_model_counts() -> None:
    assert chat(name="b").model == "b"
    assert refusal(parse_chat, {"messages": [HELLO]}).param == "model"


def test_options_choose_tokens() -> None:
    request = chat(
        options={
            "temperature": 0,
            "top_k": 40,
            "top_p": 0.5,
            "min_p": 0.1,
            "typical_p": 0.7,
            "repeat_last_n": -1,
            "repeat_penalty": 1.2,
            "presence_penalty": 1.5,
            "frequency_penalty": 1.0,
            "mirostat": 1,
            "mirostat_tau": 0.8,
            "mirostat_eta": 0.6,
            "seed": 42,
            "num_predict": 100,
            "stop": ["\n", "user:"],
        }
    )
    (submit,) = request.submits(client="c")
    assert submit.sampling == Sampling(
        temperature=0.0,
        top_k=40,
        top_p=0.5,
        min_p=0.1,
        typical_p=0.7,
        repeat_last_n=-1,
        repeat_penalty=1.2,
        presence_penalty=1.5,
        frequency_penalty=1.0,
        mirostat=1,
        mirostat_tau=0.8,
        mirostat_eta=0.6,
        seed=42,
    )
    assert (submit.max_tokens, submit.stop, submit.client) == (100, ("\n", "user:"), "c")


@pytest.mark.parametrize("limit", [-1, -2])
def test_a_negative_limit_is_none(limit: int) -> None:
    assert chat(options={"num_predict": limit}).options.max_tokens is None


def test_a_seed_of_minus_one_is_random() -> None:
    assert chat(options={"seed": -1}).sampling.seed is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "0.7"),
        ("temperature", -1),
        ("top_k", 1.5),
        ("top_p", 2),
        ("seed", 2**70),
        ("seed", True),
        ("num_predict", -3),
        ("repeat_penalty", 0),
        ("mirostat", 3),
        ("stop", 5),
    ],
)
def test_a_wrong_option_is_named(name: str, value: Any) -> None:
    error = refusal(chat, options={name: value})
    assert error.param == f"options.{name}"
    assert error.message.startswith(f"options.{name}: expected ")


def test_a_wrong_stop_is_named_with_its_place() -> None:
    assert refusal(chat, options={"stop": ["a", ""]}).param == "options.stop[1]"
    assert refusal(chat, options={"stop": ["a"] * 17}).param == "options.stop"


def test_options_that_ollama_ignores_are_ignored_and_told() -> None:
    # @langchain/ollama and langchain-ollama have them.
    request = chat(options={"tfs_z": 0.5, "penalize_newline": True, "vocab_only": False})
    assert request.ignored == (
        "options.tfs_z",
        "options.penalize_newline",
        "options.vocab_only",
    )


def test_options_of_loading_are_ignored_and_told() -> None:
    request = chat(options={"num_ctx": 8367, "num_gpu": 3, "num_thread": 4, "fancy": 1}, fancy=2)
    assert request.ignored == (
        "options.num_ctx",
        "options.num_gpu",
        "options.num_thread",
        "options.fancy",
        "fancy",
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5m", 300.0),
        (0, 0.0),
        ("0", 0.0),
        (-1, math.inf),
        ("-1s", math.inf),
        (1.5, 1.5),
        (1e300, math.inf),
    ],
)
def test_how_long_a_model_is_kept(value: Any, seconds: float) -> None:
    assert chat(keep_alive=value).keep_alive_s == seconds


@pytest.mark.parametrize("value", ["soon", True, [5], "1" * 100])
def test_a_wrong_time_is_named(value: Any) -> None:
    assert refusal(chat, keep_alive=value).param == "keep_alive"


# ---- structure, thinking, logprobs -----------------------------------------------------------


def test_formats() -> None:
    assert chat(format="").sampling.json_schema is None
    assert chat(format="json").sampling.json_schema == '{"type":"object"}'
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    assert json.loads(chat(format=schema).sampling.json_schema or "") == schema
    assert refusal(chat, format="xml").param == "format"
    assert refusal(chat, format=7).param == "format"


def test_a_schema_that_cannot_be_enforced_is_told() -> None:
    request = chat(format={"type": "array", "uniqueItems": True})
    assert request.ignored == ("format#/uniqueItems",)


def test_thinking() -> None:
    def asked(think: Any) -> tuple[bool | None, str]:
        prompt = chat(think=think).prompt
        assert isinstance(prompt, ChatPrompt)
        return prompt.enable_thinking, prompt.template_kwargs_json

    assert asked(None) == (None, "{}")
    assert asked(False) == (False, "{}")
    assert asked(True) == (True, "{}")
    assert asked("high") == (True, '{"reasoning_effort": "high"}')
    assert refusal(chat, think="a lot").param == "think"
    assert refusal(chat, think=1).param == "think"


def test_logprobs() -> None:
    assert chat().sampling.top_logprobs is None
    assert chat(logprobs=True).sampling.top_logprobs == 0
    assert chat(logprobs=True, top_logprobs=3).sampling.top_logprobs == 3
    assert chat(top_logprobs=3).ignored == ("top_logprobs",)
    assert refusal(chat, logprobs=True, top_logprobs=21).param == "top_logprobs"


# ---- messages --------------------------------------------------------------------------------


def test_a_call_and_its_answer() -> None:
    request = chat(
        {"role": "User", "content": "weather?"},
        {
            "role": "assistant",
            "thinking": "I ask.",
            "tool_calls": [
                {"function": {"index": 0, "name": "weather", "arguments": {"city": "Köln"}}}
            ],
        },
        {"role": "tool", "tool_name": "weather", "content": "rain"},
        tools=[{"type": "function", "function": {"name": "weather"}}],
    )
    assert conversation(request) == [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "I ask.",
            "tool_calls": [
                {
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Köln"}'},
                }
            ],
        },
        {"role": "tool", "content": "rain", "name": "weather"},
    ]
    assert isinstance(request.prompt, ChatPrompt)
    assert json.loads(request.prompt.tools_json or "")[0]["function"]["name"] == "weather"
    assert request.ignored == ("messages[].tool_calls[].function.index",)


def test_empty_lists_say_nothing() -> None:
    request = chat({**HELLO, "images": []}, tools=[], options={})
    assert conversation(request) == [HELLO]
    assert isinstance(request.prompt, ChatPrompt)
    assert request.prompt.tools_json is None


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("hello", "messages[0]"),
        ({"role": "robot", "content": ""}, "messages[0].role"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "images": "x"}, "messages[0].images"),
        ({"role": "user", "images": [5]}, "messages[0].images[0]"),
        ({"role": "assistant", "tool_calls": [5]}, "messages[0].tool_calls[0]"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]},
            "messages[0].tool_calls[0].function.name",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)
def test_a_wrong_message_is_named(message: Any, param: str) -> None:
    assert refusal(chat, message).param == param


def test_a_last_message_of_the_assistant_is_gone_on_with() -> None:
    prompt = chat(HELLO, {"role": "assistant", "content": "Once"}).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.continue_final_message
    assert not prompt.add_generation_prompt
    call = {"function": {"name": "f", "arguments": {}}}
    error = refusal(chat, HELLO, {"role": "assistant", "tool_calls": [call]})
    assert error.param == "messages[1].tool_calls"


def test_images_come_before_the_text_and_keep_their_names() -> None:
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n...").decode()
    part = {"type": "image", "data": png}
    request = chat({"role": "user", "content": "What is it?", "images": [png, png]})
    assert conversation(request)[0]["content"] == [
        {**part, "param": "messages[0].images[0]"},
        {**part, "param": "messages[0].images[1]"},
        {"type": "text", "text": "What is it?"},
    ]
    request = generate("", images=[f"data:image/png;base64,{png}"])
    assert conversation(request)[0]["content"] == [{**part, "param": "images[0]"}]


def test_a_wrong_image_is_named() -> None:
    text = base64.b64encode(b"no image").decode()
    error = refusal(chat, {"role": "user", "content": "", "images": [text]})
    assert error.param == "messages[0].images[0]"
    assert error.message.startswith("messages[0].images[0]: ")
    assert refusal(generate, images=["?"]).param == "images[0]"


def test_a_wrong_tool_is_named() -> None:
    assert refusal(chat, tools=[{"type": "function"}]).param == "tools[0].function"
    assert refusal(chat, tools={}).param == "tools"


# ---- generate --------------------------------------------------------------------------------


def test_a_prompt_goes_through_the_template() -> None:
    request = generate(system="Be brief.", template="", context=[], suffix="")
    assert conversation(request) == [{"role": "system", "content": "Be brief."}, HELLO]


def test_a_raw_prompt_does_not() -> None:
    assert generate(raw=True).prompt == TextPrompt(text="hello")
    assert refusal(generate, raw=True, system="x").param == "system"
    assert refusal(generate, raw=True, images=["x"]).param == "images"


def test_a_suffix_makes_a_gap() -> None:
    assert generate(suffix="b").prompt == InfillPrompt(prefix="hello", suffix="b")


@pytest.mark.parametrize(
    ("name", "value"), [("template", "{{ .Prompt }}"), ("context", [1, 2]), ("width", 512)]
)
def test_what_is_not_honoured_is_refused(name: str, value: Any) -> None:
    assert refusal(generate, **{name: value}).param == name


# ---- nothing said ----------------------------------------------------------------------------


def test_saying_nothing_is_about_memory() -> None:
    body = {"model": "a", "messages": [], "stream": True, "options": {}}
    assert parse_chat(body) == Keeping("a", None, ("options",))
    assert parse_generate({"model": "a", "keep_alive": 0}) == Keeping("a", 0.0, ())
    assert parse_embed({"model": "a", "input": []}) == Keeping("a", None, ())
    assert parse_embeddings({"model": "a", "prompt": "", "keep_alive": -1}) == Keeping(
        "a", math.inf, ()
    )


# ---- embeddings ------------------------------------------------------------------------------


def test_texts_to_embed() -> None:
    request = parse_embed(
        {"model": "a", "input": ["x", "y"], "dimensions": 4, "truncate": True, "keep_alive": 7}
    )
    assert isinstance(request, EmbedRequest)
    assert request.inputs == ("x", "y")
    assert (request.dimensions, request.norm, request.truncates) == (4, 2, True)
    assert request.keep_alive_s == 7
    older = parse_embeddings({"model": "a", "prompt": "x"})
    assert isinstance(older, EmbedRequest)
    assert (older.inputs, older.norm) == (("x",), -1)


@pytest.mark.parametrize(
    ("value", "param"), [(5, "input"), (["a", ""], "input[1]"), (["a", 5], "input[1]")]
)
def test_a_wrong_text_to_embed_is_named(value: Any, param: str) -> None:
    assert refusal(parse_embed, {"model": "a", "input": value}).param == param
