"""Another dialect's messages, translated and then checked, with that dialect's names. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.api.fields import Fields
from runner.api.openai import messages
from runner.errors import RunnerError


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
