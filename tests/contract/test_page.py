"""The page's files as they are served: to whom, with which headers, and what is never in them."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from runner.api import Policy
from runner.api.keys import parse_keys
from runner.api.page import FOLDER
from tests.support.fake_service import Site, run

MAX_BYTES = 100_000
INDEX = "index.html"
STYLES = ["style.css", "chat.css", "models.css"]  # in the index itself, as it is sent
BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
FILES = sorted(path.name for path in FOLDER.iterdir() if path.name != "__pycache__")


async def folder_of(site: Site) -> str:
    """Where the index says that the page's other files are."""
    index = (await site.send("GET", "/", BROWSER)).body.decode()
    [folder] = set(re.findall(r'"(/web/[0-9a-f]{16}/)[^"]+"', index))
    assert isinstance(folder, str)
    return folder


def style() -> str:
    """All styles, in their order."""
    return "".join((FOLDER / name).read_text(encoding="utf-8") for name in STYLES)


def test_a_browser_gets_the_page_and_curl_the_text() -> None:
    async def test(site: Site) -> None:
        page = await site.send("GET", "/", BROWSER)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["vary"] == "Accept"
        folder = await folder_of(site)
        links = "".join(f'<link rel="stylesheet" href="/web/{name}">\n' for name in STYLES)
        written = (FOLDER / INDEX).read_text(encoding="utf-8")
        assert page.body.decode().replace(folder, "/web/") == (
            written.replace(links, f"<style>{style()}</style>\n")
        )
        for accept in ("Accept: */*", "Accept: application/json", "Accept: text/plain"):
            text = await site.send("GET", "/", accept)
            assert text.headers["content-type"] == "text/plain; charset=utf-8"
            assert text.headers["vary"] == "Accept"

    run(test)


def test_every_file_is_sent_with_its_type_and_nothing_may_be_added_to_it() -> None:
    types = {
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    }

    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()

    async def test(site: Site) -> None:
        folder = await folder_of(site)
        for name in sorted({*FILES} - {*STYLES}):
            answer = await site.send(
                "GET", *(("/", BROWSER) if name == INDEX else (folder + name,))
            )
            assert answer.status == 200
            if name != INDEX:
                assert answer.body == (FOLDER / name).read_bytes()
                assert answer.headers["content-type"] == types[name.rpartition(".")[2]]
                assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["x-content-type-options"] == "nosniff"
            policy = answer.headers["content-security-policy"]
            assert policy.startswith(
                f"default-src 'none'; script-src 'self'; style-src 'sha256-{digest}';"
            )
            assert "unsafe" not in policy
            assert "http" not in policy

    run(test)


def test_an_index_that_is_known_is_not_sent_again() -> None:
    async def test(site: Site) -> None:
        first = await site.send("GET", "/", BROWSER)
        etag = first.headers["etag"]
        assert first.headers["cache-control"] == "no-cache"
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = await site.send("GET", "/", BROWSER, f"If-None-Match: {known}")
            assert (again.status, again.body) == (304, b"")
            assert again.headers["etag"] == etag
        assert (await site.send("GET", "/", BROWSER, 'If-None-Match: "x"')).status == 200

    run(test)


def test_nothing_but_the_index_is_waited_for_before_the_first_paint() -> None:
    async def test(site: Site) -> None:
        index = (await site.send("GET", "/", BROWSER)).body.decode()
        assert re.findall(r"<link rel=\"(\w+)\"", index) == ["icon"]
        assert re.findall(r"<script ([a-z=\"]+)", index) == ['type="module"']  # run when parsed

    run(test)


@pytest.mark.parametrize(
    "name",
    ["gone.js", "../main.js", "..%2Fapi%2Fgate.py", "../../daemon.py", "main.js%00", "index.html"],
)
def test_there_are_no_other_files(name: str) -> None:
    async def test(site: Site) -> None:
        assert (await site.send("GET", await folder_of(site) + name)).status in (400, 404)

    run(test)


def test_the_page_comes_without_a_key_and_the_rest_does_not() -> None:
    async def test(site: Site) -> None:
        assert (await site.send("GET", "/", BROWSER)).status == 200
        assert (await site.send("GET", await folder_of(site) + "main.js")).status == 200
        assert (await site.send("GET", "/v1/models")).status == 401
        assert (await site.send("GET", "/webs/main.js")).status == 401

    run(test, policy=Policy(keys=parse_keys(["k"])))


def test_the_page_is_small() -> None:
    assert sum((FOLDER / name).stat().st_size for name in FILES) < MAX_BYTES


# What makes nodes or code of text, and what would be asked of another machine.
NEVER = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
    r"|setHTML|srcdoc|\beval\b|new Function|(?:src|href)=\"https?:|@import|url\("
)


@pytest.mark.parametrize("name", FILES)
def test_nothing_in_it_makes_html_of_text_or_asks_another_machine(name: str) -> None:
    assert NEVER.findall((FOLDER / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_every_import_is_a_file_of_the_page(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    imported = re.findall(r'from "\./([^"]+)"', text)
    assert imported == [one for one in imported if (FOLDER / one).is_file()]
