from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.oci import safe_path

UNSAFE = [
    "",
    "/",
    "/etc/passwd",
    "../../.ssh/authorized_keys",
    "a/../b",
    "a/..",
    "./a",
    "a//b",
    "a/",
    "C:\\x",
    "C:/x",
    "\\\\server\\share",
    "x:stream",
    "CON",
    "a/nul.txt",
    "Com1.gguf",
    "x.",
    "x ",
    " x",
    "x.gguf. ",
    "x\0y",
    "x\ny",
    "x\x7f",
    "gnp\u202efugg.x",  # displayed in the other direction
    "\ud800",
    "a" * 300,
    "é" * 101,
    "/".join("a" * 33),
    "a/" * 511 + "abc",
]


@pytest.mark.parametrize("text", UNSAFE, ids=[ascii(text)[:30] for text in UNSAFE])
def test_d12_a_name_that_could_lead_outside_is_refused(text: str) -> None:
    assert safe_path(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "model.gguf",
        "a/b/model-00001-of-00002.gguf",
        ".gitattributes",
        "x (1).md",
        "café",
        "console",
    ],
)
def test_other_names_stay_as_they_are(text: str) -> None:
    assert safe_path(text) == text


@given(st.text("aB1./\\: \0é-", max_size=20))
def test_any_text_is_a_path_below_its_folder_or_none(text: str) -> None:
    path = safe_path(text)
    if path is not None:
        assert path == text
        assert not path.startswith("/")
        assert all(part not in ("", ".", "..") for part in path.split("/"))
