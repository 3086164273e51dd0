from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Manifest, Reference, media
from runner.store import Store
from runner.transfer.publishing import publish
from tests.support.gguf_maker import tiny_model

NAME = Reference.parse("tiny")


class Bringer:
    """Brings a model's blobs; somebody deletes one after each of the first ``losses`` times."""

    def __init__(self, store: Store, losses: int) -> None:
        self.store = store
        self.losses = losses
        self.times = 0

    def __call__(self) -> Manifest:
        inbox = self.store.inbox
        weights = inbox.add_document(media.GGUF, tiny_model())
        config = inbox.add_document(media.CONFIG_V01, b'{"config":{"format":"gguf"}}')
        self.times += 1
        if self.times <= self.losses:
            (self.store.path / "blobs/sha256" / weights.digest.hex).unlink()
        return Manifest.build(config, [weights])


def test_what_others_delete_meanwhile_is_brought_again(store: Store) -> None:
    bring = Bringer(store, losses=2)
    model = publish(store, NAME, bring, what="tiny")
    assert (bring.times, model.tags) == (3, ("docker.io/ai/tiny:latest",))


def test_it_ends_when_they_go_on_deleting(store: Store) -> None:
    with pytest.raises(RunnerError, match="blobs of tiny were deleted") as caught:
        publish(store, NAME, Bringer(store, losses=9), what="tiny")
    assert caught.value.kind is Kind.STORE
    assert store.list() == []
