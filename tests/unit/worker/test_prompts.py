"""What a submit becomes: a rendered, tokenised prompt and the settings of its generator."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from runner.binding import Code, NativeError
from runner.errors import Kind, RunnerError
from runner.wire.messages import (
    ChatPrompt,
    InfillPrompt,
    Prompt,
    Sampling,
    Submit,
    TextPrompt,
    TokenPrompt,
)
from runner.worker.conversation import Conversations
from runner.worker.infill import InfillTokens
from runner.worker.parsing import Parser
from runner.worker.prompts import Prepared, Prompter

MESSAGES = [{"role": "user", "content": "hi"}]


class Model:
    """A model whose tokens are characters, behind a BOS."""

    def __init__(self, error: NativeError | None = None) -> None:
        self.error = error
        self.info: dict[str, Any] = {"supports_thinking": False, "caps": {}}
        self.rendered: list[dict[str, Any]] = []
        self.tokenised: list[str] = []
        self.settings: list[dict[str, Any]] = []

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        assert add_special == parse_special
        self.tokenised.append(text)
        return [*([1] if add_special else []), *(ord(letter) for letter in text)]

    def apply(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.error:
            raise self.error
        self.rendered.append(request)
        return {
            "prompt": "<hi>",
            "additional_stops": ["<end>"],
            "preserved_tokens": ["<tool>"],
            "generation_prompt": "<think>",
            "grammar": "",
            "parser": "",
        }

    def new_generator(self, settings: dict[str, Any]) -> int:
        if self.error:
            raise self.error
        json.dumps(settings, allow_nan=False)
        self.settings.append(settings)
        return 42

    def schema_to_grammar(self, schema_json: str) -> str:
        return f'root ::= "{json.loads(schema_json)["const"]}"'


def no_parser(settings: dict[str, Any]) -> Parser:
    raise AssertionError("the text is content as it comes")


def chat(**more: Any) -> Submit:
    more.setdefault("sampling", Sampling())
    return Submit(id=7, prompt=ChatPrompt(messages_json=json.dumps(MESSAGES)), **more)


def text(content: str, **more: Any) -> Submit:
    more.setdefault("sampling", Sampling())
    return Submit(id=7, prompt=TextPrompt(text=content), **more)


def prepare(submit: Submit, model: Model | None = None, **changes: Any) -> Prepared:
    model = model or Model()
    guarded: list[int] = []

    @contextmanager
    def limit(id: int) -> Iterator[None]:
        guarded.append(id)
        yield

    prompter = Prompter(
        **{
            "tokenizer": model,
            "conversations": Conversations(model, no_parser, json.loads),
            "no_template": "",
            "generators": model,
            "context_size": 100,
            "penalty_tokens": 0,
            "vocabulary": 128,
            "token_bytes": 4,
            "infill": InfillTokens(),
        }
        | changes
    )
    prepared = prompter.prepare(submit, 12.5, limit)
    assert guarded == ([7] if isinstance(submit.prompt, ChatPrompt) else [])
    return prepared


def refusal(submit: Submit, model: Model | None = None, **changes: Any) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        prepare(submit, model, **changes)
    return caught.value


def test_text_is_taken_as_it_is() -> None:
    model = Model()
    request = prepare(text("ab", client="ann", cache_prompt=False, max_tokens=5), model).request
    assert (request.id, request.prompt, request.generator) == (7, (1, 97, 98), 42)
    assert (request.client, request.shares_prefix, request.deadline_s) == ("ann", False, 12.5)
    assert request.max_tokens == 5
    assert model.rendered == []


def test_tokens_are_taken_as_they_are() -> None:
    submit = Submit(id=7, prompt=TokenPrompt(tokens=(0, 127)), sampling=Sampling())
    assert prepare(submit).request.prompt == (0, 127)


@pytest.mark.parametrize("token", [-1, 128, 2**31])
def test_a_token_of_another_vocabulary_is_refused(token: int) -> None:
    error = refusal(Submit(id=7, prompt=TokenPrompt(tokens=(5, token)), sampling=Sampling()))
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, "prompt")
    assert f"token {token} (the one at index 1)" in error.message


def test_a_gap_is_asked_for_with_the_model_s_tokens() -> None:
    submit = Submit(id=7, prompt=InfillPrompt(prefix="a", suffix="b"), sampling=Sampling())
    marks = InfillTokens(prefix=120, suffix=121, middle=122)
    assert prepare(submit, infill=marks).request.prompt == (120, 97, 121, 98, 122)
    assert refusal(submit).kind is Kind.MODEL_NOT_SUPPORTED


def test_a_conversation_goes_through_the_template() -> None:
    model = Model()
    prepared = prepare(chat(stop=("###",)), model)
    assert prepared.request.prompt == (1, *map(ord, "<hi>"))
    [request] = model.rendered
    assert request.pop("now") > 1_700_000_000
    assert request == {
        "messages": MESSAGES,
        "chat_template_kwargs": {},
        "add_generation_prompt": True,
        "continue_final_message": False,
        "parallel_tool_calls": False,
        "reasoning_format": "auto",
    }
    assert prepared.stops == ("###", "<end>")


def test_the_generator_gets_what_was_said_and_nothing_else() -> None:
    model = Model()
    sampling = Sampling(temperature=0.0, seed=3, top_logprobs=2, samplers=("top_k",))
    prepare(chat(sampling=sampling, max_tokens=9, stop=("###",)), model)
    assert model.settings == [
        {
            "temperature": 0.0,
            "seed": 3,
            "top_logprobs": 2,
            "samplers": ("top_k",),
            "ignore_eos": False,
            "logit_bias": [],
            "stop": ("###", "<end>"),
            "max_tokens": 9,
            "preserved_tokens": ("<tool>",),
        }
    ]


@pytest.mark.parametrize("submitted", [chat, partial(text, "a")], ids=["chat", "text"])
def test_bounds_of_numbers_are_part_of_a_grammar(submitted: Callable[..., Submit]) -> None:
    model = Model()
    prepare(submitted(sampling=Sampling(json_schema='{"type": "number"}')), model)
    bounded = '{"type": "number", "minimum": 7, "exclusiveMaximum": 8}'
    prepare(submitted(sampling=Sampling(json_schema=bounded)), model)
    free, held = model.settings
    assert (free["json_schema"], free.get("grammar")) == ('{"type": "number"}', None)
    assert (held.get("json_schema"), held["grammar"]) == (None, 'root ::= ("7" ("." [0-9]{1,14})?)')


def test_a_forbidden_token_is_written_as_false() -> None:
    model = Model()
    prepare(text("a", sampling=Sampling(logit_bias=((5, -math.inf), (6, 1.5)))), model)
    assert model.settings[0]["logit_bias"] == [[5, False], [6, 1.5]]


def test_minus_one_means_the_whole_context() -> None:
    model = Model()
    sampling = Sampling(repeat_last_n=-1, dry_penalty_last_n=-1)
    request = prepare(text("a", sampling=sampling), model).request
    assert model.settings[0]["repeat_last_n"] == model.settings[0]["dry_penalty_last_n"] == 100
    assert request.tail_tokens == 100


@pytest.mark.parametrize(
    ("sampling", "hint", "tail"),
    [
        (Sampling(), 0, 64),
        (Sampling(), 80, 80),
        (Sampling(repeat_last_n=90), 80, 90),
        (Sampling(dry_penalty_last_n=70, repeat_last_n=0), 0, 70),
    ],
)
def test_the_penalties_see_as_much_as_they_ask_for(
    sampling: Sampling, hint: int, tail: int
) -> None:
    prepared = prepare(text("a", sampling=sampling), penalty_tokens=hint)
    assert prepared.request.tail_tokens == tail


@pytest.mark.parametrize(("content", "max_tokens"), [("a", 0), ("a" * 99, 5)])
def test_no_generator_is_made_that_will_not_be_used(content: str, max_tokens: int) -> None:
    model = Model()
    assert prepare(text(content, max_tokens=max_tokens), model).request.generator is None
    assert model.settings == []


def test_a_template_that_refuses_is_the_requests_fault() -> None:
    error = refusal(chat(), Model(NativeError(Code.PARSE, "roles must alternate")))
    assert (error.kind, error.message) == (Kind.TEMPLATE_ERROR, "roles must alternate")


def test_without_a_template_only_text_is_taken() -> None:
    error = refusal(chat(), conversations=None, no_template="it is broken")
    assert (error.kind, error.message) == (Kind.TEMPLATE_ERROR, "it is broken")
    assert prepare(text("a"), conversations=None).request.generator == 42


@pytest.mark.parametrize(
    ("error", "sampling", "kind", "param"),
    [
        (
            NativeError(Code.GRAMMAR, "bad schema"),
            Sampling(json_schema="{}"),
            Kind.INVALID_REQUEST,
            "response_format",
        ),
        (
            NativeError(Code.GRAMMAR, "bad rule"),
            Sampling(grammar="x"),
            Kind.INVALID_REQUEST,
            "grammar",
        ),
        (
            NativeError(Code.ARGUMENT, "stop: at most 64 strings"),
            Sampling(),
            Kind.INVALID_REQUEST,
            "stop",
        ),
        (NativeError(Code.STATE, "65536 generators"), Sampling(), Kind.BUSY, None),
        (NativeError(Code.EXCEPTION, "boom"), Sampling(), Kind.INTERNAL, None),
    ],
)
def test_a_refused_generator_names_the_parameter(
    error: NativeError, sampling: Sampling, kind: Kind, param: str | None
) -> None:
    refused = refusal(text("a", sampling=sampling), Model(error))
    assert (refused.kind, refused.param) == (kind, param)
    assert refused.message.endswith(error.message)
    assert param is None or refused.message.startswith(f"{param}: ")


def test_more_log_probabilities_than_a_step_has_room_for_are_refused() -> None:
    assert prepare(text("a", sampling=Sampling(top_logprobs=20))).request.generator == 42
    error = refusal(text("a", sampling=Sampling(top_logprobs=21)))
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, "top_logprobs")


def test_an_embedding_model_does_not_generate() -> None:
    error = refusal(text("a"), generators=None)
    assert (error.kind, error.param) == (Kind.MODEL_NOT_SUPPORTED, "model")


def test_a_prompt_is_scored_as_far_as_its_answer_is() -> None:
    asked = text("hi", sampling=Sampling(top_logprobs=2), prompt_logprobs=True)
    assert prepare(asked).request.scored_top == 2
    assert prepare(text("hi", sampling=Sampling(top_logprobs=2))).request.scored_top is None


def test_more_scores_than_an_answer_tells_are_refused() -> None:
    asked = text("a" * 2**17, sampling=Sampling(top_logprobs=1), prompt_logprobs=True)
    error = refusal(asked, context_size=2**20)
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, "logprobs")


@pytest.mark.parametrize(
    "prompt",
    [
        TextPrompt(text="a" * 400),
        InfillPrompt(prefix="a" * 200, suffix="b" * 200),
        ChatPrompt(messages_json=json.dumps(MESSAGES)),
    ],
)
def test_a_text_that_is_far_too_long_is_refused_before_it_is_tokenised(prompt: Prompt) -> None:
    model = Model()
    submit = Submit(id=7, prompt=prompt, sampling=Sampling())
    # Four bytes a token at most: the texts have a hundred tokens or more, the chat's one.
    size = 1 if isinstance(prompt, ChatPrompt) else 100
    error = refusal(submit, model, context_size=size)
    assert error.kind is Kind.CONTEXT_LENGTH_EXCEEDED
    assert error.details == {"n_prompt_tokens": size, "n_ctx": size}
    assert "at least" in error.message
    assert not model.tokenised


def test_without_a_bound_a_text_is_tokenised_whatever_its_length() -> None:
    prepared = prepare(text("a" * 400), token_bytes=0)
    assert len(prepared.request.prompt) == 401
