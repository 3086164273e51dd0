"""The commands of the chat that begin with a slash. Pure: a line changes the conversation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from runner.cli.chat import Conversation


class Reply(NamedTuple):
    """What to tell the person, and whether the chat is over."""

    text: str
    leaves: bool = False


HELP = '''\
  /set system TEXT            say how the model shall behave (no TEXT: as it likes)
  /set parameter NAME VALUE   temperature, top_p, top_k, min_p, seed, max_tokens, stop,
                              presence_penalty, frequency_penalty, repeat_penalty
  /show                       the model, the system message and the parameters
  /clear                      forget what was said
  /bye, /exit, Ctrl + d       leave
  /?, /help                   this text

  @FILE, @"MY FILE"           put in a text file, an image or a sound

  """ begins a text of several lines, and """ ends it. Ctrl + c stops an answer.'''


def is_command(line: str) -> bool:
    """Whether a line begins with a command, and not with the path of a dropped file."""
    word = line.partition(" ")[0]
    return word.startswith("/") and "/" not in word[1:]


def obey(line: str, conversation: Conversation) -> Reply:
    """Carry out one command line, which begins with a slash."""
    word, _, rest = line.strip().partition(" ")
    match word:
        case "/bye" | "/exit":
            return Reply("", leaves=True)
        case "/?" | "/help":
            return Reply(HELP)
        case "/clear":
            conversation.turns.clear()
            return Reply("Cleared the conversation.")
        case "/show":
            return Reply(_show(conversation))
        case "/set":
            return Reply(_set(rest.strip(), conversation))
        case _:
            return Reply(f"Unknown command '{word}'. Type /? for help")


def _set(rest: str, conversation: Conversation) -> str:
    option, _, value = rest.partition(" ")
    if option == "system":
        conversation.system = value.strip()
        return "Set system message." if conversation.system else "Cleared system message."
    if option == "parameter":
        option, _, value = value.strip().partition(" ")
    if option == "num_ctx":
        return "num_ctx is fixed when a model is loaded: runner configure MODEL --context-size N"
    if not option:
        return "Usage: /set system TEXT, or /set parameter NAME VALUE"
    return _set_parameter(option, value.strip(), conversation)


def _set_parameter(name: str, text: str, conversation: Conversation) -> str:
    field = _ALIASES.get(name, name)
    if field not in _PARAMETERS:
        return f"Unknown parameter: {name}. It can be one of: {', '.join(_PARAMETERS)}"
    parse, expected = _PARAMETERS[field]
    try:
        conversation.parameters[field] = parse(text)
    except ValueError:
        return f"Invalid value for {name}: {text or '(none)'} (must be {expected})"
    return f"Set {name} to {text}"


def _show(conversation: Conversation) -> str:
    lines = [f"Model:   {conversation.model}"]
    if conversation.system:
        lines.append(f"System:  {conversation.system}")
    lines += [f"{name} = {value!r}" for name, value in sorted(conversation.parameters.items())]
    lines.append(f"Turns:   {len(conversation.turns)}")
    return "\n".join(lines)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


# Only the types: the ranges are the server's, which names them when it refuses a value.
_NUMBER = (_number, "a number")
_INTEGER = (int, "a whole number")
_PARAMETERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": _INTEGER,
    "min_p": _NUMBER,
    "seed": _INTEGER,
    "max_tokens": _INTEGER,
    "stop": (_text, "a text"),
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "repeat_penalty": _NUMBER,
}
_ALIASES = {"num_predict": "max_tokens"}  # Ollama's name
