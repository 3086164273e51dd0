"""Constrained answers, and grammars that are refused before they can do harm."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema
import pytest

from runner.binding import Code, Flag, Library, Model, NativeError

from .driver import Engine

pytestmark = [pytest.mark.native, pytest.mark.model]

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "likes": {"type": "array", "items": {"enum": ["tea", "rain"]}, "maxItems": 2},
    },
    "required": ["name", "age", "likes"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"seed": 4, "temperature": 1.5}], ids=str)
def test_an_answer_in_a_json_schema_is_valid(shared: Engine, settings: dict[str, Any]) -> None:
    answer = shared.complete(
        "Write a person as JSON:", json_schema=json.dumps(PERSON), max_tokens=120, **settings
    )
    assert answer.last.flags == Flag.EOS
    jsonschema.validate(json.loads(answer.text), PERSON)


def test_an_empty_schema_means_an_object(library: Library) -> None:
    assert library.schema_to_grammar("{}") == library.schema_to_grammar('{"type":"object"}')


def test_a_grammar_goes_on_from_the_generation_prompt(shared: Engine) -> None:
    settings = {"grammar": 'root ::= "<a>" "yes"', "temperature": 0}
    assert shared.complete(**settings).text == "<a>yes"
    assert shared.complete(generation_prompt="<a>", **settings).text == "yes"
    with pytest.raises(NativeError, match="does not allow the generation prompt"):
        shared.context.new_generator(settings | {"generation_prompt": "<b>"})


def test_a_grammar_without_a_way_on_ends_the_generator(shared: Engine) -> None:
    everything = [[token, False] for token in range(49152)]
    answer = shared.complete(grammar='root ::= "a"', logit_bias=everything, temperature=0)
    assert (answer.last.flags, answer.last.token, answer.text) == (Flag.GRAMMAR, -1, "")


def test_an_ambiguous_grammar_ends_before_it_eats_the_machine(shared: Engine) -> None:
    doubling = 'root ::= "a" root "b" | "a" root "c" | "a"'
    began = time.monotonic()
    (letter,) = shared.tokens("a")
    answer = shared.complete(grammar=doubling, temperature=0, logit_bias=[[letter, 1000]])
    assert answer.last.flags == Flag.GRAMMAR
    assert time.monotonic() - began < 20


def test_the_same_grammar_is_compiled_once(shared: Engine) -> None:
    schema = json.dumps({"enum": [f"word {number}" for number in range(400)]})

    def make() -> float:
        began = time.perf_counter()
        shared.context.free_generator(shared.context.new_generator({"json_schema": schema}))
        return time.perf_counter() - began

    first = make()
    assert min(make() for _ in range(5)) < first / 2


def chain(length: int) -> str:
    """Rules that begin with rules: a0 ::= a1, a1 ::= a2 and so on."""
    rules = [f'a{n} ::= a{n + 1} "x"' for n in range(length)]
    return "\n".join(["root ::= a0", *rules, f'a{length} ::= "y"'])


def doubled(depth: int) -> str:
    """Each rule begins in twice as many ways as the one below."""
    rules = [f'a{n} ::= a{n + 1} "x" | a{n + 1} "y"' for n in range(depth)]
    return "\n".join(["root ::= a0", *rules, f'a{depth} ::= "z"'])


@pytest.mark.parametrize(
    ("gbnf", "message"),
    [
        ("", "no rule .root."),
        ('x ::= "a"', "no rule .root."),
        ("root ::= x", "rule .x. is not defined"),
        ('root ::= "a', "unexpected end of input"),
        ("root ::= root", "left recursion"),
        ('root ::= a "x"\na ::= ("y")? root', "left recursion"),
        ("%llguidance {}", "llguidance"),
        ("root ::= " + "(" * 200 + '"a"' + ")" * 200, "parentheses nested"),
        ('root ::= "a"{5000}', "repetitions"),
        ("# " + "x" * 1024 * 1024, "more than 1048576 bytes"),
        (chain(3000), "rules nested deeper"),
        (doubled(30), "too ambiguous"),
    ],
    ids=lambda value: value[:24],
)
def test_a_grammar_that_cannot_be_used_is_refused_with_the_reason(
    model: Model, gbnf: str, message: str
) -> None:
    with pytest.raises(NativeError, match=message) as caught:
        model.check_grammar(gbnf)
    assert caught.value.code == Code.GRAMMAR


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "parse error"),
        ("[" * 100, "nested deeper than 64"),
        ('{"type":"nonsense"}', "JSON schema"),
        ('{"$ref":"#/nowhere"}', "JSON schema"),
        (json.dumps({"description": "x" * 131072}), "more than 131072 bytes"),
        (json.dumps({"type": "string", "pattern": "^" + "(" * 200 + "$"}), "parentheses nested"),
        (json.dumps({"type": "string", "minLength": 100000}), "repetitions"),
    ],
    ids=lambda value: value[:24],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_reason(
    shared: Engine, schema: str, message: str
) -> None:
    with pytest.raises(NativeError, match=message) as caught:
        shared.context.new_generator({"json_schema": schema})
    assert caught.value.code == Code.GRAMMAR
