"""Another dialect's messages, translated and then checked, with that dialect's names; its prompt.

Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from runner.api.fields import Fields
from runner.api.openai import messages
from runner.api.openai.tools import Tools
from runner.errors import RunnerError
from runner.wire.messages import ChatPrompt


def read(
    translated: list[dict[str, Any]], rename: Callable[[str], str], ignored: dict[str, None]
) -> list[dict[str, Any]]:
    """Check messages as those of chat completions are.

    ``rename`` gives what the client calls a member that chat completions call
    ``messages[0].content[1]``; what it does not know it leaves as it is. Errors of images and
    sounds use it too, those of the engine included.
    """
    try:
        said = messages.parse(Fields({"messages": translated}), ignored)
    except RunnerError as error:
        param = None if error.param is None else rename(error.param)
        if error.param is None or param == error.param:
            raise
        told = error.message.replace(error.param, param or "", 1)
        raise RunnerError(error.kind, told, hint=error.hint, param=param) from error
    for message in said:
        content = message["content"]
        for part in content if isinstance(content, list) else ():
            if "param" in part:  # what the engine's errors name it by
                part["param"] = rename(part["param"])
    return said


def prompt_of(
    conversation: Sequence[messages.Message],
    asked: Tools,
    *,
    thinks: bool | None,
    effort: str | None,
    budget: int | None = None,
) -> ChatPrompt:
    """Return what the model is asked; a last message of the assistant is gone on with."""
    continues = conversation[-1]["role"] == "assistant"
    return ChatPrompt(
        messages_json=msgspec.json.encode(conversation).decode(),
        add_generation_prompt=not continues,
        continue_final_message=continues,
        tools_json=asked.tools_json,
        tool_choice=asked.choice,
        tool_name=asked.name,
        parallel_tool_calls=asked.parallel,
        enable_thinking=thinks,
        reasoning_budget=budget,
        template_kwargs_json=json.dumps({"reasoning_effort": effort} if effort else {}),
    )
