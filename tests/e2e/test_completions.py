"""Prompts without a template, and questions about tokens, to the real model."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import MODEL, Daemon

pytestmark = pytest.mark.model

STORY = "Once upon a time, in a small village by the sea,"


def complete(daemon: Daemon, prompt: Any, **members: Any) -> dict[str, Any]:
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 8, "temperature": 0} | members
    answer = daemon.post("/v1/completions", body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def tokens_of(daemon: Daemon, text: str) -> list[int]:
    answer = daemon.post("/tokenize", {"model": MODEL, "content": text})
    found: list[int] = answer.json()["tokens"]
    return found


def test_the_sdk_gets_a_completion_whole_and_streamed(daemon: Daemon) -> None:
    with daemon.sdk() as client:
        whole = client.completions.create(
            model=MODEL, prompt=STORY, max_tokens=8, temperature=0, logprobs=2
        )
        stream = client.completions.create(
            model=MODEL, prompt=STORY, max_tokens=8, temperature=0, logprobs=2, stream=True
        )
        chunks = [chunk.choices[0] for chunk in stream]
    [choice] = whole.choices
    assert choice.finish_reason == chunks[-1].finish_reason == "length"
    assert "".join(chunk.text for chunk in chunks) == choice.text != ""
    assert choice.logprobs is not None
    assert "".join(choice.logprobs.tokens or []) == choice.text
    for token, place in zip(
        choice.logprobs.tokens or [], choice.logprobs.text_offset or [], strict=True
    ):
        assert choice.text[place:].startswith(token)
    streamed = [chunk.logprobs.text_offset or [] for chunk in chunks if chunk.logprobs]
    assert [place for places in streamed for place in places] == choice.logprobs.text_offset
    # Greedy: the chosen token is the likeliest.
    tops = choice.logprobs.top_logprobs or []
    assert [max(top, key=lambda name: top[name]) for top in tops] == choice.logprobs.tokens


def test_tokens_are_a_prompt_like_their_text(daemon: Daemon) -> None:
    tokens = tokens_of(daemon, STORY)
    both = complete(daemon, [STORY, tokens], echo=True)
    by_text, by_tokens = [choice["text"] for choice in both["choices"]]
    assert by_text == by_tokens
    assert by_text.startswith(STORY)
    assert both["usage"]["prompt_tokens"] == 2 * len(tokens)


def test_echo_of_a_prompt_alone(daemon: Daemon) -> None:
    answer = complete(daemon, STORY, echo=True, max_tokens=0)
    assert answer["choices"][0]["text"] == STORY
    assert answer["usage"]["completion_tokens"] == 0


def test_an_echoed_prompt_has_the_logprobs_that_its_tokens_had_when_they_were_made(
    daemon: Daemon,
) -> None:
    made = complete(daemon, STORY, logprobs=1)["choices"][0]
    prompt = tokens_of(daemon, STORY + made["text"])
    [echoed] = complete(daemon, prompt, echo=True, logprobs=1, max_tokens=0)["choices"]
    assert echoed["text"] == STORY + made["text"]
    told = echoed["logprobs"]
    assert told["token_logprobs"][0] is None and told["top_logprobs"][0] is None
    assert len(told["tokens"]) == len(told["text_offset"]) == len(prompt)
    assert "".join(told["tokens"]) == echoed["text"]
    count = len(made["logprobs"]["tokens"])
    assert told["tokens"][-count:] == made["logprobs"]["tokens"]
    # Kernels for one row and for several differ by rounding.
    assert told["token_logprobs"][-count:] == pytest.approx(
        made["logprobs"]["token_logprobs"], abs=0.3
    )
    with daemon.sdk() as client:
        stream = client.completions.create(
            model=MODEL, prompt=prompt, echo=True, logprobs=1, max_tokens=0, stream=True
        )
        [first, *_] = stream
    assert first.choices[0].text == echoed["text"]
    assert first.choices[0].logprobs is not None
    assert first.choices[0].logprobs.text_offset == told["text_offset"]


def test_what_lm_evaluation_harness_asks(daemon: Daemon) -> None:
    """Its local-completions model: how likely are the last tokens of each of several texts?"""
    texts = ["The capital of France is Paris", "The capital of France is banana"]
    prompts = [tokens_of(daemon, text) for text in texts]
    context = len(tokens_of(daemon, "The capital of France is"))
    answer = complete(
        daemon, prompts, max_tokens=1, logprobs=1, echo=True, temperature=0, seed=1234
    )
    likely = []
    for choice, prompt in zip(answer["choices"], prompts, strict=True):
        # As its parse_logprobs reads them: behind the context, without the token that was made.
        told = choice["logprobs"]
        assert len(told["token_logprobs"]) == len(told["top_logprobs"]) == len(prompt) + 1
        likely.append(sum(told["token_logprobs"][context:-1]))
        for logprob, top in zip(
            told["token_logprobs"][context:-1], told["top_logprobs"][context:-1], strict=True
        ):
            assert logprob <= max(top.values())
    assert likely[0] > likely[1] + 3


def test_a_conversation_is_counted_as_it_is_answered(daemon: Daemon) -> None:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    body = {"model": MODEL, "messages": messages}
    counted = daemon.post("/v1/chat/completions/input_tokens", body).json()["input_tokens"]
    prompt = daemon.post("/apply-template", body).json()["prompt"]
    assert counted == len(tokens_of(daemon, prompt))
    answered = daemon.chat("What is the capital of France?", max_tokens=1).json()
    assert answered["usage"]["prompt_tokens"] == counted


def test_tools_are_counted_as_they_are_answered(daemon: Daemon) -> None:
    function = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "tools": tools}
    counted = daemon.post("/v1/chat/completions/input_tokens", body).json()["input_tokens"]
    flat = {"model": MODEL, "input": "Hi", "tools": [{"type": "function"} | function]}
    response = daemon.post("/v1/responses/input_tokens", flat).json()["input_tokens"]
    answered = daemon.chat("Hi", max_tokens=1, tools=tools).json()
    assert counted == response == answered["usage"]["prompt_tokens"]


def test_the_sdk_counts_the_input_of_a_response(daemon: Daemon) -> None:
    with daemon.sdk() as client:
        counted = client.responses.input_tokens.count(model=MODEL, input="Hi")
    answered = daemon.chat("Hi", max_tokens=1).json()
    assert counted.input_tokens == answered["usage"]["prompt_tokens"]


def test_text_survives_tokens_and_back(daemon: Daemon) -> None:
    text = "naïve 東京 🙂\n<|im_start|>"
    answer = daemon.post("/detokenize", {"model": MODEL, "tokens": tokens_of(daemon, text)})
    assert answer.json() == {"content": text}


@pytest.mark.parametrize(
    ("path", "members", "code", "param"),
    [
        ("/v1/completions", {"prompt": ""}, "invalid_request", None),
        ("/v1/completions", {"prompt": [49152]}, "invalid_request", "prompt"),
        ("/v1/completions", {"prompt": "a", "suffix": "b"}, "model_not_supported", "suffix"),
        ("/v1/completions", {"prompt": "a " * 4000}, "context_length_exceeded", None),
        ("/detokenize", {"tokens": [49152]}, "invalid_request", "tokens"),
        ("/infill", {"input_prefix": "a", "input_suffix": "b"}, "model_not_supported", "suffix"),
    ],
)
def test_what_the_model_cannot_is_a_400(
    daemon: Daemon, path: str, members: dict[str, Any], code: str, param: str | None
) -> None:
    answer = daemon.post(path, {"model": MODEL} | members)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, code)
    assert param is None or error["param"] == param


def test_the_views_tell_of_what_is_loaded(daemon: Daemon) -> None:
    daemon.chat("Hi", max_tokens=1)
    props = daemon.get("/props")
    assert props["default_generation_settings"]["n_ctx"] == 1024
    assert props["eos_token"] == "<|im_end|>"
    assert len(daemon.get("/slots")) == props["total_slots"]
