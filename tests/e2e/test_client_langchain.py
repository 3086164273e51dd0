"""LangChain and LangGraph against the real server: answers, structure, and a loop of tools."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import MODEL, Daemon

# Both warn of what they will change themselves; pytest would make errors of it.
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

QUESTION = "What is the capital of France? Answer in one short sentence."


def chat_model(daemon: Daemon, **members: Any) -> Any:
    """Return LangChain's model of our server."""
    langchain = pytest.importorskip(
        "langchain_openai", reason="not installed: make test installs langchain-openai"
    )
    settings = {"max_tokens": 24, "temperature": 0, "max_retries": 0, "stream_usage": True}
    return langchain.ChatOpenAI(
        model=MODEL, base_url=f"{daemon.url}/v1", api_key="any", **(settings | members)
    )


def test_langchain_gets_an_answer_whole_and_streamed(daemon: Daemon) -> None:
    model = chat_model(daemon)
    whole = model.invoke(QUESTION)
    assert "Paris" in whole.content
    assert whole.usage_metadata["input_tokens"] > 10
    assert whole.response_metadata["finish_reason"] == "stop"
    first, *chunks = model.stream(QUESTION)
    for chunk in chunks:
        first += chunk
    assert first.content == whole.content
    assert first.usage_metadata["input_tokens"] == whole.usage_metadata["input_tokens"]


def test_langchain_gets_what_its_schema_says(daemon: Daemon) -> None:
    schema = {
        "title": "city",
        "description": "A city",
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "is_capital": {"type": "boolean"},
        },
        "required": ["name", "is_capital"],
        "additionalProperties": False,
    }
    for method in ("json_schema", "function_calling"):
        model = chat_model(daemon, max_tokens=100)
        answer = model.with_structured_output(schema, method=method).invoke(QUESTION)
        assert set(answer) == {"name", "is_capital"}


def test_a_graph_calls_a_tool_and_comes_to_an_answer(daemon: Daemon) -> None:
    graphs = pytest.importorskip(
        "langgraph.graph", reason="not installed: make test installs langgraph"
    )
    prebuilt = pytest.importorskip(
        "langgraph.prebuilt", reason="not installed: make test installs langgraph"
    )
    model = chat_model(daemon, max_tokens=60)
    asked: list[str] = []

    def weather(city: str) -> str:
        """Tell the weather of a city."""
        asked.append(city)
        return "22 degrees, sunny"

    # The model is too small to call by itself: its first turn must, its second must not.
    calling = model.bind_tools([weather], tool_choice="weather")
    talking = model.bind_tools([weather], tool_choice="none")

    def think(state: dict[str, Any]) -> dict[str, Any]:
        has_result = state["messages"][-1].type == "tool"
        return {"messages": [(talking if has_result else calling).invoke(state["messages"])]}

    builder = graphs.StateGraph(graphs.MessagesState)
    builder.add_node("think", think)
    builder.add_node("tools", prebuilt.ToolNode([weather]))
    builder.add_edge(graphs.START, "think")
    builder.add_conditional_edges("think", prebuilt.tools_condition)
    builder.add_edge("tools", "think")
    state = builder.compile().invoke({"messages": [("user", "What is the weather in Rome?")]})
    kinds = [message.type for message in state["messages"]]
    assert kinds == ["human", "ai", "tool", "ai"]
    assert len(asked) == 1
    assert state["messages"][1].tool_calls[0]["name"] == "weather"
    assert state["messages"][2].content == "22 degrees, sunny"
    assert state["messages"][3].content
