from __future__ import annotations

from dataclasses import replace

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest, ModelConfig

DOCKER = (
    b'{"config":{"format":"gguf","quantization":"Q4_0","parameters":"134.52M",'
    b'"architecture":"llama","size":"85.77MiB","gguf":{"llama.context_length":"8192"},'
    b'"context_size":8192},"descriptor":{"created":"2025-03-24T13:36:21Z"},'
    b'"rootfs":{"type":"rootfs","diff_ids":["sha256:00"]}}'
)


def test_dockers_config_is_parsed() -> None:
    config = ModelConfig.parse(DOCKER)
    assert config == ModelConfig(
        format="gguf",
        quantization="Q4_0",
        parameters="134.52M",
        architecture="llama",
        size="85.77MiB",
        gguf={"llama.context_length": "8192"},
        context_size=8192,
        created="2025-03-24T13:36:21Z",
    )
    assert config.created_s == 1742823381


def test_modelpacks_config_is_parsed() -> None:
    raw = (
        b'{"descriptor":{"createdAt":"2025-03-24T13:36:21+00:00","family":"llama"},'
        b'"modelfs":{"type":"layers","diffIds":[]},'
        b'"config":{"architecture":"llama","format":"GGUF","paramSize":"8B"}}'
    )
    config = ModelConfig.parse(raw)
    assert (config.format, config.parameters, config.created_s) == ("gguf", "8B", 1742823381)


def test_ollamas_config_is_parsed() -> None:
    raw = (
        b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],'
        b'"model_type":"3.2B","file_type":"Q4_K_M","architecture":"amd64","os":"linux",'
        b'"rootfs":{"type":"layers","diff_ids":[]}}'
    )
    assert ModelConfig.parse(raw) == ModelConfig("gguf", "Q4_K_M", "3.2B", "llama")


def test_modelpacks_config_is_written() -> None:
    config = ModelConfig("gguf", "Q4_0", "8B", "llama", "4.00GiB", {"a": "b"}, context_size=9)
    raw = replace(config, diff_ids=(Digest.of(b""),)).render_modelpack()
    assert raw == (
        b'{"config":{"architecture":"llama","format":"gguf","paramSize":"8B",'
        b'"quantization":"Q4_0"},"descriptor":{"family":"llama"},"modelfs":{"diffIds":["sha256:'
        b'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],"type":"layers"}}'
    )
    assert ModelConfig.parse(raw) == ModelConfig("gguf", "Q4_0", "8B", "llama")


def test_facts_of_other_formats_are_shown() -> None:
    raw = b'{"config":{"format":"safetensors","safetensors":{"tensor_count":"3"}}}'
    assert ModelConfig.parse(raw).shown() == {
        "format": "safetensors",
        "safetensors": {"tensor_count": "3"},
    }


def test_a_config_of_our_own_always_has_the_same_bytes() -> None:
    config = ModelConfig(
        format="gguf", parameters="1.00K", gguf={"b": "1", "a": "é"}, diff_ids=(Digest.of(b""),)
    )
    assert config.render() == (
        b'{"config":{"format":"gguf","gguf":{"a":"\\u00e9","b":"1"},"parameters":"1.00K"},'
        b'"descriptor":{},"rootfs":{"diff_ids":["sha256:'
        b'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],"type":"rootfs"}}'
    )
    parsed = ModelConfig.parse(config.render())
    assert parsed.shown() == {"format": "gguf", "gguf": {"a": "é", "b": "1"}, "parameters": "1.00K"}
    assert parsed.created_s is None


def test_an_empty_config_states_nothing() -> None:
    assert ModelConfig.parse(b"{}") == ModelConfig()
    assert ModelConfig().shown() == {}


@pytest.mark.parametrize(
    "created", ["", "yesterday", "2025-03-24", "2025-03-24T13:36:21", "9999-99-99T00:00:00Z"]
)
def test_a_time_that_is_none_is_not_stated(created: str) -> None:
    assert ModelConfig(created=created).created_s is None


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'{"config":[]}',
        b'{"config":{"format":7}}',
        b'{"config":{"context_size":"8192"}}',
        b'{"config":{"context_size":-1}}',
        b'{"config":{"gguf":{"a":1}}}',
        b'{"config":{"gguf":[]}}',
        b'{"descriptor":{"created":1}}',
    ],
)
def test_a_config_of_another_shape_is_refused(raw: bytes) -> None:
    with pytest.raises(RunnerError) as caught:
        ModelConfig.parse(raw)
    assert caught.value.kind is Kind.INVALID_MODEL
