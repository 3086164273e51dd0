"""Anthropic's ``tools`` and ``tool_choice`` as the tools of a conversation. Pure."""

from __future__ import annotations

import re
from typing import Any, Literal

from runner.api.anthropic.typed import TYPE as TYPED
from runner.api.anthropic.typed import Typed, note_rest, one
from runner.api.fields import (
    Field,
    Fields,
    Ignored,
    Shape,
    array,
    boolean,
    describe,
    members,
    refuse,
    required,
    text,
)
from runner.api.openai.tools import MAX_TOOLS, Tools, parse_parameters, write
from runner.errors import Kind, RunnerError

_NAME = re.compile(r"[a-zA-Z0-9_.:-]{1,128}")


def _read_name(value: Any, param: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        refuse(param, "1 to 128 letters, digits, or any of _ - . :", value)
    return value


def _read_type(value: Any, param: str) -> str:
    if value != "custom":
        raise RunnerError(
            Kind.INVALID_REQUEST,
            f"{param}: expected custom, got {describe(value)}: Anthropic's own tools are not here",
            hint="describe the tool by name and input_schema, and run it in the client",
            param=param,
        )
    return "custom"


TYPE = Field("type", "a tool that the client runs, as all are", {"const": "custom"}, _read_type)
NAME = required(Field("name", "what the model calls it by", {"type": "string"}, _read_name))
DESCRIPTION = text("description", "what it does; the model reads this")
INPUT_SCHEMA = members("input_schema", "the JSON schema of its input, which calls are held to")
STRICT = boolean("strict", "whether a schema that cannot be enforced whole is refused")
TOOL = Shape(
    "tool of a messages request",
    (
        TYPE,
        NAME,
        DESCRIPTION,
        INPUT_SCHEMA,
        STRICT,
        Ignored("cache_control", "every prompt is cached, as far as there is memory"),
        Ignored("input_examples", "templates have no place for them"),
        Ignored("eager_input_streaming", "inputs are always sent as they come"),
        Ignored("defer_loading", "the model is told of every tool"),
        Ignored("allowed_callers", "only the model calls tools"),
    ),
)
TOOLS = array("tools", "what the model may call", {"items": TOOL, "maxItems": MAX_TOOLS})

SINGLE = boolean("disable_parallel_tool_use", "whether an answer holds one call at most")
CHOSEN = required(text("name", "the tool that must be called"))
TOOL_CHOICE = one(
    "tool_choice",
    "whether a tool must be called",
    {
        "auto": Shape("tool choice auto", (TYPED, SINGLE)),
        "any": Shape("tool choice any", (TYPED, SINGLE)),
        "tool": Shape("tool choice tool", (TYPED, CHOSEN, SINGLE)),
        "none": Shape("tool choice none", (TYPED,)),
    },
)


def parse(fields: Fields, ignored: dict[str, None]) -> Tools:
    """Take both fields; raise INVALID_REQUEST naming what is wrong."""
    given = fields.take(TOOLS) or []
    if len(given) > MAX_TOOLS:
        refuse("tools", f"at most {MAX_TOOLS} tools", given)
    tools = [
        _parse_tool(TOOL.open(value, f"tools[{index}]"), ignored)
        for index, value in enumerate(given)
    ]
    names = [tool["function"]["name"] for tool in tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            refuse(f"tools[{index}].name", "a name that no other tool has", name)
    choice = _parse_choice(fields.take(TOOL_CHOICE), names, ignored)
    return Tools(write(tools), *choice) if tools else Tools()


def _parse_tool(fields: Fields, ignored: dict[str, None]) -> dict[str, Any]:
    fields.take(TYPE)
    described: dict[str, Any] = {"name": fields.take(NAME)}
    if (description := fields.take(DESCRIPTION)) is not None:
        described["description"] = description
    described["parameters"] = parse_parameters(
        fields.take(INPUT_SCHEMA),
        fields.param("input_schema"),
        is_strict=fields.take(STRICT) or False,
        ignored=ignored,
    )
    note_rest(fields, ignored)
    return {"type": "function", "function": described}


def _parse_choice(
    choice: Typed | None, names: list[str], ignored: dict[str, None]
) -> tuple[Literal["auto", "none", "required"], str | None, bool | None]:
    """Return whether a call is wanted, of which tool, and whether there may be several."""
    if choice is None:
        return "auto", None, None
    kind, fields = choice
    if kind == "none":
        note_rest(fields, ignored)
        return "none", None, None
    name = fields.take(CHOSEN) if kind == "tool" else None
    if name is not None and name not in names:
        refuse("tool_choice.name", "the name of one of the tools", name)
    if kind == "any" and not names:
        refuse("tool_choice.type", "auto or none, as there are no tools", kind)
    parallel = False if fields.take(SINGLE) else None
    note_rest(fields, ignored)
    return ("auto" if kind == "auto" else "required"), name, parallel
