"""Custom tools: functions of one text. The model writes JSON around it, the client sees the text.

Both of OpenAI's APIs have them; they are written differently in each. Pure.
"""

from __future__ import annotations

import json
from typing import Any

from runner.api.fields import members

ARGUMENT = "input"
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {ARGUMENT: {"type": "string"}},
    "required": [ARGUMENT],
    "additionalProperties": False,
}
FORMAT = members("format", "what its text must be: the model reads this, nothing enforces it")


def describe(description: str | None, form: dict[str, Any] | None) -> dict[str, str]:
    """Return what the model reads of a tool, as the ``description`` of a function; maybe none."""
    told = [description] if description else []
    if form not in (None, {"type": "text"}):
        told.append(f"The form of its input: {json.dumps(form, ensure_ascii=False)}")
    return {"description": "\n\n".join(told)} if told else {}


def arguments_of(text: str) -> str:
    """Return the arguments that a call with ``text`` has."""
    return json.dumps({ARGUMENT: text}, ensure_ascii=False)


def text_of(arguments: str) -> str:
    """Return the text of a call; of one that was cut, the JSON as far as it came."""
    try:
        return str(json.loads(arguments)[ARGUMENT])
    except (ValueError, TypeError, KeyError):
        return arguments
