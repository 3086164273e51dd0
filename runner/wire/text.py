"""Texts and tokens: prompts that are no conversation, and questions about them. Pure."""

from __future__ import annotations

import msgspec


class TextPrompt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="text"):
    """Raw text, tokenised with special tokens parsed and BOS added as the model asks."""

    text: str


class TokenPrompt(msgspec.Struct, frozen=True, kw_only=True, tag="tokens"):
    """Tokens as they are: nothing is added. Ids outside the vocabulary are refused."""

    tokens: tuple[int, ...]


class Snippet(msgspec.Struct, frozen=True, kw_only=True):
    """A text that helps to fill a gap elsewhere."""

    filename: str
    text: str


class InfillPrompt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="infill"):
    """A gap between two texts, asked for with the tokens that the model has for that.

    No text of it is read as special tokens. A model without such tokens refuses it.
    """

    prefix: str
    suffix: str
    extra: tuple[Snippet, ...] = ()  # farthest first
    start: str = ""  # how the filling begins


class Tokenize(msgspec.Struct, frozen=True, kw_only=True, tag="tokenize"):
    """Which tokens a text is."""

    text: str
    add_special: bool  # BOS and EOS where the model wants them
    parse_special: bool  # texts of special tokens stand for them
    with_pieces: bool = False


class Detokenize(msgspec.Struct, frozen=True, kw_only=True, tag="detokenize"):
    """Which text tokens are, special ones included."""

    tokens: tuple[int, ...]
