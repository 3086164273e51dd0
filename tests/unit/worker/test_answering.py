"""Questions that need no engine: what text is in tokens, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from runner.errors import Kind, RunnerError
from runner.wire.messages import (
    Answered,
    Ask,
    ChatPrompt,
    Detokenize,
    TextPrompt,
    Tokenize,
    TokenPrompt,
)
from runner.worker.answering import MAX_TOKENS, Answerer
from runner.worker.conversation import Conversations
from runner.worker.infill import InfillTokens
from runner.worker.parsing import Parser
from runner.worker.prompts import Prompter


class Bytes:
    """A vocabulary of bytes behind a BOS, 256, and a template that shouts."""

    def __init__(self) -> None:
        self.info: dict[str, Any] = {}

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        return [*([256] if add_special else []), *text.encode()]

    def piece(self, token: int, *, special: bool = False) -> bytes:
        return b"<s>" if token == 256 else bytes([token])

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        return b"".join(self.piece(token, special=special) for token in tokens)

    def apply(self, request: dict[str, Any]) -> dict[str, Any]:
        made = {"prompt": request["messages"][0]["content"].upper(), "generation_prompt": ""}
        empty = {"additional_stops": [], "preserved_tokens": [], "grammar": "", "parser": ""}
        return made | empty

    def new_generator(self, settings: dict[str, Any]) -> int:
        raise AssertionError("a question needs no generator")


def no_parser(settings: dict[str, Any]) -> Parser:
    raise AssertionError("a question has no answer to parse")


@contextmanager
def unlimited(id: int) -> Iterator[None]:
    yield


def answer(question: Any) -> Answered:
    model = Bytes()
    prompter = Prompter(
        tokenizer=model,
        conversations=Conversations(model, no_parser, len),
        no_template="",
        generators=None,
        context_size=8,
        vocabulary=257,
        token_bytes=1,
        infill=InfillTokens(),
        penalty_tokens=0,
    )
    return Answerer(prompter, model).answer(Ask(id=7, question=question), unlimited)


def test_a_text_has_tokens_with_their_bytes() -> None:
    question = Tokenize(text="é", add_special=True, parse_special=False, with_pieces=True)
    assert answer(question) == Answered(7, "", (256, 195, 169), (b"<s>", b"\xc3", b"\xa9"))
    bare = Tokenize(text="é", add_special=False, parse_special=False)
    assert answer(bare) == Answered(7, "", (195, 169))


def test_tokens_are_a_text_whatever_they_are() -> None:
    assert answer(Detokenize(tokens=(256, 104, 195))) == Answered(7, "<s>h\ufffd", (256, 104, 195))


@pytest.mark.parametrize("token", [-1, 257])
def test_a_token_that_does_not_exist_is_refused(token: int) -> None:
    with pytest.raises(RunnerError) as caught:
        answer(Detokenize(tokens=(token,)))
    assert caught.value.kind is Kind.INVALID_REQUEST


def test_an_answer_that_no_frame_should_hold_is_refused() -> None:
    with pytest.raises(RunnerError) as caught:
        answer(Tokenize(text="a" * (MAX_TOKENS + 1), add_special=False, parse_special=False))
    assert caught.value.kind is Kind.TOO_LARGE
    assert "at least 1048577 tokens" in caught.value.message


def test_a_prompt_is_shown_as_the_model_reads_it() -> None:
    chat = ChatPrompt(messages_json='[{"role": "user", "content": "hi"}]')
    assert answer(chat) == Answered(7, "HI", (256, 72, 73))
    assert answer(TextPrompt(text="hi")) == Answered(7, "hi", (256, 104, 105))
    assert answer(TokenPrompt(tokens=(104,))) == Answered(7, "h", (104,))
