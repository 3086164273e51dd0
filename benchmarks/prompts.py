"""Prompts drawn from a seed: as many tokens as wanted, shared with others exactly where wanted."""

from __future__ import annotations

import random
from typing import Any

# Common nouns: one token each, or little more, in the vocabularies of today.
WORDS = """river stone market winter engine garden letter bridge copper signal harbor window forest
teacher number island pencil thunder village candle mirror orange planet saddle turtle valley
walnut yellow anchor basket"""
TEMPLATE_TOKENS = 25  # of a chat template around a system and a user message, about

Messages = list[dict[str, str]]


def essay(tokens: int, seed: str) -> str:
    """Text of about so many tokens that begins differently for each seed."""
    own, words = random.Random(seed), WORDS.split()
    return " ".join(own.choice(words) for _ in range(tokens))


def story(tokens: int, seed: str) -> Messages:
    """A chat of about so many prompt tokens that shares nothing with another seed's.

    It has a system message because some templates add one of their own, which would be shared.
    """
    system = f"Story {random.Random(seed).randrange(10**6)}."
    return instructed(system, tokens - TEMPLATE_TOKENS, seed)


def instructed(system: str, tokens: int, seed: str) -> Messages:
    """A chat with this system prompt and a user message of about so many tokens."""
    user = f"{essay(max(4, tokens - 10), seed)}. Tell a long story with these words."
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def sampled(messages: Messages, max_tokens: int, **members: Any) -> dict[str, Any]:
    """A request for exactly so many tokens, drawn as servers draw by default.

    Greedy answers of small models soon repeat themselves, which would flatter a server that
    guesses tokens from the text. ``ignore_eos`` is llama.cpp's; others answer as long as they like.
    """
    return {
        "messages": messages,
        "max_tokens": max_tokens,
        "temperature": 0.8,
        "seed": 1,
        "ignore_eos": True,
        "stream_options": {"include_usage": True},
    } | members
