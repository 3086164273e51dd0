"""Tools for a model whose chat template knows none: told in plain words, called in tags. Pure.

The form is that of the Hermes models, which most small models have seen. llama.cpp finds it in
:data:`TEMPLATE` as it does in a model's own, and makes grammar and parser of it.
"""

from __future__ import annotations

import json
from typing import Any

Message = dict[str, Any]

TEMPLATE = """\
{%- if tools %}<|im_start|>system
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools><|im_end|>
{% endif %}{% for message in messages %}{% if message.role == 'tool' %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}{% for call in message.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

# The same for a model that thinks. ``opens_thought``: its own template's prompt begins to.
THOUGHT = "<think>"
THINKING_TEMPLATE = TEMPLATE.replace(
    "{% if message.content %}",
    "{% if message.reasoning_content %}<think>\n{{ message.reasoning_content }}\n</think>\n\n"
    "{% endif %}{% if message.content %}",
).replace(
    "assistant\n{% endif %}", "assistant\n{% if opens_thought %}<think>\n{% endif %}{% endif %}"
)

_INTRODUCTION = """\
You can call functions. Their signatures, one JSON object a line:
<tools>
{tools}
</tools>
To call one, answer with its name and its arguments as a JSON object in tags:
<tool_call>
{{"name": "function-name", "arguments": {{}}}}
</tool_call>"""


def has_calls(messages: list[Message]) -> bool:
    """Whether a conversation holds calls or their results."""
    return any("tool_calls" in message or message["role"] == "tool" for message in messages)


def rewrite(messages: list[Message], tools: list[Message]) -> list[Message]:
    """Return the conversation in the words of a template that knows neither tools nor calls."""
    written = [_rewrite(message) for message in messages]
    if not tools:
        return written
    listed = "\n".join(_dump(tool) for tool in tools)
    introduction = _INTRODUCTION.format(tools=listed)
    if written[0]["role"] not in ("system", "developer"):
        return [{"role": "system", "content": introduction}, *written]
    first = written[0]
    said = _text(first["content"])
    return [{**first, "content": f"{said}\n\n{introduction}"}, *written[1:]]


def _rewrite(message: Message) -> Message:
    if message["role"] == "tool":
        said = f"<tool_response>\n{_text(message['content'])}\n</tool_response>"
        return {"role": "user", "content": said}
    if "tool_calls" not in message:
        return message
    calls = [_write_call(call["function"]) for call in message["tool_calls"]]
    said = _text(message["content"])
    return {"role": "assistant", "content": "\n".join([said, *calls] if said else calls)}


def _write_call(function: dict[str, str]) -> str:
    name = json.dumps(function["name"], ensure_ascii=False)
    return f'<tool_call>\n{{"name": {name}, "arguments": {function["arguments"]}}}\n</tool_call>'


def _text(content: str | list[Message] | None) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content)
    return content or ""


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
