"""The part of a request that says how tokens are chosen. Pure.

Names and meanings are llama-server's (its README, "completion" route), which include OpenAI's.
Where llama-server limits a value silently, the value is refused here: an answer that ignores what
was asked for is worse than none.
"""

from __future__ import annotations

import math
from typing import Any

from runner.api.asking import MAX_SEED
from runner.api.fields import (
    NO_LIMIT,
    Fields,
    as_array,
    as_integer,
    as_number,
    as_text,
    refuse,
)
from runner.errors import Kind, RunnerError
from runner.wire.messages import Sampling

MAX_TOP_LOGPROBS = 20
MAX_BIASES = 1024
MAX_BREAKERS = 32
MAX_BREAKER_CHARACTERS = 64
MAX_TOKEN = 2**31 - 1
MAX_WINDOW = 2**20  # tokens looked back at: the samplers allocate this many

NUMBERS: dict[str, tuple[float, float]] = {
    "temperature": (0.0, NO_LIMIT),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (0.0, NO_LIMIT),
    "top_n_sigma": (-1.0, NO_LIMIT),
    "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0),
    "dynatemp_range": (0.0, NO_LIMIT),
    "dynatemp_exponent": (0.0, NO_LIMIT),
    "repeat_penalty": (0.01, NO_LIMIT),  # divides
    "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
    "dry_multiplier": (0.0, NO_LIMIT),
    "dry_base": (1.0, NO_LIMIT),
    "mirostat_tau": (0.0, NO_LIMIT),
    "mirostat_eta": (0.0, 1.0),
    "adaptive_target": (-1.0, 1.0),
    "adaptive_decay": (0.0, 0.99),
}
INTEGERS: dict[str, tuple[int, int]] = {
    "top_k": (-1, MAX_TOKEN),
    "repeat_last_n": (0, MAX_WINDOW),
    "dry_allowed_length": (0, MAX_WINDOW),
    "dry_penalty_last_n": (0, MAX_WINDOW),
    "mirostat": (0, 2),
    "min_keep": (0, MAX_WINDOW),
}
# Canonical name: the other spellings that llama.cpp knows. The letter is the short form's.
SAMPLERS: dict[str, tuple[str, ...]] = {
    "penalties": ("e",),
    "dry": ("d",),
    "top_n_sigma": ("s", "topnsigma"),
    "top_k": ("k", "topk"),
    "typ_p": ("y", "typp", "typ", "typical_p"),
    "top_p": ("p", "topp", "nucleus"),
    "min_p": ("m", "minp"),
    "xtc": ("x",),
    "temperature": ("t", "temp"),
    "adaptive_p": ("a", "adaptivep"),
}


def parse(fields: Fields, *, json_schema: str | None) -> Sampling:
    """Take every sampling field out of ``fields``; raise INVALID_REQUEST naming the wrong one."""
    values: dict[str, Any] = {
        name: fields.number(name, low, high)
        for name, (low, high) in NUMBERS.items()
        if name in fields
    }
    values |= {
        name: fields.integer(name, low, high)
        for name, (low, high) in INTEGERS.items()
        if name in fields
    }
    if values.get("top_k") == -1:
        values["top_k"] = 0  # how vLLM writes "off"
    return Sampling(
        **values,
        seed=_parse_seed(fields),
        samplers=_parse_samplers(fields),
        dry_sequence_breakers=_parse_breakers(fields),
        logit_bias=_parse_logit_bias(fields),
        ignore_eos=fields.boolean("ignore_eos") or False,
        top_logprobs=_parse_logprobs(fields),
        json_schema=json_schema,
    )


def check_vocabulary(sampling: Sampling, vocabulary: int) -> None:
    """Raise INVALID_REQUEST when a biased token is not one of the loaded model's."""
    for token, _ in sampling.logit_bias:
        if token >= vocabulary:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"logit_bias: token {token} is not in the vocabulary of this model, "
                f"which ends at {vocabulary - 1}",
                param=f"logit_bias.{token}",
            )


def _parse_seed(fields: Fields) -> int | None:
    seed = fields.integer("seed", -1, MAX_SEED)
    return None if seed == -1 else seed


def _parse_logprobs(fields: Fields) -> int | None:
    """Read OpenAI's pair of fields, or llama-server's ``n_probs``."""
    wanted = fields.boolean("logprobs")
    top = fields.integer("top_logprobs", 0, MAX_TOP_LOGPROBS)
    probabilities = fields.integer("n_probs", 0, MAX_TOP_LOGPROBS)
    if top is not None and not wanted:
        raise RunnerError(
            Kind.INVALID_REQUEST, "top_logprobs needs logprobs: true", param="top_logprobs"
        )
    if wanted:
        return top or 0
    return probabilities or None


def _parse_samplers(fields: Fields) -> tuple[str, ...] | None:
    value = fields.take("samplers")
    if value is None:
        return None
    words = list(value) if isinstance(value, str) else as_array(value, "samplers")
    names: list[str] = []
    for index, word in enumerate(words):
        param = "samplers" if isinstance(value, str) else f"samplers[{index}]"
        spelled = as_text(word, param).lower().replace("-", "_")
        name = next((name for name, others in SAMPLERS.items() if spelled in (name, *others)), None)
        if name is None:
            refuse(param, "one of " + ", ".join(SAMPLERS), word)
        if name not in names:
            names.append(name)
    return tuple(names)


def _parse_breakers(fields: Fields) -> tuple[str, ...] | None:
    value = fields.array("dry_sequence_breakers")
    if value is None:
        return None
    if not 1 <= len(value) <= MAX_BREAKERS:
        refuse("dry_sequence_breakers", f"an array of 1 to {MAX_BREAKERS} strings", value)
    return tuple(
        as_text(item, f"dry_sequence_breakers[{index}]", MAX_BREAKER_CHARACTERS)
        for index, item in enumerate(value)
    )


def _parse_logit_bias(fields: Fields) -> tuple[tuple[int, float], ...]:
    """Read OpenAI's ``{"50256": -100}`` or llama-server's ``[[50256, -100], [13, false]]``."""
    value = fields.take("logit_bias")
    if value is None:
        return ()
    if not isinstance(value, dict | list):
        refuse("logit_bias", "an object from token ids to biases, or an array of pairs", value)
    if len(value) > MAX_BIASES:
        refuse("logit_bias", f"at most {MAX_BIASES} tokens", value)
    if isinstance(value, dict):
        pairs = [(token, bias, f"logit_bias.{token[:40]}") for token, bias in value.items()]
    else:
        pairs = [
            (*_as_pair(pair, f"logit_bias[{i}]"), f"logit_bias[{i}]")
            for i, pair in enumerate(value)
        ]
    return tuple((_as_token(token, param), _as_bias(bias, param)) for token, bias, param in pairs)


def _as_pair(value: Any, param: str) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        refuse(param, "a pair of a token id and a bias", value)
    return value[0], value[1]


def _as_token(value: Any, param: str) -> int:
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 10):
            refuse(param, "a token id (text is not taken: ids depend on the model)", value)
        value = int(value)
    return as_integer(value, param, 0, MAX_TOKEN)


def _as_bias(value: Any, param: str) -> float:
    """Read a bias; ``false`` forbids the token, as llama-server has it."""
    return -math.inf if value is False else as_number(value, param, -100.0, 100.0)
