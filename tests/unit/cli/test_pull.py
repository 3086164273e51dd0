from __future__ import annotations

import html
import json
from typing import Any

import pytest

from runner.cli.commands.pull import describe, read_events
from tests.support.console import run_command

PATH = "POST /models/create"


def line(kind: str, message: str, **more: Any) -> bytes:
    return json.dumps({"type": kind, "message": message, **more}).encode() + b"\n"


def progress(layer: str, current: int) -> bytes:
    return line("progress", "", total=3_000_000, layer={"id": layer, "current": current})


def test_progress_is_for_people_and_the_last_word_is_data() -> None:
    stream = [progress("a", 1_000_000) + progress("b", 500_000), line("success", "Model pulled")]
    code, out, err, remote = run_command({PATH: stream}, "pull", "package:x")
    assert (code, out) == (0, "Model pulled\n")
    assert err == "Downloaded 1.00MB of 3.00MB\nDownloaded 1.50MB of 3.00MB\n"
    assert remote.requests == [(PATH, {"from": "package:x"})]


def test_an_error_line_is_the_error() -> None:
    stream = [line("warning", "slow"), line("error", "Error: no such package"), b"no such package"]
    code, out, err, _ = run_command({PATH: stream}, "pull", "package:x")
    assert (code, out, err) == (1, "", "Warning: slow\nno such package\n")


def test_a_stream_without_a_last_word_is_an_error() -> None:
    code, out, err, _ = run_command({PATH: [progress("a", 1)]}, "pull", "package:x")
    assert (code, out) == (1, "")
    assert err.endswith("the server broke off before the model was there\n")


WHOLE = line("progress", "1 < 2") + b"junk\n" + html.escape('{"type":"success"}').encode()


@pytest.mark.parametrize(
    "pieces", [[WHOLE], [WHOLE[i : i + 1] for i in range(len(WHOLE))]], ids=["whole", "bytes"]
)
def test_lines_may_be_cut_anywhere_and_escaped(pieces: list[bytes]) -> None:
    events = list(read_events(pieces))  # type: ignore[arg-type]
    assert events == [{"type": "progress", "message": "1 < 2"}, {"type": "success"}]


def test_an_event_without_a_layer_tells_nothing_of_bytes() -> None:
    assert describe({"layer": {"size": 0}, "total": 5}, {}) == ""
