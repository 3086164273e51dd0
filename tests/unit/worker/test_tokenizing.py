"""Cutting a text must never show in its tokens; what it saves shows in what is tokenised."""

from __future__ import annotations

import re

import pytest

from runner.worker.tokenizing import MAX_CHARS, MAX_TEXTS, PrefixTokenizer

START, LONGER, BOS = 1000, 1001, 1002
SPECIAL = {"<s>": START, "<s><s>": LONGER}


class Vocabulary:
    """Words are tokens, each numbered by its letters; special tokens are found longest first."""

    def __init__(self, *, adds_end: bool = False) -> None:
        self.seen: list[str] = []
        self._adds_end = adds_end

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        assert parse_special
        self.seen.append(text)
        tokens = [BOS] if add_special else []
        for part in re.split("(<s><s>|<s>)", text):
            words = re.findall("[^ ]+| ", part) if part not in SPECIAL else []
            tokens += [SPECIAL[part]] if part in SPECIAL else [sum(map(ord, w)) for w in words]
        return [*tokens, 7] if add_special and self._adds_end else tokens

    def piece(self, token: int, *, special: bool = False) -> bytes:
        shown = {START: b"<s>", LONGER: b"<s><s>", BOS: b"<bos>"}
        return (shown[token] if special else b"") if token in shown else b"word"


def turns(count: int, word: str = "word") -> str:
    return "".join(f"<s>{number} " + f"{word} " * 100 for number in range(count))


def whole(text: str) -> list[int]:
    return Vocabulary().tokenize(text, add_special=True, parse_special=True)


def ask(tokenizer: PrefixTokenizer, text: str) -> list[int]:
    return tokenizer.tokenize(text, add_special=True, parse_special=True)


def test_a_conversation_that_goes_on_is_tokenised_from_near_its_end() -> None:
    vocabulary = Vocabulary()
    tokenizer = PrefixTokenizer(vocabulary)
    for count in range(8, 12):
        assert ask(tokenizer, turns(count)) == whole(turns(count))
    assert len(vocabulary.seen[-1]) < 3 * len(turns(1))


def test_two_conversations_that_begin_alike_part_where_they_part() -> None:
    vocabulary = Vocabulary()
    tokenizer = PrefixTokenizer(vocabulary)
    for ending in ("one", "two", "three"):
        text = turns(8) + turns(2, ending)
        assert ask(tokenizer, text) == whole(text)
    assert len(vocabulary.seen[-1]) < len(turns(4))


@pytest.mark.parametrize("ending", ["<s>", "<s> <s>", "s>", "<", "<s><s> and", ""])
@pytest.mark.parametrize("more", ["<s>", "<s> then", "s>", "", "<s><s>"])
def test_special_tokens_about_the_place_where_texts_part(ending: str, more: str) -> None:
    tokenizer = PrefixTokenizer(Vocabulary())
    for text in (turns(10) + ending, turns(10) + ending + more, turns(9) + more + turns(1)):
        assert ask(tokenizer, text) == whole(text)


@pytest.mark.parametrize("text", ["", "short", "no special token " * 500])
def test_what_cannot_be_cut_is_tokenised_whole(text: str) -> None:
    tokenizer = PrefixTokenizer(Vocabulary())
    assert ask(tokenizer, text) == whole(text)
    assert ask(tokenizer, text + " more") == whole(text + " more")


def test_a_vocabulary_that_adds_a_token_at_the_end_is_left_alone() -> None:
    vocabulary = Vocabulary(adds_end=True)
    tokenizer = PrefixTokenizer(vocabulary)
    for count in (8, 9):
        assert ask(tokenizer, turns(count))[-1] == 7
    assert vocabulary.seen[-1] == turns(9)


def test_what_is_remembered_has_bounds() -> None:
    vocabulary = Vocabulary()
    tokenizer = PrefixTokenizer(vocabulary)
    for number in range(MAX_TEXTS + 1):
        ask(tokenizer, turns(6, f"text{number}"))
    ask(tokenizer, turns(7, "text0"))
    assert vocabulary.seen[-1] == turns(7, "text0")  # forgotten
    ask(tokenizer, turns(7, f"text{MAX_TEXTS}"))
    assert len(vocabulary.seen[-1]) < len(turns(4, "text00"))
    huge = turns(1, "x" * (MAX_CHARS // 50))
    ask(tokenizer, huge)
    ask(tokenizer, huge)
    assert vocabulary.seen[-1] == huge
