"""The texts of recorded requests."""

from __future__ import annotations

import json

from runner.api.transcript import answer_text, clipped, request_text


def sse(*values: object) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)


def chunk(delta: dict[str, object], **members: object) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": members.pop("finish_reason", None)}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **members}


def test_files_are_cut_to_their_beginnings_and_texts_are_not() -> None:
    picture = "data:image/png;base64," + "A" * 2000
    words = "word " * 1000
    body = {"messages": [{"content": [{"image_url": {"url": picture}}, {"text": words}]}]}
    shown = json.loads(request_text(body))["messages"][0]["content"]
    assert shown[0]["image_url"]["url"] == picture[:100] + "...[truncated 1922 chars]"
    assert shown[1]["text"] == words


def test_a_text_of_any_length_has_a_bound() -> None:
    assert clipped("abcdef", 4) == "abcd...[truncated 2 chars]"
    assert clipped("abcd", 4) == "abcd"


def test_chunks_of_a_chat_become_one_answer() -> None:
    call = {"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "{"}}
    more = {"index": 0, "function": {"arguments": "}"}}
    stream = b":\n\n" + sse(
        chunk({"role": "assistant", "content": None}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({"tool_calls": [call]}),
        chunk({"tool_calls": [more]}),
        chunk({}, finish_reason="tool_calls"),
        {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": {"n": 1}},
    )
    text, error = answer_text(stream + b"data: [DONE]\n\n", is_stream=True)
    assert error is None
    assert json.loads(text) == {
        "id": "c",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hello",
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "x",
                            "type": "function",
                            "function": {"name": "f", "arguments": "{}"},
                        }
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"n": 1},
    }


def test_choices_are_kept_apart() -> None:
    first, second = chunk({"content": "a"}), chunk({"content": "b"})
    second["choices"][0]["index"] = 1  # type: ignore[index]
    text, _ = answer_text(sse(second, first), is_stream=True)
    assert [c["message"]["content"] for c in json.loads(text)["choices"]] == ["a", "b"]


def test_an_error_in_a_stream_is_told_beside_what_came() -> None:
    failed = {"error": {"message": "it died"}}
    text, error = answer_text(sse(chunk({"content": "x"}), failed), is_stream=True)
    assert json.loads(text)["choices"][0]["message"] == {"content": "x"}
    assert error == '{"error": {"message": "it died"}}'


def test_a_response_is_what_its_events_end_with() -> None:
    done = {"type": "response.completed", "response": {"id": "resp_1"}}
    text, _ = answer_text(sse({"type": "response.created", "response": {}}, done), is_stream=True)
    assert json.loads(text) == {"id": "resp_1"}


def test_other_streams_and_what_is_no_stream_stay_as_they_are() -> None:
    lines = b'{"done":false}\n{"done":true}\n'
    assert answer_text(lines, is_stream=True) == (lines.decode(), None)
    assert answer_text(b'{"a": "\xc3\xa9"}', is_stream=False) == ('{"a": "\u00e9"}', None)
