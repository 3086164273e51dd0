"""What Ollama's lists tell of models."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from runner.api.ollama import cards
from runner.api.ollama.names import shown_name
from runner.oci import Descriptor, Digest, Manifest, ModelConfig, media
from runner.service import Phase, RunningModel, StoredModel
from runner.wire.messages import Ready
from tests.support.fake_engine import FACTS, SETTINGS, beat, stored


def model(media_type: str = media.GGUF, **gguf: str) -> StoredModel:
    found = stored("llama")
    layer = Descriptor(media_type, Digest.of(b"layer"), 5)
    config = ModelConfig(
        architecture="llama", gguf={k.replace("__", "."): v for k, v in gguf.items()}
    )
    manifest = Manifest.build(found.manifest.config, [layer])
    return replace(found, config=config, manifest=manifest)


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ("docker.io/ai/smollm2:latest", "smollm2:latest"),
        ("docker.io/ai/smollm2:135M-Q4_0", "smollm2:135M-Q4_0"),
        ("docker.io/acme/x:v1", "acme/x:v1"),
        ("huggingface.co/acme/x:q4_k_m", "huggingface.co/acme/x:q4_k_m"),
        ("localhost:5000/x:latest", "localhost:5000/x:latest"),
        (f"docker.io/ai/x@{Digest.of(b'')}", f"x@{Digest.of(b'')}"),
    ],
)
def test_names_are_short_and_have_their_tag(tag: str, shown: str) -> None:
    assert shown_name(tag) == shown


def test_a_model_without_a_name_is_listed_by_its_id() -> None:
    nameless = replace(model(), tags=())
    assert cards.tags([nameless])["models"][0]["name"] == str(nameless.id)


@pytest.mark.parametrize(("layers", "card_bytes"), [(0, 0), (-1, 9_000), (5, 2_000), (33, 2_000)])
def test_what_of_a_model_is_on_the_graphics_card(layers: int, card_bytes: int) -> None:
    settings = structs.replace(SETTINGS, gpu_layers=layers)
    ready = Ready(
        pid=7,
        model=FACTS,
        settings=settings,
        system_info="",
        devices=(),
        load_ms=1.0,
        device_bytes=2_000,
    )
    loaded = RunningModel(
        name="ai/x",
        id="sha256:00",
        tags=(),
        phase=Phase.READY,
        fraction=1.0,
        leases=0,
        waiting=0,
        idle_s=1.0,
        expires_in_s=1.0,
        keep_alive_s=2.0,
        size_bytes=1,
        pid=7,
        ready=ready,
        beat=beat(resident_bytes=9_000),
        tokens_per_s=None,
    )
    (card,) = cards.running([loaded], [], now_s=0.0)["models"]
    assert (card["size"], card["size_vram"]) == (9_000, card_bytes)


@pytest.mark.parametrize(
    ("found", "template", "abilities"),
    [
        (model(), "{{ messages }}", ["completion"]),
        (model(), "{% if tools %}...", ["completion", "tools"]),
        (model(), "{% if enable_thinking %}...", ["completion", "thinking"]),
        (model(media.MMPROJ), "", ["completion", "vision"]),
        (model(tokenizer__ggml__fim_pre_token_id="7"), "", ["completion", "insert"]),
        (model(llama__pooling_type="1"), "{{ tools }}", ["embedding"]),
        (model(llama__pooling_type="0"), "", ["completion"]),
    ],
)
def test_what_a_model_can_do(found: StoredModel, template: str, abilities: list[str]) -> None:
    assert cards.capabilities(found, template) == abilities


def test_fields_of_the_header_have_their_types() -> None:
    found = model(
        general__name="1.5",
        general__file_type="3",
        llama__context_length="8192",
        llama__rope__freq_base="10000.000000",
        tokenizer__ggml__add_bos_token="false",
        tokenizer__ggml__model="gpt2",
        tokenizer__chat_template="{{ messages }}",
    )
    shown = cards.show(found, template=None, licenses=["MIT", "mine"])
    assert shown["model_info"] == {
        "general.name": "1.5",
        "general.file_type": 3,
        "llama.context_length": 8192,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.chat_template": "{{ messages }}",
    }
    assert shown["template"] == "{{ messages }}"
    assert shown["license"] == "MIT\n\nmine"
