from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.cli import attachments
from runner.cli.attachments import append, attach
from runner.errors import Kind, RunnerError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "notes.txt").write_text("one\ntwo")
    (tmp_path / "my notes.txt").write_text("three")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "b.JPG").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "c d.png").write_bytes(b"\x89PNG")
    (tmp_path / "talk.wav").write_bytes(b"RIFF")
    return tmp_path


PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
JPEG = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


@pytest.mark.parametrize(
    ("prompt", "content"),
    [
        ("sum up @notes.txt", "sum up one\ntwo"),
        ("what is in @notes.txt?", "what is in one\ntwo?"),
        ("@./notes.txt, please", "one\ntwo, please"),
        ("@~/notes.txt", "one\ntwo"),
        ('@"my notes.txt" and @notes.txt', "three and one\ntwo"),
        ("@'my notes.txt'", "three"),
        ("what is @a.png", [PNG, text("what is")]),
        ("@a.png", [PNG]),
        ("@a.png against @b.JPG: which?", [PNG, JPEG, text("against : which?")]),
        ("@talk.wav says?", [SOUND, text("says?")]),
        ("@a.png has @notes.txt", [PNG, text("has one\ntwo")]),
        ("./a.png what?", [PNG, text("what?")]),
        (r"./c\ d.png what?", [PNG, text("what?")]),
        ("'./c d.png' what?", [PNG, text("what?")]),
    ],
)
def test_a_file_takes_the_place_of_its_name(prompt: str, content: object) -> None:
    assert attach(prompt).content == content


@pytest.mark.parametrize(
    "prompt",
    [
        "ask ada@notes.txt",
        "no names",
        "a.png and ./none.png",
        "what does ./notes.txt mean?",
        "@",
        'say "@" twice',
        "a lone @ here",
    ],
)
def test_what_names_no_file_is_a_word(prompt: str) -> None:
    assert attach(prompt) == (prompt, [])


@pytest.mark.parametrize("prompt", ["thank @ada", "@pytest.fixture", "@.", "@~nobody/x", "@a\0b"])
def test_a_word_that_might_have_meant_a_file_is_told(prompt: str) -> None:
    content, notes = attach(prompt)
    assert content == prompt
    assert len(notes) == 1
    assert notes[0].endswith("names no file here, and is sent as it stands")


def test_what_was_added_is_told() -> None:
    assert attach("@notes.txt @a.png").notes == ["Added notes.txt (7.00B)", "Added a.png (4.00B)"]


def test_a_quoted_name_of_no_file_is_an_error() -> None:
    with pytest.raises(RunnerError, match=r"there is no file my nots\.txt") as caught:
        attach('@"my nots.txt"')
    assert caught.value.kind is Kind.USAGE


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.txt")
    assert attach("@pipe.txt").content == "@pipe.txt"


def test_bytes_that_are_no_text_are_named(folder: Path) -> None:
    (folder / "x.bin").write_bytes(b"\xff\x00")
    with pytest.raises(
        RunnerError, match=r"x\.bin is neither text in UTF-8 nor an image"
    ) as caught:
        attach("@x.bin")
    assert caught.value.kind is Kind.USAGE


@pytest.mark.parametrize(
    ("limit", "name"), [("MAX_TEXT_BYTES", "notes.txt"), ("MAX_MEDIA_BYTES", "a.png")]
)
def test_a_file_may_not_be_of_any_size(
    limit: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, limit, 3)
    with pytest.raises(RunnerError, match=f"{name} is too large: at most 3.00B can be sent"):
        attach(f"@{name}")


def test_a_text_is_added_after_a_content() -> None:
    assert append("a", "b") == "a\n\nb"
    assert append("", "b") == "b"
    assert append([PNG, text("a")], "b") == [PNG, text("a\n\nb")]
    assert append([PNG], "") == [PNG]
