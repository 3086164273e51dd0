from __future__ import annotations

import pytest

from runner.registry.hub_reply import HubFile
from runner.transfer.hub_files import HubFiles, choose_files


def choose(*paths: str, selector: str | None = None, size_bytes: int = 10) -> HubFiles:
    files = [HubFile(path, size_bytes, "0" * 40) for path in paths]
    return choose_files(files, selector, source="hf.co/o/r")


def test_weights_projector_template_and_licences() -> None:
    found = choose(
        "README.md",
        "NOTICE",
        "LICENSE",
        "chat_template.jinja",
        "tokenizer_config.json",
        "mmproj-F16.gguf",
        "m-Q4_K_M-00001-of-00002.gguf",
        "m-Q4_K_M-00002-of-00002.gguf",
        "m-Q8_0.gguf",
    )
    assert [file.path for file in found.large] == [
        "m-Q4_K_M-00001-of-00002.gguf",
        "m-Q4_K_M-00002-of-00002.gguf",
        "mmproj-F16.gguf",
    ]
    assert found.chat_template is not None
    assert found.chat_template.path == "chat_template.jinja"
    assert [file.path for file in found.licenses] == ["LICENSE", "NOTICE"]
    assert found.reason == "taking Q4_K_M (20B), the default of 2 quantisations"


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["chat_template.json", "tokenizer_config.json", "template"], None),
        (["other/chat_template.jinja"], None),
        (["chat_template.jinja", "q/chat_template.jinja"], "q/chat_template.jinja"),
        (["chat_template.jinja"], "chat_template.jinja"),
        (["additional_chat_templates/tool.jinja"], None),
    ],
)
def test_only_a_jinja_template_beside_the_weights_or_at_the_top(
    paths: list[str], expected: str | None
) -> None:
    template = choose("q/m-Q8_0.gguf", *paths).chat_template
    assert (template.path if template else None) == expected


@pytest.mark.parametrize(
    ("name", "is_license"),
    [
        ("LICENSE", True),
        ("LICENSE.txt", True),
        ("license.md", True),
        ("LICENCE", True),
        ("LICENSE-APACHE", True),
        ("COPYING", True),
        ("sub/LICENSE", False),
        ("license_plates.png", False),
        ("USE_POLICY.md", False),
        ("licenses.json", False),
    ],
)
def test_what_is_a_licence(name: str, is_license: bool) -> None:
    assert bool(choose("m.gguf", name).licenses) is is_license


def test_an_empty_text_and_a_huge_one_are_left_out() -> None:
    assert choose("m.gguf", "LICENSE", size_bytes=0).licenses == ()
    assert choose("m.gguf", "LICENSE", size_bytes=2**21).licenses == ()
