"""How tokens are chosen: the cheap paths choose what llama.cpp's chain does; wishes are kept."""

from __future__ import annotations

import math
from typing import Any

import pytest

from runner.binding import Code, NativeError, Prompt

from .driver import PROMPT, Engine

pytestmark = [pytest.mark.native, pytest.mark.model]

# A bias of 0 changes no logit, but it sends a generator through the whole chain.
WHOLE_CHAIN = {"logit_bias": [[0, 0.0]]}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 1.5, "top_k": 100},
        {"top_k": 1},
        {"top_k": 20, "top_p": 0.7, "min_p": 0.1, "typical_p": 0.9, "xtc_probability": 0.3},
        {"top_k": 300, "top_p": 1.0, "temperature": 2.0},
        {"samplers": ["top_k", "temperature"]},
        {"dynatemp_range": 0.5},
        {"adaptive_target": 0.5, "samplers": ["top_k", "adaptive_p"]},
    ],
    ids=str,
)
def test_selecting_the_top_k_first_gives_the_tokens_of_the_whole_chain(
    shared: Engine, settings: dict[str, Any]
) -> None:
    wishes = {"seed": 1, "max_tokens": 12} | settings
    assert shared.complete(**wishes).tokens == shared.complete(**wishes, **WHOLE_CHAIN).tokens


def test_greedy_is_what_the_whole_chain_chooses_of_one(shared: Engine) -> None:
    greedy = shared.complete(temperature=0, max_tokens=16)
    assert greedy.tokens == shared.complete(top_k=1, max_tokens=16, **WHOLE_CHAIN).tokens


def test_penalties_and_dry_and_mirostat_are_reproducible(shared: Engine) -> None:
    for wishes in (
        {"repeat_penalty": 1.2, "frequency_penalty": 0.3, "presence_penalty": 0.3},
        {"dry_multiplier": 0.8},
        {"mirostat": 1},
        {"mirostat": 2, "mirostat_tau": 3.0},
        {"top_n_sigma": 1.0},
    ):
        settings: dict[str, Any] = {"seed": 3, "max_tokens": 3} | wishes
        assert shared.complete(**settings).tokens == shared.complete(**settings).tokens


def test_the_tail_of_the_prompt_primes_the_penalties(shared: Engine) -> None:
    (favourite,) = shared.complete(temperature=0, max_tokens=1).tokens
    prompt = shared.tokens(PROMPT)
    for tail, is_repeated in ([], True), ([favourite], False):
        shared.context.seq_rm(0)
        generator = shared.context.new_generator({"temperature": 0, "presence_penalty": 100})
        shared.context.bind(generator, 0, len(prompt), tail)
        (record,) = shared.step([], Prompt(0, 0, prompt, generator))
        assert (record.token == favourite) is is_repeated


def test_a_logit_bias_forbids_and_forces(shared: Engine) -> None:
    (first, *_) = shared.complete(temperature=0, max_tokens=1).tokens
    forbidden = shared.complete(temperature=0, max_tokens=1, logit_bias=[[first, False]])
    assert forbidden.tokens != [first]
    forced = shared.complete(seed=1, max_tokens=3, logit_bias=[[first, 1000]])
    assert forced.tokens == [first] * 3


def test_ignore_eos_goes_on_to_the_limit(shared: Engine) -> None:
    prompt = "<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\n"
    ended = shared.complete(prompt, temperature=0, max_tokens=40)
    assert len(ended.tokens) < 40
    endless = shared.complete(prompt, temperature=0, max_tokens=40, ignore_eos=True)
    assert len(endless.tokens) == 40


def test_logprobs_are_a_distribution_with_the_chosen_token_in_it(shared: Engine) -> None:
    answer = shared.complete(temperature=0, max_tokens=2, top_logprobs=20)
    for record in answer.records:
        values = [logprob for _, logprob in record.top]
        assert len(values) == 20
        assert values == sorted(values, reverse=True)
        assert 0.5 < sum(math.exp(value) for value in values) <= 1.0001
        assert record.top[0] == (record.token, record.logprob)


def test_logprobs_are_of_the_raw_logits(shared: Engine) -> None:
    plain = shared.complete(temperature=0, max_tokens=1, top_logprobs=2).last
    (best, _), (second, logprob) = plain.top
    bent = shared.complete(
        temperature=0, max_tokens=1, top_logprobs=0, logit_bias=[[best, False]]
    ).last
    assert (bent.token, bent.logprob, bent.top) == (second, pytest.approx(logprob), ())


def test_no_logprobs_unless_asked(shared: Engine) -> None:
    assert shared.complete(temperature=0, max_tokens=1).last.logprob is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mirostat": 3}, '"mirostat" must be in 0..2'),
        ({"temperature": "hot"}, '"temperature" must be a finite number'),
        ({"seed": -1}, "seed"),
        ({"samplers": ["top_k", "magic"]}, "samplers: unknown name"),
        ({"logit_bias": [[10**6, 1]]}, "outside the vocabulary"),
        ({"logit_bias": [[1]]}, "logit_bias"),
        ({"repeat_last_n": -1}, "repeat_last_n"),
        ({"repeat_penalty": 0}, "penalty_repeat"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_logprobs": 129}, "top_logprobs"),
    ],
)
def test_wishes_that_llama_cpp_would_abort_on_are_refused(
    shared: Engine, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(NativeError, match=message) as caught:
        shared.context.new_generator(settings)
    assert caught.value.code == Code.ARGUMENT
