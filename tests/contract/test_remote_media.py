"""Images that requests name by URL, in every dialect: case B14, above the fetching."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import Any

import pytest

from runner.api.remote_media import MAX_FILES, MAX_PARALLEL, MAX_TOTAL_BYTES
from runner.errors import Kind, RunnerError
from tests.support.fake_service import Answer, Site, run
from tests.support.projectors import png

URL = "https://photos.example/cat.png"
SAY = {"type": "text", "text": "say Hi"}


def chat(*urls: str, **members: Any) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"model": "a", "messages": [{"role": "user", "content": [*parts, SAY]}], **members}


def message(url: str) -> dict[str, Any]:
    image = {"type": "image", "source": {"type": "url", "url": url}}
    said = [{"role": "user", "content": [image, SAY]}]
    return {"model": "a", "max_tokens": 9, "messages": said}


def response(url: str) -> dict[str, Any]:
    parts = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "say Hi"}]
    return {"model": "a", "store": False, "input": [{"role": "user", "content": parts}]}


ASKED = [
    ("/v1/chat/completions", chat(URL), "messages[0].content[0]"),
    ("/v1/chat/completions", chat(URL, stream=True), "messages[0].content[0]"),
    ("/v1/chat/completions/input_tokens", chat(URL), "messages[0].content[0]"),
    ("/apply-template", chat(URL), "messages[0].content[0]"),
    ("/v1/messages", message(URL), "messages[0].content[0].source"),
    ("/v1/messages/count_tokens", message(URL), "messages[0].content[0].source"),
    ("/v1/responses", response(URL), "input[0].content[0]"),
    ("/v1/responses/input_tokens", response(URL), "input[0].content[0]"),
]


def prompts(site: Site) -> list[Any]:
    """What the model was told, and asked about."""
    submitted = [submit.prompt for submit in site.engine.submitted]
    return [*submitted, *(ask.question for ask in site.engine.asked)]


@pytest.mark.parametrize(("path", "body", "param"), ASKED)
def test_b14_nothing_is_fetched_unless_the_user_said_so(
    path: str, body: dict[str, Any], param: str
) -> None:
    async def test(site: Site) -> None:
        answer = await site.post(path, body)
        assert answer.status == 400
        text = answer.body.decode()
        assert f"{param}: this server fetches nothing for clients" in text
        assert "--remote-media" in text
        assert not site.spawn.engines  # no model was loaded for it

    run(test)


@pytest.mark.parametrize(("path", "body", "param"), ASKED)
def test_an_image_is_fetched_in_every_dialect(path: str, body: dict[str, Any], param: str) -> None:
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return png(1)

    async def test(site: Site) -> None:
        answer = await site.post(path, body)
        assert answer.status == 200
        [prompt] = prompts(site)
        image, text = json.loads(prompt.messages_json)[-1]["content"]
        data = base64.b64encode(png(1)).decode()
        assert image == {"type": "image", "data": data, "param": param}
        assert text == SAY

    run(test, fetch=fetch)
    assert fetched == [URL]


@pytest.mark.parametrize(("path", "body", "param"), ASKED)
def test_b14_what_is_no_image_or_not_there_is_a_400(
    path: str, body: dict[str, Any], param: str
) -> None:
    def missing(_: str) -> bytes:
        raise RunnerError(Kind.INVALID_REQUEST, "photos.example answered 404")

    async def expect(site: Site, words: str) -> None:
        answer = await site.post(path, body)
        assert (answer.status, f"{param}: {words}" in answer.body.decode()) == (400, True)
        assert not site.spawn.engines

    run(lambda site: expect(site, "photos.example answered 404"), fetch=missing)
    run(lambda site: expect(site, "expected a JPEG"), fetch=lambda _: b"<svg />")


def test_b14_files_are_counted_fetched_once_and_bounded_together() -> None:
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return png(1) if url.endswith("small") else png(1) + bytes(MAX_TOTAL_BYTES // 2)

    async def test(site: Site) -> None:
        many = chat(*[f"{URL}?{number}" for number in range(MAX_FILES + 1)])
        answer = await site.post("/v1/chat/completions", many)
        assert answer.status == 400
        assert answer.json["error"]["param"] == f"messages[0].content[{MAX_FILES}]"
        assert fetched == []
        answer = await site.post("/v1/chat/completions", chat(*[f"{URL}?small"] * MAX_FILES))
        assert (answer.status, fetched) == (200, [f"{URL}?small"])
        answer = await site.post("/v1/chat/completions", chat(f"{URL}?1", f"{URL}?2"))
        assert answer.status == 400
        assert f"more than {MAX_TOTAL_BYTES} bytes" in answer.json["error"]["message"]

    run(test, fetch=fetch)


def test_b14_slow_servers_hold_up_nobody_but_those_who_name_them() -> None:
    enough, go_on = threading.Event(), threading.Event()
    lock, running, most = threading.Lock(), 0, 0

    def fetch(_: str) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == MAX_PARALLEL:
                enough.set()
        go_on.wait(15)
        with lock:
            running -= 1
        return png(1)

    async def test(site: Site) -> None:
        urls = [f"{URL}?{number}" for number in range(MAX_FILES)]
        slow: list[asyncio.Task[Answer]] = [
            asyncio.create_task(site.post("/v1/chat/completions", chat(*urls))) for _ in range(3)
        ]
        while not enough.is_set():
            await asyncio.sleep(0.005)
        answer = await site.post("/v1/chat/completions", chat())
        assert answer.status == 200
        go_on.set()
        assert [answer.status for answer in await asyncio.gather(*slow)] == [200, 200, 200]

    run(test, fetch=fetch)
    assert most == MAX_PARALLEL
