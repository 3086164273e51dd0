from __future__ import annotations

import pytest

from runner.cli.chat import Conversation
from runner.cli.slash import HELP, obey


@pytest.mark.parametrize("line", ["/bye", "/exit", "  /bye  "])
def test_leaving(line: str) -> None:
    assert obey(line, Conversation("m")).leaves


@pytest.mark.parametrize("line", ["/?", "/help", "/help set"])
def test_help(line: str) -> None:
    reply = obey(line, Conversation("m"))
    assert (reply.text, reply.leaves) == (HELP, False)


def test_an_unknown_command_is_named() -> None:
    assert obey("/foo bar", Conversation("m")).text == "Unknown command '/foo'. Type /? for help"


def test_the_system_message_is_set_and_cleared() -> None:
    conversation = Conversation("m")
    assert obey("/set system Be brief.", conversation).text == "Set system message."
    assert conversation.system == "Be brief."
    assert obey("/set system", conversation).text == "Cleared system message."
    assert conversation.system == ""


@pytest.mark.parametrize(
    ("line", "field", "value", "said"),
    [
        ("/set parameter temperature 0.5", "temperature", 0.5, "Set temperature to 0.5"),
        ("/set top_k 40", "top_k", 40, "Set top_k to 40"),
        ("/set parameter num_predict 9", "max_tokens", 9, "Set num_predict to 9"),
        ("/set parameter stop a b", "stop", "a b", "Set stop to a b"),
    ],
)
def test_a_parameter_becomes_a_member_of_the_request(
    line: str, field: str, value: object, said: str
) -> None:
    conversation = Conversation("m")
    assert obey(line, conversation).text == said
    assert conversation.request("hi")[field] == value


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/set parameter temperature hot", "Invalid value for temperature: hot (must be a number)"),
        ("/set parameter temperature nan", "Invalid value for temperature: nan (must be a number)"),
        ("/set seed", "Invalid value for seed: (none) (must be a whole number)"),
        ("/set parameter stop", "Invalid value for stop: (none) (must be a text)"),
        (
            "/set parameter num_ctx 4096",
            "num_ctx is fixed when a model is loaded: runner configure MODEL --context-size N",
        ),
        ("/set", "Usage: /set system TEXT, or /set parameter NAME VALUE"),
        ("/set parameter", "Usage: /set system TEXT, or /set parameter NAME VALUE"),
    ],
)
def test_what_cannot_be_set_says_why_and_changes_nothing(line: str, said: str) -> None:
    conversation = Conversation("m")
    assert obey(line, conversation).text == said
    assert conversation.parameters == {}


def test_an_unknown_parameter_is_refused_with_the_known_ones() -> None:
    said = obey("/set parameter mirostat 2", Conversation("m")).text
    assert said.startswith("Unknown parameter: mirostat. It can be one of: temperature, top_p")


def test_show_and_clear() -> None:
    conversation = Conversation("m", "Be brief.", {"seed": 1}, [("a", "b")])
    assert obey("/show", conversation).text == (
        "Model:   m\nSystem:  Be brief.\nseed = 1\nTurns:   1"
    )
    assert obey("/clear", conversation).text == "Cleared the conversation."
    assert conversation.turns == []
    assert conversation.system == "Be brief."
