"""Items of a request, checked and rebuilt as this server keeps and lists them. Pure.

An item out of an answer may come back as it went out; members that say nothing to a model are
dropped on the way and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runner.api import jsonbody
from runner.api.fields import (
    Fields,
    Ignored,
    Shape,
    anything,
    array,
    as_array,
    as_object,
    refuse,
    required,
    text,
    word,
)
from runner.api.responses.parts import PART_SHAPES, THOUGHT_PART, parse_content, parse_thoughts
from runner.errors import RunnerError

MAX_ITEMS = 10_000
MAX_ID_CHARACTERS = 256

Item = dict[str, Any]

TYPE = text("type", "the kind of item; absent: a message")
ID = text("id", "told again by input_items", max_characters=MAX_ID_CHARACTERS)
REFERRED = required(text("id", "of an item of a response that is kept"))
STATUS = word(
    "status",
    "told again by input_items; the model is not told of incomplete calls",
    ("in_progress", "completed", "incomplete"),
)
ROLE = required(word("role", "who speaks", ("user", "assistant", "system", "developer")))
CONTENT = required(
    anything(
        "content",
        "what is said: a text, or parts",
        {"type": ["string", "array"], "items": {"anyOf": PART_SHAPES}},
    )
)
CALL_ID = required(text("call_id", "which call it is, or is of", max_characters=MAX_ID_CHARACTERS))
NAME = required(text("name", "the tool that is called", max_characters=MAX_ID_CHARACTERS))
NAMESPACE = text("namespace", "the namespace of the tool", max_characters=MAX_ID_CHARACTERS)
ARGUMENTS = required(text("arguments", "a JSON object, as text"))
CUSTOM_INPUT = required(text("input", "the text that a custom tool is called with"))
OUTPUT = required(
    anything(
        "output",
        "what a tool answered: a text, or parts",
        {"type": ["string", "array"], "items": {"anyOf": PART_SHAPES}},
    )
)
SUMMARY = array("summary", "thoughts that were told as a summary", {"items": THOUGHT_PART})
THOUGHTS = array("content", "thoughts", {"items": THOUGHT_PART})
ENCRYPTED = text("encrypted_content", "thoughts, where this server wrote it")
_CALLER = Ignored("caller", "calls come from the model alone")

_HEAD = (TYPE, ID, STATUS)
MESSAGE = Shape(
    "response message",
    (*_HEAD, ROLE, CONTENT, Ignored("phase", "the model does not read it")),
)
FUNCTION_CALL = Shape(
    "response function call", (*_HEAD, CALL_ID, NAME, NAMESPACE, ARGUMENTS, _CALLER)
)
CUSTOM_CALL = Shape(
    "response custom tool call", (*_HEAD, CALL_ID, NAME, NAMESPACE, CUSTOM_INPUT, _CALLER)
)
CALL_OUTPUT = Shape(
    "response tool output",
    (
        *_HEAD,
        CALL_ID,
        OUTPUT,
        _CALLER,
        Ignored("name", "call_id says it"),
        Ignored("namespace", "call_id says it"),
    ),
)
REASONING = Shape("response reasoning", (*_HEAD, SUMMARY, THOUGHTS, ENCRYPTED))
REFERENCE = Shape("response item reference", (TYPE, REFERRED))
SHAPES = [MESSAGE, FUNCTION_CALL, CALL_OUTPUT, CUSTOM_CALL, REASONING, REFERENCE]


def parse(value: Any, ignored: dict[str, None]) -> tuple[Item, ...]:
    """Read ``input``; raise INVALID_REQUEST naming the member at fault."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    items = as_array(value, "input")
    if len(items) > MAX_ITEMS:
        refuse("input", f"a text, or at most {MAX_ITEMS} items", items)
    return tuple(_parse_item(item, f"input[{index}]", ignored) for index, item in enumerate(items))


def name_items(items: Sequence[Item], key: str) -> list[Item]:
    """Give the items without an id one, as a client is told them."""
    return [
        item if "id" in item else {"id": f"{_PREFIXES[item['type']]}_{key}i{index:04x}", **item}
        for index, item in enumerate(items)
    ]


def _parse_item(value: Any, param: str, ignored: dict[str, None]) -> Item:
    name = as_object(value, param).get("type") or "message"
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        refuse(f"{param}.type", "one of " + ", ".join(KINDS), name)
    fields = kind.shape.open(value, param)
    fields.take(TYPE)
    item: Item = {"type": name, **kind.read(fields, ignored)}
    if kind.shape is not REFERENCE:
        if (identity := fields.take(ID)) is not None:
            item["id"] = identity
        item["status"] = fields.take(STATUS) or "completed"
    if name == "function_call" and item["status"] != "incomplete":
        _check_arguments(item["arguments"], f"{param}.arguments")
    ignored.update(dict.fromkeys(f"input[].{name}" for name in fields))
    return item


def _check_arguments(arguments: str, param: str) -> None:
    """Templates parse the arguments again: text that is no JSON object fails deep inside them."""
    try:
        jsonbody.decode_object(arguments.encode())
    except RunnerError:
        refuse(param, "a string that holds a JSON object", arguments)


# ---- kinds -----------------------------------------------------------------------------------


def _read_message(fields: Fields, ignored: dict[str, None]) -> Item:
    role, content = fields.take(ROLE), fields.take(CONTENT)
    parts = parse_content(content, fields.param("content"), ignored, is_answer=role == "assistant")
    return {"role": role, "content": parts}


def _read_function_call(fields: Fields, _: dict[str, None]) -> Item:
    call = _read_call(fields)
    return {**call, "arguments": fields.take(ARGUMENTS) or "{}"}  # how several servers write none


def _read_custom_call(fields: Fields, _: dict[str, None]) -> Item:
    return {**_read_call(fields), "input": fields.take(CUSTOM_INPUT)}


def _read_call(fields: Fields) -> Item:
    call: Item = {"call_id": fields.take(CALL_ID), "name": fields.take(NAME)}
    if (namespace := fields.take(NAMESPACE)) is not None:
        call["namespace"] = namespace
    return call


def _read_output(fields: Fields, ignored: dict[str, None]) -> Item:
    call_id, output = fields.take(CALL_ID), fields.take(OUTPUT)
    if not isinstance(output, str):
        output = parse_content(output, fields.param("output"), ignored, is_answer=False)
    return {"call_id": call_id, "output": output}


def _read_reasoning(fields: Fields, _: dict[str, None]) -> Item:
    summary, thoughts = fields.take(SUMMARY) or [], fields.take(THOUGHTS)
    item: Item = {"summary": parse_thoughts(summary, fields.param("summary"), "summary_text")}
    if thoughts is not None:
        item["content"] = parse_thoughts(thoughts, fields.param("content"), "reasoning_text")
    if (sealed := fields.take(ENCRYPTED)) is not None:
        item["encrypted_content"] = sealed
    return item


def _read_reference(fields: Fields, _: dict[str, None]) -> Item:
    return {"id": fields.take(REFERRED)}


@dataclass(frozen=True, slots=True)
class Kind:
    """How the members of one kind of item are read."""

    shape: Shape
    read: Callable[[Fields, dict[str, None]], Item]


KINDS = {
    "message": Kind(MESSAGE, _read_message),
    "function_call": Kind(FUNCTION_CALL, _read_function_call),
    "function_call_output": Kind(CALL_OUTPUT, _read_output),
    "custom_tool_call": Kind(CUSTOM_CALL, _read_custom_call),
    "custom_tool_call_output": Kind(CALL_OUTPUT, _read_output),
    "reasoning": Kind(REASONING, _read_reasoning),
    "item_reference": Kind(REFERENCE, _read_reference),
}
_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}
