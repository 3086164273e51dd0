"""Input of the Responses API as the conversation that it stands for. Pure.

Items and their parts are rebuilt as messages of chat completions, whose reader checks the rest.
"""

from __future__ import annotations

from typing import Any

from runner.api.fields import Fields, as_array, as_object, as_text, refuse
from runner.errors import Kind, RunnerError

ROLES = ("system", "developer", "user", "assistant")
TEXT_PARTS = ("input_text", "output_text", "text")
MAX_ITEMS = 10_000
MAX_PARTS = 1_000

Message = dict[str, Any]


def chat_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return the chat request that has the same input: model, messages and tools.

    Raises INVALID_REQUEST naming the field at fault, MODEL_NOT_SUPPORTED for what is not text.
    """
    fields = Fields(body)
    if "previous_response_id" in fields:
        raise RunnerError(
            Kind.INVALID_REQUEST,
            "previous_response_id: responses are not kept; send the whole conversation",
            param="previous_response_id",
        )
    messages: list[Message] = []
    instructions = fields.text("instructions")
    if instructions is not None:
        messages.append({"role": "system", "content": instructions})
    messages += _read_input(fields.take("input"))
    made: dict[str, Any] = {"model": fields.take("model"), "messages": messages}
    tools = fields.array("tools")
    if tools:
        made["tools"] = [_read_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools)]
    return made


def _read_input(value: Any) -> list[Message]:
    if value is None:
        raise RunnerError(Kind.INVALID_REQUEST, "input is required", param="input")
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    items = as_array(value, "input")
    if not 1 <= len(items) <= MAX_ITEMS:
        refuse("input", f"a text, or 1 to {MAX_ITEMS} items", items)
    messages: list[Message] = []
    for index, item in enumerate(items):
        _add_item(messages, Fields(as_object(item, f"input[{index}]"), f"input[{index}]."))
    if not messages:
        refuse("input", "an item that is not reasoning", items)
    return messages


def _add_item(messages: list[Message], fields: Fields) -> None:
    """Add an item; the calls of one turn, and the text before them, are one message."""
    match fields.take("type"):
        case None | "message":
            messages.append(_read_message(fields))
        case "function_call":
            call = _read_call(fields)
            if messages and messages[-1]["role"] == "assistant":
                messages[-1].setdefault("tool_calls", []).append(call)
            else:
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        case "function_call_output":
            content = _read_content(fields.take("output"), fields.param("output"))
            identity = _required(fields, "call_id")
            messages.append({"role": "tool", "tool_call_id": identity, "content": content})
        case "reasoning":
            pass  # what earlier turns thought is not read again
        case kind:
            kinds = '"message", "function_call", "function_call_output" or "reasoning"'
            refuse(fields.param("type"), kinds, kind)


def _read_message(fields: Fields) -> Message:
    role = fields.take("role")
    if role not in ROLES:
        refuse(fields.param("role"), "one of " + ", ".join(ROLES), role)
    return {"role": role, "content": _read_content(fields.take("content"), fields.param("content"))}


def _read_content(value: Any, param: str) -> str | list[Message]:
    if isinstance(value, str):
        return value
    parts = as_array(value, param)
    if not 1 <= len(parts) <= MAX_PARTS:
        refuse(param, f"a text, or 1 to {MAX_PARTS} parts", parts)
    return [_read_part(part, f"{param}[{index}]") for index, part in enumerate(parts)]


def _read_part(value: Any, param: str) -> Message:
    fields = Fields(as_object(value, param), f"{param}.")
    kind = fields.take("type")
    if kind == "refusal":
        return {"type": "text", "text": _required(fields, "refusal")}
    if kind in ("input_image", "input_file", "input_audio"):
        raise RunnerError(
            Kind.MODEL_NOT_SUPPORTED, f"{param}: this server takes text only", param=param
        )
    if kind not in TEXT_PARTS:
        refuse(f"{param}.type", "one of " + ", ".join(TEXT_PARTS), kind)
    return {"type": "text", "text": _required(fields, "text")}


def _read_call(fields: Fields) -> Message:
    function = {"name": _required(fields, "name"), "arguments": _required(fields, "arguments")}
    return {"type": "function", "id": _required(fields, "call_id"), "function": function}


def _read_tool(value: Any, param: str) -> Message:
    """Read a function; the API writes its members flat, chat completions in an object of theirs."""
    tool = as_object(value, param)
    if tool.get("type") != "function":
        refuse(f"{param}.type", '"function"', tool.get("type"))
    if "function" in tool:
        return {"type": "function", "function": tool["function"]}
    members = {name: member for name, member in tool.items() if name != "type"}
    return {"type": "function", "function": members}


def _required(fields: Fields, name: str) -> str:
    return as_text(fields.take(name), fields.param(name))
