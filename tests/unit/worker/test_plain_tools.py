"""Tools in the words of a template that knows none."""

from __future__ import annotations

from typing import Any

import pytest

from runner.worker.plain_tools import has_calls, rewrite

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
}
RESULT = {"role": "tool", "content": [{"type": "text", "text": "42"}], "tool_call_id": "c"}


def test_a_turn_of_calls_becomes_plain_messages() -> None:
    assert rewrite([USER, CALL, RESULT], []) == [
        USER,
        {
            "role": "assistant",
            "content": '<tool_call>\n{"name": "f", "arguments": {"a":1}}\n</tool_call>',
        },
        {"role": "user", "content": "<tool_response>\n42\n</tool_response>"},
    ]


def test_tools_are_told_of_in_a_system_message() -> None:
    first, second = rewrite([USER], [TOOL])
    assert first["role"] == "system"
    line = '{"type": "function", "function": {"name": "f", "parameters": {}}}'
    assert f"<tools>\n{line}\n</tools>" in first["content"]
    assert '{"name": "function-name", "arguments": {}}' in first["content"]
    assert second is USER


@pytest.mark.parametrize("content", ["Be brief.", [{"type": "text", "text": "Be brief."}]])
def test_what_the_system_message_says_comes_first(content: Any) -> None:
    written = rewrite([{"role": "system", "content": content}, USER], [TOOL])
    assert len(written) == 2
    assert written[0]["content"].startswith("Be brief.\n\nYou can call functions.")


def test_a_conversation_without_calls_is_told_from_one_with() -> None:
    assert not has_calls([USER])
    assert has_calls([USER, CALL])
    assert has_calls([RESULT])
