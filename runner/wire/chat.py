"""What a conversation is asked with, and what its answer is made of beside text."""

from __future__ import annotations

from typing import Literal

import msgspec


class ChatPrompt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="chat"):
    """A conversation, rendered by the model's template in the worker.

    The structure of the answer (``Sampling.json_schema``) binds what is shown as content: a model
    that thinks may think first, and with tools it may call one instead.
    """

    # OpenAI message array, validated, as JSON text. An image or a sound is a content part
    # {"type": "image" | "audio", "data": its file in base64, "param": what its sender calls it}.
    messages_json: str
    template_kwargs_json: str = "{}"
    add_generation_prompt: bool = True
    # What the last message is continued with; True: a thought where it has nothing else.
    continue_final_message: bool | Literal["content", "reasoning_content"] = False
    tools_json: str | None = None  # OpenAI ``tools`` array, validated; None: there are none
    tool_choice: Literal["auto", "none", "required"] = "auto"
    tool_name: str | None = None  # with "required": the one function that must be called
    allowed_tools: tuple[str, ...] = ()  # all that may be called; empty: any
    parallel_tool_calls: bool | None = None  # None: as the template can
    enable_thinking: bool | None = None  # None: as the template does
    reasoning_budget: int | None = None  # tokens of one thought, which is ended then; None: free
    reasoning_budget_message: str = ""  # the last words of a thought that is ended so
    # "none" leaves the reasoning in the content, as the model wrote it.
    reasoning_format: Literal["none", "auto", "deepseek", "deepseek-legacy"] = "auto"


class CallDelta(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """New text of one tool call. ``id`` and ``name`` come once, with a call's first delta."""

    index: int  # of the call within the answer
    arguments: str = ""  # JSON text, to be appended
    id: str = ""
    name: str = ""
