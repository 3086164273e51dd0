"""What the tests do with an engine: run a prompt to its end, or force the tokens of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runner.binding import Context, Model, Prompt, Record, Stepper

PROMPT = "Once upon a time there was a king who"


@dataclass(frozen=True)
class Answer:
    text: str
    tokens: list[int]
    last: Record
    records: list[Record]


@dataclass(frozen=True)
class Engine:
    model: Model
    context: Context
    stepper: Stepper

    def tokens(self, text: str) -> list[int]:
        return self.model.tokenize(text, add_special=True, parse_special=True)

    def step(self, decode: Sequence[int], *prompts: Prompt) -> list[Record]:
        outcome = self.stepper.run(decode, prompts)
        assert outcome.rc == 0
        return outcome.records

    def begin(self, seq: int, prompt: Sequence[int], **settings: Any) -> tuple[int, Record]:
        """A generator on a sequence, with its first token."""
        generator = self.context.new_generator(settings)
        start = self.context.seq_range(seq)[1] + 1
        self.context.bind(generator, seq, len(prompt), prompt)
        (record,) = self.step([], Prompt(seq, start, prompt[start:], generator))
        return generator, record

    def go_on(self, generator: int, record: Record) -> Answer:
        records = [record]
        while not records[-1].flags:
            records += self.step([generator])
        return collect(records)

    def complete(
        self, prompt: str | Sequence[int] = PROMPT, seq: int = 0, **settings: Any
    ) -> Answer:
        """Run one prompt on an emptied sequence to its end (32 tokens, if nothing else is said)."""
        tokens = self.tokens(prompt) if isinstance(prompt, str) else prompt
        self.context.seq_rm(seq)
        generator, record = self.begin(seq, tokens, **{"max_tokens": 32} | settings)
        answer = self.go_on(generator, record)
        self.context.free_generator(generator)
        return answer

    def force(self, tokens: Sequence[int], **settings: Any) -> Answer:
        """An answer of exactly these tokens: a grammar allows nothing else."""
        grammar = "root ::= " + " ".join(f"<[{token}]>" for token in tokens)
        return self.complete("a", grammar=grammar, temperature=0, **settings)

    def force_once(self, tokens: Sequence[int], **settings: Any) -> Answer:
        """The same for different tokens that need not be whole characters, as a grammar demands.

        Each is the wish next in size, and a token once given is wished no more.
        """
        end: int = self.model.info()["eos"]
        wishes = [[token, 2000 - 100 * rank] for rank, token in enumerate(tokens)]
        wishes.append([end, 500])
        return self.complete(
            "It", logit_bias=wishes, presence_penalty=5000, temperature=0, **settings
        )


def collect(records: list[Record]) -> Answer:
    text = "".join(record.text for record in records)
    return Answer(text, [record.token for record in records], records[-1], records)
