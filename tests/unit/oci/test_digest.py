from __future__ import annotations

import hashlib

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Digest

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_an_algorithm_and_lower_case_hex() -> None:
    digest = Digest.parse(f"sha256:{EMPTY}")
    assert digest == Digest("sha256", EMPTY) == Digest.of(b"")
    assert str(digest) == f"sha256:{EMPTY}"
    assert digest.short == "e3b0c44298fc"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_both_algorithms_are_verified(algorithm: str) -> None:
    digest = Digest(algorithm, hashlib.new(algorithm, b"abc").hexdigest())
    assert digest.matches(b"abc")
    assert not digest.matches(b"abd")
    hasher = digest.hasher()
    hasher.update(b"abc")
    assert hasher.hexdigest() == digest.hex


BAD = [
    "",
    "sha256",
    "sha256:",
    EMPTY,
    f":{EMPTY}",
    "sha256:../../../../etc/passwd",
    f"sha256:{EMPTY.upper()}",
    f"SHA256:{EMPTY}",
    f"sha256:{EMPTY[:-1]}",
    f"sha256:{EMPTY}0",
    f"sha256:{EMPTY}\n",
    f"sha256:{EMPTY[:-1]}g",
    f"sha512:{EMPTY}",
    "md5:d41d8cd98f00b204e9800998ecf8427e",
    f"sha256::{EMPTY}",
    f"sha256:{EMPTY[:-1]}٣",
    "sha256:" + "a" * 100_000,
]


@pytest.mark.parametrize("text", BAD, ids=[text[:40] for text in BAD])
def test_d2_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RunnerError) as caught:
        Digest.parse(text)
    assert caught.value.kind is Kind.INVALID_REFERENCE
    assert len(caught.value.message) < 300
    assert caught.value.message.isascii()


def test_no_digest_can_be_made_past_the_check() -> None:
    with pytest.raises(RunnerError):
        Digest("sha256", "../../x")
