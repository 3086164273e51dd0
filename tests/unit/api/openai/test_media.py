"""Images and sounds in messages: case B14 of demands-security.md, before bytes are decoded."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from runner.api.fields import Fields
from runner.api.openai import media, messages
from runner.api.openai.media import MAX_FILES
from runner.errors import Kind, RunnerError
from tests.support.projectors import png, wav

PNG, WAV = base64.b64encode(png(1)).decode(), base64.b64encode(wav(1)).decode()
TEXT = {"type": "text", "text": "What is it?"}
PARAM = "messages[0].content[0]"


def parse(*parts: Any, role: str = "user") -> list[Any]:
    message = {"role": role, "content": list(parts)}
    ignored: dict[str, None] = {}
    [parsed] = messages.parse(Fields({"messages": [message]}), ignored)
    assert not ignored
    content: list[Any] = parsed["content"]
    return content


def refusal(*parts: Any, role: str = "user") -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        parse(*parts, role=role)
    return caught.value


def url(data: str = PNG, media_type: str = "image/png") -> dict[str, Any]:
    value = {"url": f"data:{media_type};base64,{data}", "detail": "high"}
    return {"type": "image_url", "image_url": value}


@pytest.mark.parametrize(
    "part",
    [
        url(),
        url(media_type="IMAGE/JPEG"),  # what it is its bytes tell
        {"type": "image_url", "image_url": f"data:image/png;base64,{PNG}"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        {"type": "file", "file": {"file_data": f"data:image/png;base64,{PNG}", "filename": "a"}},
    ],
)
def test_an_image_becomes_its_file(part: dict[str, Any]) -> None:
    assert parse(part, TEXT) == [{"type": "image", "data": PNG, "param": PARAM}, TEXT]


def test_a_sound_becomes_its_file() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}
    assert parse(sound) == [{"type": "audio", "data": WAV, "param": PARAM}]


def test_base64_may_have_lines() -> None:
    assert parse(url(f"{PNG[:40]}\r\n{PNG[40:]}"))[0]["type"] == "image"


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "ftp://example.com/cat.png",
        "http:\\\\evil",
        "data:image/png,plain",
        f"data:image/png;base64;x,{PNG}",
        "",
        PNG,
    ],
)
def test_b14_nothing_but_data_and_http_is_taken(address: str) -> None:
    error = refusal({"type": "image_url", "image_url": {"url": address}}, TEXT)
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, PARAM)
    assert "expected a data URL" in error.message


def test_an_image_elsewhere_is_named_until_its_file_is_there() -> None:
    there = "HTTPS://example.com/cat.png"
    conversation = [
        {"role": "user", "content": [*parse(url(), {"type": "image_url", "image_url": there})]},
        {"role": "assistant", "content": "A cat."},
    ]
    assert media.remote_files(conversation) == (("HTTPS://example.com/cat.png", f"{PARAM[:-2]}1]"),)
    written = media.put_files(json.dumps(conversation), {there: png(1)})
    [user, answer] = json.loads(written)
    assert user["content"] == [
        {"type": "image", "data": PNG, "param": PARAM},
        {"type": "image", "data": PNG, "param": f"{PARAM[:-2]}1]"},
    ]
    assert answer == {"role": "assistant", "content": "A cat."}
    assert media.remote_files(json.loads(written)) == ()


@pytest.mark.parametrize("content", [wav(1), b"<html>", b""])
def test_b14_a_file_from_elsewhere_is_what_its_bytes_tell(content: bytes) -> None:
    part = {"type": "image_url", "image_url": {"url": "http://example.com/cat.png"}}
    conversation = json.dumps([{"role": "user", "content": parse(part)}])
    with pytest.raises(RunnerError, match="expected a JPEG") as caught:
        media.put_files(conversation, {"http://example.com/cat.png": content})
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, PARAM)


def test_a_file_elsewhere_is_only_named_where_images_are() -> None:
    error = refusal({"type": "file", "file": {"file_data": "https://example.com/cat.png"}})
    assert "expected a data URL" in error.message
    part = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    assert refusal(part, role="system").param == PARAM


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("%%%%", "expected base64"),
        (PNG[:-1], "expected base64"),
        ("gr\u00fc\u00df", "expected base64"),
        ("", "got 0 bytes of another kind"),
        (base64.b64encode(b"<svg xmlns=''/>").decode(), "got an SVG image"),
        (base64.b64encode(b"RIFF\0\0\0\0WEBPVP8 ").decode(), "got a WebP image"),
        (base64.b64encode(b"%PDF-1.7").decode(), "got a PDF"),
        (WAV, "got a WAV, MP3 or FLAC sound"),
    ],
)
def test_b14_what_is_no_image_says_what_it_is(data: str, problem: str) -> None:
    error = refusal(url(data))
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, PARAM)
    assert problem in error.message


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url"}, "messages[0].content[0].image_url"),
        ({"type": "image_url", "image_url": {}}, "messages[0].content[0].image_url.url"),
        ({"type": "image_url", "image_url": [PNG]}, "messages[0].content[0].image_url"),
        ({"type": "input_audio"}, "messages[0].content[0].input_audio"),
        ({"type": "input_audio", "input_audio": {}}, "messages[0].content[0].input_audio.data"),
        ({"type": "file", "file": {"file_id": "f"}}, "messages[0].content[0].file.file_id"),
        ({"type": "file", "file": {"filename": "f"}}, "messages[0].content[0].file.file_data"),
    ],
)
def test_what_is_missing_is_named(part: dict[str, Any], param: str) -> None:
    error = refusal(part)
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, param)


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_images_are_for_users_and_tools_to_show(role: str) -> None:
    assert refusal(url(), role=role).param == PARAM
    assert parse(url(), role="tool")[0]["type"] == "image"


def test_files_are_counted() -> None:
    error = refusal(*[url()] * (MAX_FILES + 1))
    assert error.param == f"messages[0].content[{MAX_FILES}]"
    assert len(parse(*[url()] * MAX_FILES)) == MAX_FILES
