"""From a conversation to a prompt, and to what holds its answer to calls and structure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from runner.binding import NativeError
from runner.errors import Kind, RunnerError
from runner.wire.messages import ChatPrompt
from runner.worker import plain_tools
from runner.worker.gbnf import after, bare, either, forced, plural, single
from runner.worker.media import Media, take_media
from runner.worker.number_bounds import NumberBounds
from runner.worker.parsing import Parser

THOUGHT_KEYS = ("thinking_start_tag", "thinking_end_tags", "generation_prompt")
GRAMMAR_KEYS = ("grammar", "grammar_lazy", "grammar_triggers", *THOUGHT_KEYS)
PARSER_KEYS = ("format", "parser", "generation_prompt")

Request = dict[str, Any]
Made = Mapping[str, Any]


class Renderer(Protocol):
    """The part of ``binding.Template`` that is used here."""

    info: dict[str, Any]

    def apply(self, request: Request) -> dict[str, Any]:
        """Render a conversation."""
        ...


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt's text, and what its template asks of the generator and of the parser."""

    text: str
    stops: tuple[str, ...] = ()
    preserved_tokens: tuple[str, ...] = ()
    # Settings of ``rn_gen_new`` that take the place of the request's own schema.
    grammar: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] | None = None  # one more of them: how long to think
    parser: dict[str, Any] | None = None  # of ``rn_parser_new``; None: text is content as it comes
    media: tuple[Media, ...] = ()  # for which there are markers in the text


@dataclass(frozen=True, slots=True)
class Conversations:
    """Renders the conversations of one model. Any thread may call it."""

    template: Renderer
    open_parser: Callable[[dict[str, Any]], Parser]
    schema_to_grammar: Callable[[str], str]  # raises NativeError for one without a grammar
    # Of one of ``plain_tools``, for its grammars and parsers: the model's own knows no tools.
    plain: Renderer | None = None
    marker: str = ""  # of images and sounds; empty: the model takes none,
    blindness: str = "this model takes text only"  # for this reason

    def render(self, prompt: ChatPrompt, json_schema: str | None, *, now_s: int) -> Turn:
        """Render; what the template raises is a NativeError."""
        messages = json.loads(prompt.messages_json)
        media = take_media(messages, self.marker)
        if media and not self.marker:
            param = media[0].param
            raise RunnerError(Kind.MODEL_NOT_SUPPORTED, f"{param}: {self.blindness}", param=param)
        turn = self._render(messages, prompt, json_schema, now_s=now_s)
        return replace(turn, media=media) if media else turn

    def _render(
        self, messages: list[Any], prompt: ChatPrompt, json_schema: str | None, *, now_s: int
    ) -> Turn:
        tools = json.loads(prompt.tools_json) if prompt.tools_json is not None else []
        schema = None if json_schema is None else json.loads(json_schema) or {"type": "object"}
        request = self._request(prompt, now_s=now_s)
        calls = tools if prompt.tool_choice != "none" else []
        numbers = NumberBounds()  # held in grammars; what the model is shown is whole
        held = (
            [_held(tool, numbers, index) for index, tool in enumerate(calls)],
            numbers.held(schema, "response_format"),
        )
        if self.plain is not None and (tools or plain_tools.has_calls(messages)):
            request["messages"] = plain_tools.rewrite(messages, calls)
            if calls:
                return self._render_plain(self.plain, request, prompt, *held, numbers)
            tools = []
        else:
            request["messages"] = messages
        if tools:
            request |= {"tools": tools, "tool_choice": prompt.tool_choice}
        if schema is not None and not calls and (tools or self._thinks):
            request["json_schema"] = schema
        shown = self.template.apply(request)
        bound = self._bind(self.template, request, shown, prompt, *held)
        return _turn(shown, bound, prompt, numbers)

    def check_tools(self, prompt: ChatPrompt) -> None:
        """Raise INVALID_REQUEST for the first function whose parameters make no grammar."""
        for index, tool in enumerate(json.loads(prompt.tools_json or "[]")):
            try:
                self.schema_to_grammar(json.dumps(tool["function"].get("parameters", {})))
            except NativeError as error:
                param = f"tools[{index}].function.parameters"
                message = f"{param}: {error.message}"
                raise RunnerError(Kind.INVALID_REQUEST, message, param=param) from error

    @property
    def _thinks(self) -> bool:
        return bool(self.template.info.get("supports_thinking"))

    def _request(self, prompt: ChatPrompt, *, now_s: int) -> Request:
        parallel = prompt.parallel_tool_calls
        if parallel is None:
            caps = self.template.info.get("caps", {})
            parallel = self.plain is not None or caps.get("supports_parallel_tool_calls", False)
        request = {
            "chat_template_kwargs": json.loads(prompt.template_kwargs_json),
            "add_generation_prompt": prompt.add_generation_prompt,
            "continue_final_message": prompt.continue_final_message,
            "parallel_tool_calls": parallel,
            "reasoning_format": prompt.reasoning_format,
            "now": now_s,
        }
        if self.marker:
            request["media_marker"] = self.marker
        if prompt.enable_thinking is not None:
            request["enable_thinking"] = prompt.enable_thinking
        return request

    def _render_plain(
        self,
        plain: Renderer,
        request: Request,
        prompt: ChatPrompt,
        tools: list[Any],
        schema: Any,
        numbers: NumberBounds,
    ) -> Turn:
        """The model's own template writes the prompt; grammar and parser are those of tags."""
        shown = self.template.apply(request)
        asked = {
            "messages": [{"role": "user", "content": ""}],
            "tools": tools,
            "tool_choice": prompt.tool_choice,
            "parallel_tool_calls": request["parallel_tool_calls"],
            "reasoning_format": prompt.reasoning_format,
            "chat_template_kwargs": {
                "opens_thought": shown["prompt"].rstrip().endswith(plain_tools.THOUGHT)
            },
        }
        bound = self._bind(plain, asked, plain.apply(asked), prompt, tools, schema)
        return _turn(shown, bound, prompt, numbers)

    def _bind(
        self,
        template: Renderer,
        request: Request,
        shown: Made,
        prompt: ChatPrompt,
        tools: list[Any],
        schema: Any,
    ) -> Made:
        """Return what constrains and parses the answer: all that ``shown`` has but its prompt."""
        if not tools:
            if "json_schema" not in request:
                return shown
            if "tools" not in request and request["json_schema"] == schema:
                return {**shown, "grammar": bare(shown["grammar"])}
            # Without the tools: some of llama.cpp's formats ask for a call where none may be made.
            return _structured(template, request, schema)
        bound = shown
        names = prompt.allowed_tools if prompt.tool_name is None else (prompt.tool_name,)
        if names:
            # The prompt goes on showing every tool, so its beginning stays in the prefix cache.
            tools = [tool for tool in tools if tool["function"]["name"] in names]
        if names or tools != request["tools"]:
            request = request | {"tools": tools}
            if prompt.tool_name is not None:
                request["parallel_tool_calls"] = False
            bound = template.apply(request)
        if prompt.tool_choice == "required":
            return {**bound, "grammar": _forced(bound, request)}
        if schema is None:
            return {**bound, "grammar": _calls(bound, request)}
        calls = _forced(template.apply(request | {"tool_choice": "required"}), request)
        content = _structured(template, request, schema)
        answer = content["grammar"] or after(
            content["generation_prompt"], self.schema_to_grammar(json.dumps(schema))
        )
        return {**bound, "grammar": either(calls, answer), "grammar_lazy": False}


def _held(tool: dict[str, Any], numbers: NumberBounds, index: int) -> dict[str, Any]:
    function = dict(tool["function"])
    if "parameters" in function:
        param = f"tools[{index}].function.parameters"
        function["parameters"] = numbers.held(function["parameters"], param)
    return tool | {"function": function}


def _structured(template: Renderer, request: Request, schema: Any) -> Made:
    """Return what holds an answer without calls to a schema; an empty grammar: nothing does."""
    without = {key: value for key, value in request.items() if not key.startswith("tool")}
    made = template.apply(without | {"json_schema": schema})
    return {**made, "grammar": bare(made["grammar"])}


def _forced(made: Made, request: Request) -> str:
    return forced(_calls(made, request), thought=made["thinking_start_tag"])


def _calls(made: Made, request: Request) -> str:
    grammar = plural(made["grammar"])
    return grammar if request["parallel_tool_calls"] else single(grammar)


def _turn(shown: Made, bound: Made, prompt: ChatPrompt, numbers: NumberBounds) -> Turn:
    grammar = {key: bound[key] for key in GRAMMAR_KEYS} if bound["grammar"] else {}
    if grammar:
        grammar["grammar"] = numbers.settled(grammar["grammar"])
    parser = None
    if bound["parser"]:
        parser = {key: bound[key] for key in PARSER_KEYS}
        parser["reasoning_format"] = prompt.reasoning_format
    return Turn(
        shown["prompt"],
        tuple(shown["additional_stops"]),
        tuple(dict.fromkeys([*shown["preserved_tokens"], *bound["preserved_tokens"]])),
        grammar,
        _budget(shown, prompt),
        parser,
    )


def _budget(shown: Made, prompt: ChatPrompt) -> dict[str, Any] | None:
    if prompt.reasoning_budget is None:
        return None
    return {
        "tokens": prompt.reasoning_budget,
        "message": prompt.reasoning_budget_message,
        **{key: shown[key] for key in THOUGHT_KEYS},
    }
