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
    Field,
    Fields,
    as_array,
    as_integer,
    as_number,
    as_text,
    boolean,
    integer,
    number,
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


# ---- readers of one field --------------------------------------------------------------------


def _read_samplers(value: Any, param: str) -> tuple[str, ...]:
    words = list(value) if isinstance(value, str) else as_array(value, param)
    names: list[str] = []
    for index, word in enumerate(words):
        place = param if isinstance(value, str) else f"{param}[{index}]"
        spelled = as_text(word, place).lower().replace("-", "_")
        name = next((name for name, others in SAMPLERS.items() if spelled in (name, *others)), None)
        if name is None:
            refuse(place, "one of " + ", ".join(SAMPLERS), word)
        if name not in names:
            names.append(name)
    return tuple(names)


def _read_breakers(value: Any, param: str) -> tuple[str, ...]:
    array = as_array(value, param)
    if not 1 <= len(array) <= MAX_BREAKERS:
        refuse(param, f"an array of 1 to {MAX_BREAKERS} strings", array)
    return tuple(
        as_text(item, f"{param}[{index}]", MAX_BREAKER_CHARACTERS)
        for index, item in enumerate(array)
    )


def _read_logit_bias(value: Any, param: str) -> tuple[tuple[int, float], ...]:
    """Read OpenAI's ``{"50256": -100}`` or llama-server's ``[[50256, -100], [13, false]]``."""
    if not isinstance(value, dict | list):
        refuse(param, "an object from token ids to biases, or an array of pairs", value)
    if len(value) > MAX_BIASES:
        refuse(param, f"at most {MAX_BIASES} tokens", value)
    if isinstance(value, dict):
        pairs = [(token, bias, f"{param}.{token[:40]}") for token, bias in value.items()]
    else:
        pairs = [
            (*_as_pair(pair, f"{param}[{i}]"), f"{param}[{i}]") for i, pair in enumerate(value)
        ]
    return tuple((_as_token(token, place), _as_bias(bias, place)) for token, bias, place in pairs)


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


# ---- fields ----------------------------------------------------------------------------------

NUMBERS = (
    number("temperature", "how random tokens are chosen; 0: the likeliest", 0.0, NO_LIMIT),
    number("top_p", "keep the likeliest tokens that have this share together", 0.0, 1.0),
    number("min_p", "keep tokens this likely, measured by the likeliest", 0.0, 1.0),
    number("typical_p", "keep tokens of typical likelihood; 1: off", 0.0, NO_LIMIT),
    number("top_n_sigma", "keep tokens so near the best, in deviations; -1: off", -1.0, NO_LIMIT),
    number("xtc_probability", "how often the likeliest tokens are left out", 0.0, 1.0),
    number("xtc_threshold", "how likely a token must be to be left out", 0.0, 1.0),
    number("dynatemp_range", "how far the temperature follows the entropy", 0.0, NO_LIMIT),
    number("dynatemp_exponent", "how the temperature follows the entropy", 0.0, NO_LIMIT),
    number("repeat_penalty", "divides the logits of recent tokens; 1: off", 0.01, NO_LIMIT),
    number("frequency_penalty", "against tokens, by how often they came", -2.0, 2.0),
    number("presence_penalty", "against tokens that came", -2.0, 2.0),
    number("dry_multiplier", "against repeated sequences; 0: off", 0.0, NO_LIMIT),
    number("dry_base", "how fast that grows with a sequence", 1.0, NO_LIMIT),
    number("mirostat_tau", "the surprise that Mirostat holds", 0.0, NO_LIMIT),
    number("mirostat_eta", "how fast Mirostat learns", 0.0, 1.0),
    number("adaptive_target", "the likelihood that adaptive-p holds; -1: off", -1.0, 1.0),
    number("adaptive_decay", "how slowly adaptive-p adapts", 0.0, 0.99),
)
TOP_K = integer("top_k", "keep so many of the likeliest tokens; 0 and -1: all", -1, MAX_TOKEN)
INTEGERS = (
    integer("repeat_last_n", "how many tokens count as recent", 0, MAX_WINDOW),
    integer("dry_allowed_length", "how long a repeated sequence may be", 0, MAX_WINDOW),
    integer("dry_penalty_last_n", "how far back sequences are looked for", 0, MAX_WINDOW),
    integer("mirostat", "0: off, 1 or 2: the version of Mirostat", 0, 2),
    integer("min_keep", "samplers keep at least so many tokens", 0, MAX_WINDOW),
)
SEED = integer("seed", "makes an answer repeatable; -1: random", -1, MAX_SEED)
IGNORE_EOS = boolean("ignore_eos", "whether to go on after the model's end")
N_PROBS = integer(
    "n_probs", "tell so many likely tokens (llama-server's name)", 0, MAX_TOP_LOGPROBS
)
LOGPROBS = boolean("logprobs", "whether to tell how likely tokens were")
TOP_LOGPROBS = integer(
    "top_logprobs", "how many other tokens are told; needs logprobs", 0, MAX_TOP_LOGPROBS
)
LOGIT_BIAS = Field(
    "logit_bias",
    "what is added to the logits of tokens, by id; false in a pair forbids one",
    {"type": ["object", "array"], "additionalProperties": {"type": "number"}},
    _read_logit_bias,
)
SAMPLERS_IN_ORDER = Field(
    "samplers",
    "which samplers are used, in which order: " + ", ".join(SAMPLERS),
    {"type": ["array", "string"], "items": {"type": "string"}},
    _read_samplers,
)
BREAKERS = Field(
    "dry_sequence_breakers",
    "texts that end a sequence for DRY",
    {
        "type": "array",
        "items": {"type": "string", "maxLength": MAX_BREAKER_CHARACTERS},
        "minItems": 1,
        "maxItems": MAX_BREAKERS,
    },
    _read_breakers,
)
FIELDS: tuple[Field[Any], ...] = (
    *NUMBERS,
    TOP_K,
    *INTEGERS,
    SEED,
    LOGIT_BIAS,
    SAMPLERS_IN_ORDER,
    BREAKERS,
    IGNORE_EOS,
    N_PROBS,
)


# ---- all of them -----------------------------------------------------------------------------


def parse(fields: Fields, *, json_schema: str | None, top_logprobs: int | None = None) -> Sampling:
    """Take every sampling field out of ``fields``; raise INVALID_REQUEST naming the wrong one.

    ``top_logprobs`` is what the dialect's own fields ask for; without it ``n_probs`` counts.
    """
    values: dict[str, Any] = {
        field.name: fields.take(field) for field in (*NUMBERS, *INTEGERS) if field.name in fields
    }
    top_k, seed, n_probs = fields.take(TOP_K), fields.take(SEED), fields.take(N_PROBS)
    if top_k is not None:
        values["top_k"] = max(top_k, 0)  # -1 is how vLLM writes "off"
    return Sampling(
        **values,
        seed=None if seed == -1 else seed,
        samplers=fields.take(SAMPLERS_IN_ORDER),
        dry_sequence_breakers=fields.take(BREAKERS),
        logit_bias=fields.take(LOGIT_BIAS) or (),
        ignore_eos=fields.take(IGNORE_EOS) or False,
        top_logprobs=(n_probs or None) if top_logprobs is None else top_logprobs,
        json_schema=json_schema,
    )


def parse_logprobs(fields: Fields) -> int | None:
    """Read the pair of fields of OpenAI's chat completions: how many tokens are told."""
    wanted, top = fields.take(LOGPROBS), fields.take(TOP_LOGPROBS)
    if top is not None and not wanted:
        raise RunnerError(
            Kind.INVALID_REQUEST, "top_logprobs needs logprobs: true", param="top_logprobs"
        )
    return (top or 0) if wanted else None


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
