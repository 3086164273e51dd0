"""Tokens of a prompt that was cut are those of the whole, with a real vocabulary."""

from __future__ import annotations

import random

import pytest

from runner.binding import Model
from runner.worker.tokenizing import PrefixTokenizer

pytestmark = [pytest.mark.native, pytest.mark.model]

PARTS = (
    "Once upon a time ", "<|im_end|>", "<|im_start|>", "<|im_", "start|>", "\n", "  ", "user\n",
    "été 😀", "1234567", "<|endoftext|>", "<repo_name>", "don't", "\t\t", "<", "|>",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_a_growing_text_has_the_same_tokens_as_a_new_one(model: Model, seed: int) -> None:
    draw = random.Random(seed)
    tokenizer = PrefixTokenizer(model)
    texts = ["<|im_start|>system\n" + "be brief " * 300 + "<|im_end|>\n"]
    for _ in range(12):
        said = draw.choice(texts)
        said = said[: draw.randrange(len(said) // 2, len(said) + 1)]
        text = said + "".join(draw.choice(PARTS) for _ in range(draw.randrange(120)))
        texts.append(text)
        whole = model.tokenize(text, add_special=True, parse_special=True)
        assert tokenizer.tokenize(text, add_special=True, parse_special=True) == whole


def test_a_text_has_no_fewer_tokens_than_its_bytes_allow(model: Model) -> None:
    token_bytes = model.info()["token_bytes"]
    assert token_bytes > 0
    for text in (*PARTS, " " * 5000, "".join(PARTS) * 50):
        tokens = model.tokenize(text, add_special=False, parse_special=True)
        assert len(tokens) * token_bytes >= len(text.encode())
