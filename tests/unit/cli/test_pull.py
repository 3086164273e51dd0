from __future__ import annotations

import html
import io
import json
from typing import Any

import pytest

from runner.cli import display as module
from runner.cli.commands.pull import token_member
from runner.cli.display import open_display
from runner.cli.transfer import read_events
from tests.support.console import Terminal, make_console, run_command

PATH = "POST /models/create"
DONE = b'{"type":"success","message":"Model pulled successfully"}\n'


def line(kind: str, message: str, **more: Any) -> bytes:
    return json.dumps({"type": kind, "message": message, **more}).encode() + b"\n"


def progress(layer: str, current: int) -> bytes:
    shown = {"id": layer, "size": 3_000_000, "current": current}
    return line("progress", "", total=3_000_000, layer=shown)


def test_off_a_terminal_short_lines_go_to_stdout_where_compose_reads() -> None:
    stream = [progress("a", 1_000_000), progress("b", 500_000), progress("b", 2_000_000), DONE]
    clock = iter([0.0, 0.5, 0.6])
    code, out, err, remote = run_command(
        {PATH: stream}, "pull", "ai/x", now_s=lambda: next(clock, 9.0)
    )
    assert (code, err) == (0, "")
    assert out == (
        "Downloaded 1.00MB of 3.00MB\nDownloaded 3.00MB of 3.00MB\nModel pulled successfully\n"
    )
    assert remote.requests == [(PATH, {"from": "ai/x"})]


def test_quiet_says_the_name_alone() -> None:
    stream = [progress("a", 1_000_000), DONE]
    assert run_command({PATH: stream}, "pull", "-q", "ai/x")[:3] == (0, "ai/x\n", "")


def test_json_is_pure() -> None:
    stream = [line("warning", "a mirror failed"), progress("a", 1), DONE]
    code, out, err, _ = run_command({PATH: stream}, "pull", "--json", "ai/x")
    assert (code, err) == (0, "")
    assert [json.loads(text)["type"] for text in out.splitlines()] == [
        "warning",
        "progress",
        "success",
    ]


def test_notes_and_warnings_are_told() -> None:
    stream = [line("progress", "Selected Q4_K_M \x1b[0m"), line("warning", "the tag moved"), DONE]
    _, out, _, _ = run_command({PATH: stream}, "pull", "hf.co/a/b")
    assert out.splitlines() == [
        "Selected Q4_K_M \N{REPLACEMENT CHARACTER}[0m",
        "Warning: the tag moved",
        "Model pulled successfully",
    ]


def test_an_error_line_is_the_error_with_its_kind() -> None:
    stream = [line("error", "Error: what came is no model", code="invalid_model"), b"no model"]
    code, out, err, _ = run_command({PATH: stream}, "pull", "ai/x")
    assert (code, out, err) == (2, "", "what came is no model\n")
    code, _, err, _ = run_command({PATH: [line("error", "Error: oops")]}, "pull", "ai/x")
    assert (code, err) == (1, "oops\n")


def test_a_registry_that_wants_credentials_is_not_told_as_our_own_key() -> None:
    stream = [line("error", "Error: registry says 401", code="registry_denied")]
    _, _, err, _ = run_command({PATH: stream}, "pull", "ai/x")
    assert err == "registry says 401\n"


def test_a_stream_without_a_last_word_is_an_error() -> None:
    code, out, err, _ = run_command({PATH: [line("progress", "begun")]}, "pull", "ai/x")
    assert (code, out) == (1, "begun\n")
    assert "the server broke off before it was done" in err


def test_ctrl_c_says_how_to_go_on() -> None:
    stream = [progress("a", 1_000_000), KeyboardInterrupt()]
    err = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        run_command({PATH: stream}, "pull", "ai/x", err=err)
    assert err.getvalue() == ("Stopped. What has arrived is kept; to go on: runner pull ai/x\n")


def test_on_a_terminal_bars_are_drawn_over_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    monkeypatch.setattr(module, "TICK_S", 0.001)
    err = Terminal()
    stream = [line("progress", "Selected Q4"), progress("sha256:abc", 3_000_000), DONE]
    code, out, _, _ = run_command({PATH: stream}, "pull", "ai/x", err=err)
    assert (code, out) == (0, "Model pulled successfully\n")
    assert "Selected Q4\n" in err.getvalue()
    assert err.getvalue().endswith("abc           Pull complete   3.00MB\n")


def test_on_a_terminal_the_waiting_line_goes() -> None:
    err = Terminal()
    console = make_console(None, err=err)
    with open_display(console, "Looking", plain=console.out):
        pass
    assert err.getvalue() == "\r\x1b[J"


WHOLE = line("progress", "1 < 2") + b"junk\n" + html.escape('{"type":"success"}').encode()


@pytest.mark.parametrize(
    "pieces", [[WHOLE], [WHOLE[i : i + 1] for i in range(len(WHOLE))]], ids=["whole", "bytes"]
)
def test_lines_may_be_cut_anywhere_and_escaped(pieces: list[bytes]) -> None:
    events = list(read_events(pieces))
    assert events == [{"type": "progress", "message": "1 < 2"}, {"type": "success"}]


@pytest.mark.parametrize("name", ["hf.co/a/b", "HF.co/A/b:Q4", "huggingface.co/a/b"])
def test_the_hub_s_token_is_sent_for_the_hub_s_models(name: str) -> None:
    assert token_member(name, {"HF_TOKEN": " hf_x "}) == {"bearer-token": "hf_x"}
    assert token_member(name, {}) == {}


@pytest.mark.parametrize("name", ["ai/x", "hf.company.com/a/b", "evil.com/hf.co/x", "hf.cox/a"])
def test_the_hub_s_token_is_sent_for_no_other(name: str) -> None:
    assert token_member(name, {"HF_TOKEN": "hf_x"}) == {}
