"""Grammars made of grammars."""

from __future__ import annotations

from runner.worker.gbnf import bare, either, forced, plural, single

CALLS = 'root ::= "<s>" space until-161? tool-calls\ntool-calls ::= (tool-call space)+\n'


def test_either_of_two_grammars_keeps_their_rules_apart() -> None:
    first = 'root ::= "a-root \\" x" [a-z"\\]] char{2,3}\nchar ::= "c"'
    second = "root ::= <think> char # root\nchar ::= [^\\n]"
    assert either(first, second) == (
        "root ::= a-root | b-root\n"
        'a-root ::= "a-root \\" x" [a-z"\\]] a-char{2,3}\na-char ::= "c"\n'
        "b-root ::= <think> b-char # root\nb-char ::= [^\\n]"
    )


def test_forced_calls_come_first() -> None:
    assert forced(CALLS).startswith('root ::= "<s>" space tool-calls\n')


def test_a_single_call_is_not_repeated() -> None:
    assert single(CALLS).endswith("tool-calls ::= (tool-call space)\n")


def test_nothing_is_not_repeated() -> None:
    assert plural("tool-calls ::= (tool-call? space)+") == "tool-calls ::= (tool-call space)+"


def test_json_stands_without_a_fence() -> None:
    fence = '("```json" space response-format space "```" | space response-format space)'
    assert bare(f"root ::= space {fence}") == "root ::= space space response-format space"
