"""How fast the built-in page is: figures for whoever looks (``pytest -s``), no limits.

The server is real; the answer is played inside the browser, faster than a small model writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.e2e.conftest import Daemon
from tests.support.browser import Browser, running_browser

pytestmark = pytest.mark.model

LOADS = 7
TOKENS = 2000
TOKENS_PER_S = 250
FRAME_MS = 1000 / 60

# What a model writes: prose with marks in it, a list, code. Twenty tokens.
PASSAGE = [
    "Some ",
    "*words* ",
    "with ",
    "`code` ",
    "and ",
    "a ",
    "**point**.",
    "\n\n",
    "- one",
    "\n",
]
PASSAGE += ["- two", "\n\n", "```py", "\n", "x ", "= ", "1", "\n", "```", "\n\n"]

PLAY = """
const [passage, tokens, tokensPerSecond] = arguments;
const real = window.fetch;
window.fetch = (path, options) => {
  if (path !== "/v1/chat/completions") return real(path, options);
  const encoder = new TextEncoder(), begun = performance.now();
  let sent = 0;
  const piece = (delta, finish_reason = null) => {
    const event = { choices: [{ index: 0, delta, finish_reason }] };
    return encoder.encode(`data: ${JSON.stringify(event)}\\n\\n`);
  };
  const body = new ReadableStream({ start(stream) {
    const timer = setInterval(() => {
      const due = Math.min(tokens, (performance.now() - begun) * tokensPerSecond / 1000);
      for (; sent < due; sent += 1) {
        stream.enqueue(piece({ content: passage[sent % passage.length] }));
      }
      if (sent < tokens) return;
      clearInterval(timer);
      stream.enqueue(piece({}, "stop"));
      stream.enqueue(encoder.encode("data: [DONE]\\n\\n"));
      stream.close();
    }, 1);
  } });
  return Promise.resolve(new Response(body, { headers: { "Content-Type": "text/event-stream" } }));
};
window.frames_ms = [];
let before = 0;
const frame = (now) => {
  if (before) window.frames_ms.push(now - before);
  before = now;
  requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
"""


@pytest.fixture
def page(daemon: Daemon, tmp_path: Path) -> Any:
    assert daemon.chat("Hi", max_tokens=1).status_code == 200  # so that there is a model
    with running_browser(tmp_path) as browser:
        browser.resize(1200, 800)
        browser.open(daemon.url)
        browser.until("return document.querySelector('#model').value")
        yield browser
        assert browser.complaints() == []


def test_the_page_is_there(page: Browser) -> None:
    paints: list[float] = []
    ready: list[float] = []
    for _ in range(LOADS):
        page.reload()
        first, done = page.until(
            """const [paint] = performance.getEntriesByName("first-contentful-paint");
            const [load] = performance.getEntriesByType("navigation");
            return paint && load.domContentLoadedEventEnd
                && [paint.startTime, load.domContentLoadedEventEnd];"""
        )
        paints.append(first)
        ready.append(done)
    print(f"\nfirst paint: {median(paints):.0f} ms, all code run: {median(ready):.0f} ms", end=" ")
    print(f"(medians of {LOADS} loads; first paint at most {max(paints):.0f} ms)")


def test_a_long_answer_is_drawn_while_it_comes(page: Browser) -> None:
    page.script(PLAY, PASSAGE, TOKENS, TOKENS_PER_S)
    page.type("textarea[aria-label=Message]", "Tell me everything.")
    page.script("window.frames_ms.length = 0")
    page.click(".send", text="Send")
    page.find(".send", text="Stop")
    page.find(".send", text="Send")
    frames_ms: list[float] = page.script("return window.frames_ms")
    blocks = page.script("return document.querySelector('.assistant .markdown').childElementCount")
    assert blocks == 3 * TOKENS // len(PASSAGE)  # a paragraph, a list and code of each passage
    quarter = len(frames_ms) // 4
    print(f"\n{TOKENS} tokens at {TOKENS_PER_S} tok/s")
    for name, part in (("first", frames_ms[:quarter]), ("last", frames_ms[-quarter:])):
        print(f"{name} quarter: {told(part)}")


def told(frames_ms: Sequence[float]) -> str:
    """Tell times of frames, and how many came more than half a frame late."""
    late = sum(one > 1.5 * FRAME_MS for one in frames_ms)
    worst = sorted(frames_ms)
    return (
        f"{len(frames_ms)} frames, median {median(frames_ms):.1f} ms,"
        f" 99th percentile {worst[len(worst) * 99 // 100]:.1f} ms, {late} late"
    )
