"""docs/*.png: the page and two terminals as users see them, with a real server and a real model.

``make screenshots``, or ``python -m tests.support.gallery``: needs Chromium, docker-registry and
what pyproject.toml's group ``gallery`` names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.conftest import Daemon, environment, running_daemon
from tests.support import terminal_picture
from tests.support.browser import Browser, running_browser
from tests.support.embedded import find_model
from tests.support.reference import FILE
from tests.support.registries import RunningRegistry, running
from tests.support.terminal import ENTER, Terminal
from tests.support.throttle import Line, throttled

DOCS = FILE.parent
SIZE = (1100, 720)  # CSS pixels
MAX_BYTES = 150_000  # of one picture
LINE = Line(round_trip_s=0.02, bytes_per_s=3_000_000)  # of each connection
MODEL, OTHER_TAG = "ai/smollm2", "135M-Q4_1"
ANSWER_S = 120.0

FACT = "What is the capital of France? Answer in one short sentence."
QUESTION = "Give me a Python function that reverses a string."


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as name, throttled_hub(Path(name)) as mirror:
        home = Path(name) / "home"
        home.mkdir()
        own = {"RUNNER_CONTEXT_SIZE": "4096", "RUNNER_THREADS": "2"}
        flags = ["--registry-mirror", mirror]
        with running_daemon(home, *flags, **own) as daemon, running_browser(home) as browser:
            browser.devtools("Emulation.setFocusEmulationEnabled", {"enabled": True})
            picture_pull(daemon, browser)
            picture_chat(daemon, browser)
            picture_page(daemon, browser)
            daemon.stop()


@contextmanager
def throttled_hub(folder: Path) -> Iterator[str]:
    """Serve the small model as Docker Hub would, over a slow line; give the mirror's URL."""
    with running(RunningRegistry(folder)) as registry:
        content = find_model().read_bytes()
        registry.seed(MODEL, "latest", [content])
        registry.seed(
            MODEL, OTHER_TAG, [content + bytes(32)]
        )  # another digest, so that it is pulled
        with throttled(registry.port, LINE) as line:
            yield f"http://127.0.0.1:{line.port}"


def picture_pull(daemon: Daemon, browser: Browser) -> None:
    """``runner pull`` while it pulls; afterwards the model is there."""
    with command(daemon, "pull", MODEL) as terminal:
        terminal.look_for("  7s\r\n", timeout_s=ANSWER_S)  # more than half is here
        shown = f"$ runner pull {MODEL}\r\n" + terminal.shown
        terminal_shot(browser, shown, "pull", DOCS / "terminal-pull.png")
        assert terminal.wait(timeout_s=ANSWER_S) == 0


def picture_chat(daemon: Daemon, browser: Browser) -> None:
    """``runner run``: a question and its answer."""
    arguments = ("run", "--temperature", "0", MODEL)
    with command(daemon, *arguments) as terminal:
        terminal.look_for("Send a message", timeout_s=ANSWER_S)
        for question in (FACT, QUESTION):
            terminal.type(question + ENTER)
            terminal.look_for("Send a message", timeout_s=ANSWER_S)
        shown = f"$ runner {' '.join(arguments)}\r\n" + terminal.shown
        terminal_shot(browser, shown, "chat", DOCS / "terminal-chat.png")
        terminal.type("/bye" + ENTER)
        assert terminal.wait() == 0


def picture_page(daemon: Daemon, browser: Browser) -> None:
    """The three views of the page."""
    look(browser, "dark")
    browser.open(daemon.url)
    browser.click(".settings summary")
    browser.type("#temperature", "0")
    browser.type("#max-tokens", "300")
    browser.click(".settings summary")
    browser.type("textarea[aria-label=Message]", QUESTION)
    browser.click(".send")
    done = "return document.querySelector('.assistant .facts')?.textContent.includes('tok/s')"
    browser.until(done, timeout_s=ANSWER_S)
    browser.script("document.querySelector('.log').scrollTop = 0; document.activeElement.blur()")
    shot(browser, DOCS / "page-chat.png")

    look(browser, "light")
    browser.click(".tabs a", text="Models")
    browser.type("#pull-name", f"{MODEL}:{OTHER_TAG}")
    browser.click(".pull-form button", text="Pull")
    browser.until("return document.querySelector('.pull progress').value > 0.3", timeout_s=60)
    shot(browser, DOCS / "page-models.png")
    browser.click(".pull button", text="Cancel")
    browser.click(".tabs a", text="Machine")
    browser.find(".figures")
    browser.find(".tail", text="POST /v1/chat/completions")
    shot(browser, DOCS / "page-machine.png")


@contextmanager
def command(daemon: Daemon, *arguments: str) -> Iterator[Terminal]:
    env = environment(daemon.home, MODEL_RUNNER_HOST=daemon.url)
    size = (terminal_picture.LINES, terminal_picture.COLUMNS)
    with Terminal(["-m", "runner", *arguments], env, size=size) as terminal:
        yield terminal


def terminal_shot(browser: Browser, shown: str, name: str, path: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
        file.write(terminal_picture.page(shown, f"runner {name}"))
        file.flush()
        browser.resize(*SIZE)
        browser.open(f"file://{file.name}")
        fit = "const box = document.body.getBoundingClientRect(); return [box.width, box.height]"
        width, height = browser.script(fit)
        browser.resize(round(width), round(height))
        shot(browser, path)


def look(browser: Browser, scheme: str) -> None:
    """Give the page a size and colours."""
    browser.resize(*SIZE)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.devtools("Emulation.setEmulatedMedia", {"features": [feature]})


def shot(browser: Browser, path: Path) -> None:
    browser.screenshot(path)
    size_bytes = path.stat().st_size
    assert size_bytes < MAX_BYTES, f"{path} has {size_bytes} bytes"
    print(f"{path.name}: {size_bytes / 1000:.0f} kB")


if __name__ == "__main__":
    main()
