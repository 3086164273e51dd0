from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Artifact, Descriptor, Digest, Manifest, Role, media
from runner.oci.artifact import classify

CNCF = "application/vnd.cncf.model."
OLLAMA = "application/vnd.ollama.image."
Layer = tuple[str, str | None]  # media type, file name


def artifact(*layers: Layer) -> Artifact:
    descriptors = [
        Descriptor(
            media_type,
            Digest.of(str(number).encode()),
            number,
            {} if path is None else {media.FILE_PATH: path},
        )
        for number, (media_type, path) in enumerate(layers)
    ]
    config = Descriptor(media.CONFIG_V01, Digest.of(b""), 1)
    return Artifact.of(Manifest.build(config, descriptors))


def seen(*layers: Layer) -> list[tuple[Role, str]]:
    return [(file.role, file.path) for file in artifact(*layers).files]


def test_dockers_layers_tell_by_their_types() -> None:
    assert seen(
        (media.GGUF, "model.gguf"),
        (media.LICENSE, None),
        (media.LICENSE, None),
        (media.CHAT_TEMPLATE, None),
        (media.MMPROJ, None),
        (media.LORA, None),
        (media.LORA, None),
        (media.MODEL_FILE, "tokenizer.json"),
        (media.SAFETENSORS, None),
        (media.DDUF, None),
        ("application/vnd.docker.ai.dir.tar", None),
        ("application/x-python-pickle", "run.py"),
    ) == [
        (Role.GGUF, "model.gguf"),
        (Role.LICENSE, "license.txt"),
        (Role.LICENSE, "license-2.txt"),
        (Role.CHAT_TEMPLATE, "template.jinja"),
        (Role.MMPROJ, "mmproj.gguf"),
        (Role.ADAPTER, "lora/adapter.gguf"),
        (Role.ADAPTER, "lora/adapter-2.gguf"),
        (Role.FILE, "tokenizer.json"),
        (Role.SAFETENSORS, "model.safetensors"),
        (Role.DDUF, "model.dduf"),
        (Role.OTHER, "other"),
        (Role.OTHER, "run.py"),
    ]


def test_modelpacks_layers_tell_by_their_names() -> None:
    assert seen(
        (f"{CNCF}weight.v1.raw", "x/Tiny.Q4_0.gguf"),
        (f"{CNCF}weight.v1.gguf", "tiny-mmproj-f16.gguf"),
        (f"{CNCF}weight.v1.raw", "model.mmproj"),
        (f"{CNCF}weight.v1.raw", "lora/style.gguf"),
        (f"{CNCF}weight.v1.raw", "model.safetensors"),
        (f"{CNCF}weight.v1.safetensors", None),
        (f"{CNCF}weight.v1.raw", None),
        (f"{CNCF}weight.v1.raw", "weights.bin"),
        (f"{CNCF}weight.config.v1.raw", "chat_template.jinja"),
        (f"{CNCF}weight.config.v1.raw", "chat_template.json"),
        (f"{CNCF}doc.v1.raw", "README.md"),
        (f"{CNCF}doc.v1.raw", "LICENSE"),
        (f"{CNCF}doc.v1.raw", None),
        (f"{CNCF}weight.config.v1.tar", "config.tar"),
        (f"{CNCF}code.v1.raw", "run.py"),
    ) == [
        (Role.GGUF, "x/Tiny.Q4_0.gguf"),
        (Role.MMPROJ, "tiny-mmproj-f16.gguf"),
        (Role.MMPROJ, "model.mmproj"),
        (Role.ADAPTER, "lora/style.gguf"),
        (Role.SAFETENSORS, "model.safetensors"),
        (Role.SAFETENSORS, "model-2.safetensors"),
        (Role.GGUF, "model.gguf"),
        (Role.OTHER, "weights.bin"),
        (Role.CHAT_TEMPLATE, "chat_template.jinja"),
        (Role.FILE, "chat_template.json"),
        (Role.FILE, "README.md"),
        (Role.LICENSE, "LICENSE"),
        (Role.LICENSE, "license.txt"),
        (Role.OTHER, "config.tar"),
        (Role.OTHER, "run.py"),
    ]


def test_ollamas_template_is_not_jinja_and_is_left_out() -> None:
    assert seen(
        *((f"{OLLAMA}{kind}", None) for kind in ("model", "template", "license", "params")),
        *((f"{OLLAMA}{kind}", None) for kind in ("adapter", "projector", "system")),
    ) == [
        (Role.GGUF, "model.gguf"),
        (Role.OTHER, "other"),
        (Role.LICENSE, "license.txt"),
        (Role.OTHER, "other-2"),
        (Role.ADAPTER, "lora/adapter.gguf"),
        (Role.MMPROJ, "mmproj.gguf"),
        (Role.OTHER, "other-3"),
    ]


def test_d12_unsafe_and_clashing_names_are_replaced() -> None:
    layers = [
        (media.GGUF, "../../.ssh/authorized_keys"),
        (media.GGUF, "Model.GGUF"),
        (media.GGUF, "MODEL.gguf"),
        (media.GGUF, "CON"),
        (media.GGUF, "a" * 300),
    ]
    paths = [path for _, path in seen(*layers)]
    assert paths == ["model.gguf", "model-2.gguf", "model-3.gguf", "model-4.gguf", "model-5.gguf"]


def test_parts_are_ordered_by_the_numbers_in_their_names() -> None:
    names = [f"big-0000{number}-of-00003.gguf" for number in (3, 1, 2)]
    found = artifact((media.LICENSE, None), *((media.GGUF, name) for name in names))
    assert [file.path for file in found.weights] == sorted(names)
    assert [file.blob.size_bytes for file in found.weights] == [2, 3, 1]
    unnamed = artifact((media.GGUF, "z"), (media.GGUF, "y"))
    assert [file.path for file in unnamed.weights] == ["z", "y"]


def test_one_projector_and_all_adapters_are_loaded_with_the_weights() -> None:
    found = artifact(
        (media.GGUF, None),
        (media.LORA, None),
        (media.MMPROJ, None),
        (media.MMPROJ, None),
        (media.LICENSE, None),
        (media.LORA, None),
    )
    assert [file.blob.size_bytes for file in found.companions] == [2, 1, 5]
    assert artifact((media.GGUF, None)).companions == ()


@pytest.mark.parametrize(
    ("layer", "form", "words"),
    [
        (media.SAFETENSORS, "safetensors", "its weights are safetensors"),
        (media.DDUF, "dduf", "its weights are dduf"),
        (media.LICENSE, "", "it has no weights"),
    ],
)
def test_what_cannot_be_run_is_told(layer: str, form: str, words: str) -> None:
    found = artifact((layer, None))
    assert found.format == form
    with pytest.raises(RunnerError, match=words) as caught:
        _ = found.runnable_weights
    assert caught.value.kind is Kind.INVALID_MODEL
    assert "GGUF version" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("a.GGUF", Role.GGUF),
        ("a/mmproj/b.gguf", Role.GGUF),
        ("mmproj-F16.gguf", Role.MMPROJ),
        ("model.safetensors", Role.SAFETENSORS),
        ("model.safetensors.index.json", Role.FILE),
        ("x.dduf", Role.DDUF),
        ("chat.jinja", Role.CHAT_TEMPLATE),
        ("Chat_Template.txt", Role.CHAT_TEMPLATE),
        ("chat_template.json", Role.FILE),
        ("LICENSE", Role.LICENSE),
        ("Notice.txt", Role.LICENSE),
        ("COPYING", Role.LICENSE),
        ("vocab.json", Role.FILE),
        ("tokenizer.model", Role.FILE),
        ("x.vocab", Role.FILE),
        ("pytorch_model.bin", Role.OTHER),
        ("run.py", Role.OTHER),
        ("", Role.OTHER),
    ],
)
def test_a_name_tells_what_a_file_is(name: str, role: Role) -> None:
    assert classify(name) is role
