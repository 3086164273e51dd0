"""Checks of the tokenizer's arrays, which llama.cpp reads with types and lengths it assumes."""

from __future__ import annotations

import re

from runner.gguf.fault import invalid, show
from runner.gguf.types import ValueType
from runner.gguf.values import Array, Gguf

TOKENS = "tokenizer.ggml.tokens"
SCORES = "tokenizer.ggml.scores"
TYPES = "tokenizer.ggml.token_type"
MERGES = "tokenizer.ggml.merges"

MAX_TOKEN_BYTES = 16 * 1024  # the longest of real vocabularies are runs of about 1,000 blanks
BYTE_TOKEN = 6  # LLAMA_TOKEN_TYPE_BYTE
_BYTE_FORM = re.compile(rb"<0x[0-9A-Fa-f]{2}>")


def check_vocabulary(gguf: Gguf) -> None:
    """Check the vocabulary, if the file has one; raise RunnerError(INVALID_MODEL)."""
    if TOKENS not in gguf.fields:
        return
    array = _require_array(gguf, TOKENS, ValueType.STR)
    if array.count == 0:
        raise invalid(TOKENS, "is empty")
    # Old SentencePiece conversions hold scores as i32; the engine reads both.
    _check_length(gguf, SCORES, array.count, ValueType.F32, ValueType.I32)
    _check_length(gguf, TYPES, array.count, ValueType.I32)
    if MERGES in gguf.fields:
        _require_array(gguf, MERGES, ValueType.STR)
    tokens = array.strings()
    _check_tokens(tokens)
    _check_byte_tokens(tokens, gguf.array(TYPES))


def _check_tokens(tokens: list[bytes]) -> None:
    longest = max(map(len, tokens))
    if longest > MAX_TOKEN_BYTES:
        raise invalid(
            TOKENS, f"has a token of {longest} bytes; at most {MAX_TOKEN_BYTES} are allowed"
        )
    # llama.cpp asserts that all tokens differ, after it has named the empty ones.
    distinct = set(tokens)
    if len(distinct) != len(tokens) or b"" in distinct:
        repeated = _repeated(tokens)
        if repeated is not None:
            raise invalid(TOKENS, f"has the token {show(repeated)} twice")


def _repeated(tokens: list[bytes]) -> bytes | None:
    seen: set[bytes] = set()
    for index, token in enumerate(tokens):
        name = token or b"[EMPTY_%d]" % index
        if name in seen:
            return name
        seen.add(name)
    return None


def _check_byte_tokens(tokens: list[bytes], types: Array | None) -> None:
    """Check the form of byte tokens: `<0x-1>` wrote before a buffer (llama.cpp #25969)."""
    kinds = types.numbers() if types else ()
    if BYTE_TOKEN not in kinds:
        return
    for token, kind in zip(tokens, kinds, strict=True):
        if kind == BYTE_TOKEN and not _BYTE_FORM.fullmatch(token):
            raise invalid(TOKENS, f"has the byte token {show(token)}, not of the form <0x0A>")


def _check_length(gguf: Gguf, key: str, count: int, *types: ValueType) -> None:
    if key not in gguf.fields:
        return
    array = _require_array(gguf, key, *types)
    if array.count != count:
        raise invalid(key, f"has {array.count} values for {count} tokens")


def _require_array(gguf: Gguf, key: str, *types: ValueType) -> Array:
    array = gguf.array(key)
    if array is None or array.type not in types:
        wanted = " or ".join(kind.name.lower() for kind in types)
        got = array.type if array else gguf.fields[key].type
        raise invalid(key, f"is of type {got.name.lower()}; expected an array of {wanted}")
    return array
