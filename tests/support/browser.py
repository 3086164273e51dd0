"""Debian's headless Chromium for tests, driven over W3C WebDriver by chromedriver.

The protocol is JSON over HTTP: what tests need of it is less than a client package brings.
Source: https://www.w3.org/TR/webdriver2/ (commands), chromedriver's ``goog:loggingPrefs``.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.registries import free_port

START_S = 30.0
WAIT_S = 30.0
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name of a reference
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
KEYS = {"Enter": "\ue007", "Tab": "\ue004", "Escape": "\ue00c", "Shift": "\ue008"}


@dataclass
class Browser:
    """One window with an empty profile."""

    session: str  # its URL at chromedriver

    def open(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    def reload(self) -> None:
        self._ask("POST", "/refresh", {})

    def script(self, code: str, *arguments: Any) -> Any:
        """Run the body of a function in the page; a promise is waited for."""
        return self._ask("POST", "/execute/sync", {"script": code, "args": arguments})

    def find(self, selector: str, *, text: str | None = None) -> str:
        """Wait for a shown element that has the text, if one is asked for; return its id."""
        code = """const [selector, text] = arguments;
            return [...document.querySelectorAll(selector)].find((one) =>
                one.checkVisibility() && (text === null || one.textContent.includes(text)));"""
        found: dict[str, str] = self.until(code, selector, text)
        return found[ELEMENT]

    def until(self, code: str, *arguments: Any, timeout_s: float = WAIT_S) -> Any:
        """Run the body of a function again and again until it returns what is true."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.script(code, *arguments)):
            if time.monotonic() > deadline:
                shown = self.script("return document.body.innerText")
                raise AssertionError(f"never true: {code} {arguments}\nThe page says:\n{shown}")
            time.sleep(0.05)
        return value

    def gone(self, selector: str, *, text: str = "") -> None:
        """Wait until no element fits."""
        code = """const [selector, text] = arguments;
            return ![...document.querySelectorAll(selector)].some((one) =>
                one.textContent.includes(text));"""
        self.until(code, selector, text)

    def click(self, selector: str, *, text: str | None = None) -> None:
        """Click; again where the page drew the element anew between finding and clicking."""
        for is_last in (False, False, True):
            answer = self._try("POST", f"/element/{self.find(selector, text=text)}/click", {})
            error = None if answer.ok else answer.json()["value"]["error"]
            if error != "stale element reference" or is_last:
                break
        assert answer.ok, answer.text

    def type(self, selector: str, text: str) -> None:
        self._ask("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, *names: str) -> None:
        """Press keys, each by its name or as a character, where the focus is."""
        keys = [KEYS.get(name, name) for name in names]
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": steps}]})

    def text(self, selector: str) -> str:
        said: str = self._ask("GET", f"/element/{self.find(selector)}/text")
        return said

    def resize(self, width: int, height: int) -> None:
        """Give the page a size in CSS pixels, as a device's screen does."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700},
        )

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def tabs(self) -> list[str]:
        """The ids of the tabs, in the order of their opening."""
        found: list[str] = self._ask("GET", "/window/handles")
        return found

    def look_at(self, tab: str) -> None:
        """Go on in another tab."""
        self._ask("POST", "/window", {"handle": tab})

    def close(self) -> None:
        """Close the tab; another one must be looked at then."""
        self._ask("DELETE", "/window")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def complaints(self) -> list[str]:
        """What the console said since the last call, warnings and worse."""
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def hosts(self) -> set[str]:
        """Every host that was asked for anything since the last call."""
        entries = self._ask("POST", "/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        urls = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return {urlsplit(url).hostname or "" for url in urls if url.startswith(("http", "ws"))}

    def quit(self) -> None:
        self._ask("DELETE", "")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._try(method, path, body)
        value = answer.json()["value"]
        assert answer.ok, value
        return value

    def _try(self, method: str, path: str, body: dict[str, Any] | None) -> requests.Response:
        return requests.request(method, self.session + path, json=body, timeout=60)


def require_chromium() -> tuple[str, str]:
    """Return the paths of chromedriver and Chromium; skip the test where one is missing."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium chromium-driver")
    return driver, chromium


@contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """Start chromedriver and a window; end both, and with them every process of Chromium."""
    driver, chromium = require_chromium()
    port = free_port()
    with (folder / "chromedriver.log").open("wb") as log:
        process = subprocess.Popen([driver, f"--port={port}"], stdout=log, stderr=log)
    try:
        browser = _open_window(f"http://127.0.0.1:{port}", chromium, folder)
        try:
            yield browser
        finally:
            browser.quit()
    finally:
        process.terminate()
        process.wait()


def _open_window(url: str, chromium: str, folder: Path) -> Browser:
    options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={folder / 'profile'}"]}
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    deadline = time.monotonic() + START_S
    while True:
        try:
            body = {"capabilities": {"alwaysMatch": wanted}}
            answer = requests.post(f"{url}/session", json=body, timeout=60)
            break
        except requests.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    assert answer.ok, answer.text
    return Browser(f"{url}/session/{answer.json()['value']['sessionId']}")
