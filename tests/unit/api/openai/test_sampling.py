"""Sampling fields: cases B4 and B10 of demands-security.md, table C.2 of llama-engine.md."""

from __future__ import annotations

import math
from typing import Any

import pytest

from runner.api.fields import Fields
from runner.api.openai import sampling
from runner.errors import Kind, RunnerError
from runner.wire.messages import Sampling


def parse(**members: Any) -> Sampling:
    fields = Fields(members)
    parsed = sampling.parse(fields, json_schema=None, top_logprobs=sampling.parse_logprobs(fields))
    assert list(fields) == []
    return parsed


def test_nothing_asked_leaves_all_to_the_engine() -> None:
    assert parse() == Sampling()


@pytest.mark.parametrize("name", [field.name for field in sampling.FIELDS])
def test_null_counts_as_absent(name: str) -> None:
    assert parse(**{name: None}) == Sampling()


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"temperature": 0}, Sampling(temperature=0.0)),
        ({"temperature": 1.5, "top_p": 0.9}, Sampling(temperature=1.5, top_p=0.9)),
        ({"top_k": 40.0}, Sampling(top_k=40)),
        ({"top_k": -1}, Sampling(top_k=0)),
        ({"seed": 4294967295}, Sampling(seed=4294967295)),
        ({"seed": -1}, Sampling()),
        ({"ignore_eos": True}, Sampling(ignore_eos=True)),
        ({"logprobs": True}, Sampling(top_logprobs=0)),
        ({"logprobs": True, "top_logprobs": 5}, Sampling(top_logprobs=5)),
        ({"logprobs": False}, Sampling()),
        ({"n_probs": 3}, Sampling(top_logprobs=3)),
        ({"n_probs": 0}, Sampling()),
        ({"dry_sequence_breakers": ["\n", ":"]}, Sampling(dry_sequence_breakers=("\n", ":"))),
        ({"samplers": ["top-k", "Temperature"]}, Sampling(samplers=("top_k", "temperature"))),
        ({"samplers": "kpt"}, Sampling(samplers=("top_k", "top_p", "temperature"))),
        ({"samplers": ["typical_p", "typ_p"]}, Sampling(samplers=("typ_p",))),
        ({"samplers": []}, Sampling(samplers=())),
        ({"logit_bias": {}}, Sampling()),
        ({"logit_bias": {"50": -100, "7": 1.5}}, Sampling(logit_bias=((50, -100.0), (7, 1.5)))),
        (
            {"logit_bias": [[50, -1], [13, False], ["8", 2]]},
            Sampling(logit_bias=((50, -1.0), (13, -math.inf), (8, 2.0))),
        ),
    ],
)
def test_what_is_asked_is_passed_on(members: dict[str, Any], expected: Sampling) -> None:
    assert parse(**members) == expected


NAN = float("nan")


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": NAN}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"temperature": "0.7"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": []}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_p": -0.1}, "top_p"),
        ({"min_p": 1.01}, "min_p"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": True}, "top_k"),
        ({"top_k": "40"}, "top_k"),
        ({"seed": 2**70}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"seed": -2}, "seed"),
        ({"frequency_penalty": 2.1}, "frequency_penalty"),
        ({"presence_penalty": -2.1}, "presence_penalty"),
        ({"repeat_penalty": 0}, "repeat_penalty"),
        ({"repeat_last_n": -1}, "repeat_last_n"),
        ({"repeat_last_n": 2**31}, "repeat_last_n"),
        ({"mirostat": 3}, "mirostat"),
        ({"adaptive_decay": 1}, "adaptive_decay"),
        ({"ignore_eos": 1}, "ignore_eos"),
        ({"logprobs": 5}, "logprobs"),
        ({"top_logprobs": 5}, "top_logprobs"),
        ({"logprobs": False, "top_logprobs": 5}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"n_probs": -1}, "n_probs"),
        ({"samplers": "kz"}, "samplers"),
        ({"samplers": ["top_k", "no_such"]}, "samplers[1]"),
        ({"samplers": [7]}, "samplers[0]"),
        ({"samplers": 7}, "samplers"),
        ({"dry_sequence_breakers": []}, "dry_sequence_breakers"),
        ({"dry_sequence_breakers": ["a", 1]}, "dry_sequence_breakers[1]"),
        ({"dry_sequence_breakers": ["a" * 65]}, "dry_sequence_breakers[0]"),
        ({"logit_bias": "x"}, "logit_bias"),
        ({"logit_bias": {"50": 1e6}}, "logit_bias.50"),
        ({"logit_bias": {"50": None}}, "logit_bias.50"),
        ({"logit_bias": {"50": False, "7": True}}, "logit_bias.7"),
        ({"logit_bias": {"-1": 1}}, "logit_bias.-1"),
        ({"logit_bias": {"hello": 1}}, "logit_bias.hello"),
        ({"logit_bias": {"99999999999": 1}}, "logit_bias.99999999999"),
        ({"logit_bias": [[1]]}, "logit_bias[0]"),
        ({"logit_bias": [7]}, "logit_bias[0]"),
        ({"logit_bias": [[1.5, 1]]}, "logit_bias[0]"),
        ({"logit_bias": {str(token): 1 for token in range(1025)}}, "logit_bias"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(RunnerError) as caught:
        parse(**members)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)
    assert caught.value.message.startswith(param.partition("[")[0])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"top_p": 2}, "top_p: expected a number from 0 to 1, got 2"),
        ({"temperature": -1}, "temperature: expected a number of 0 or more, got -1"),
        ({"top_k": "40"}, 'top_k: expected an integer from -1 to 2147483647, got "40"'),
        ({"seed": 2**70}, f"seed: expected an integer from -1 to 4294967295, got {2**70}"),
        ({"mirostat": [1]}, "mirostat: expected an integer from 0 to 2, got an array of 1"),
    ],
)
def test_the_range_is_told(members: dict[str, Any], message: str) -> None:
    with pytest.raises(RunnerError) as caught:
        parse(**members)
    assert caught.value.message == message


def test_a_token_beyond_the_vocabulary_is_refused_once_it_is_known() -> None:
    biased = Sampling(logit_bias=((49151, 1.0), (49152, 1.0)))
    sampling.check_vocabulary(biased, 49153)
    with pytest.raises(RunnerError) as caught:
        sampling.check_vocabulary(biased, 49152)
    assert caught.value.param == "logit_bias.49152"
