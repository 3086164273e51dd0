"""Grammars made of grammars."""

from __future__ import annotations

import pytest

from runner.worker.gbnf import after, bare, either, forced, plural, single

CALLS = 'root ::= "<s>" space until-161? tool-calls\ntool-calls ::= (tool-call space)+\n'


def test_either_of_two_grammars_keeps_their_rules_apart() -> None:
    first = 'root ::= "a-root \\" x" [a-z"\\]] char{2,3}\nchar ::= "c"'
    second = "root ::= <think> char # root\nchar ::= [^\\n]"
    assert either(first, second) == (
        "root ::= a-root | b-root\n"
        'a-root ::= "a-root \\" x" [a-z"\\]] a-char{2,3}\na-char ::= "c"\n'
        "b-root ::= <think> b-char # root\nb-char ::= [^\\n]"
    )


def test_a_grammar_comes_after_what_is_there_already() -> None:
    assert after('<a "b">\n', 'root ::= "{" space x "}"\nspace ::= " "') == (
        'root ::= "<a \\"b\\">\\n" x-root\nx-root ::= "{" x-space x-x "}"\nx-space ::= " "'
    )


def test_forced_calls_come_first() -> None:
    assert forced(CALLS).startswith('root ::= "<s>" space tool-calls\n')


@pytest.mark.parametrize(
    ("root", "silent"),
    [
        ('"<s>" space until-84 space tool-call-root', '"<s>" space tool-call-root'),
        ('("<t>" until-3 "</t>"?)? until-165 tool-calls', '("<t>" until-3 "</t>"?)? tool-calls'),
        ('("<t>" space until-6 ("</t>" | ))? space until-9 space tool-call',
         '("<t>" space until-6 ("</t>" | ))? space tool-call'),
        ('"<t>" space until-3 space "</t>" space until-100 tool-call',
         '"<t>" space until-3 space "</t>" space tool-call'),
        ('("<t>" until-4 "</t>")? ("<r>" until-9 "</r>")? tool-call',
         '("<t>" until-4 "</t>")? tool-call'),
        ('("<t>" until-4 "</t>")? tool-call', '("<t>" until-4 "</t>")? tool-call'),
        ('"<r>"? until-14 "</r>"? k3-tool-call "<end>"?', '"<r>"? "</r>"? k3-tool-call "<end>"?'),
        ('">>>" ("all\\n" until-0 tools | tools)', '">>>" tools'),
        ('t-tool-call until-20? "<end>"?', 't-tool-call "<end>"?'),
    ],
)  # fmt: skip
def test_no_talk_comes_before_forced_calls_but_thoughts_may(root: str, silent: str) -> None:
    assert forced(f"root ::= {root}\nx ::= y", thought="<t>") == f"root ::= {silent}\nx ::= y"


def test_a_forced_call_has_no_preamble() -> None:
    grammar = "any ::= preamble | analysis\nroot ::= (start any)* start tool-call"
    assert forced(grammar).startswith("any ::= analysis\n")


def test_a_single_call_is_not_repeated() -> None:
    assert single(CALLS).endswith("tool-calls ::= (tool-call space)\n")


def test_nothing_is_not_repeated() -> None:
    assert plural("tool-calls ::= (tool-call? space)+") == "tool-calls ::= (tool-call space)+"


def test_json_stands_without_a_fence() -> None:
    fence = '("```json" space response-format space "```" | space response-format space)'
    assert bare(f"root ::= space {fence}") == "root ::= space space response-format space"
