from __future__ import annotations

import hashlib
import itertools
import time

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, Manifest, Reference
from runner.store import PruneWish, Store
from runner.store.layout import Layout
from runner.store.source import Measured
from runner.store.sweep import UNFINISHED_GRACE_S
from tests.unit.store.conftest import AddModel

ABSENT = Descriptor("application/octet-stream", Digest.of(b"absent"), 6)


def fill(store: Store) -> Descriptor:
    return store.inbox.add_document("text/plain", b"a layer")


def test_a_document_becomes_a_blob(store: Store) -> None:
    blob = fill(store)
    assert store.inbox.has(blob)
    assert not store.inbox.has(ABSENT)


def test_a_stream_becomes_a_blob(store: Store, layout: Layout) -> None:
    expected = Measured(Digest.of(b"absent"), 6)
    store.inbox.add_stream(expected, [b"abs", b"", b"ent"])
    assert layout.blob(expected.digest).read_bytes() == b"absent"
    store.inbox.add_stream(expected, iter(lambda: pytest.fail("asked for what is there"), None))


def test_a_stream_of_sha512_becomes_a_blob(store: Store, layout: Layout) -> None:
    digest = Digest("sha512", hashlib.sha512(b"absent").hexdigest())
    store.inbox.add_stream(Measured(digest, 6), [b"absent"])
    assert layout.blob(digest).read_bytes() == b"absent"


@pytest.mark.parametrize(
    "pieces", [[b"other!"], [b"abs"], [], [b"absent", b"x"]], ids=["other", "less", "none", "more"]
)
def test_a_stream_of_other_bytes_is_refused(store: Store, pieces: list[bytes]) -> None:
    with pytest.raises(RunnerError) as caught:
        store.inbox.add_stream(Measured(Digest.of(b"absent"), 6), pieces)
    assert caught.value.kind is Kind.INTEGRITY
    assert not store.inbox.has(ABSENT)
    assert list((store.path / "ingest").iterdir()) == []


def test_a_stream_without_end_is_read_no_further_than_its_blob(store: Store) -> None:
    with pytest.raises(RunnerError) as caught:
        store.inbox.add_stream(Measured(Digest.of(b"absent"), 6), itertools.repeat(b"xx"))
    assert caught.value.kind is Kind.INTEGRITY


def test_a_stream_that_does_not_fit_is_not_begun(store: Store) -> None:
    pieces = iter(lambda: pytest.fail("asked"), None)
    with pytest.raises(RunnerError) as caught:
        store.inbox.add_stream(Measured(Digest.of(b"absent"), 2**60), pieces)
    assert caught.value.kind is Kind.DISK_FULL


def test_a_pin_keeps_blobs_from_a_sweep_also_after_a_failure(store: Store) -> None:
    blob = fill(store)
    with pytest.raises(ConnectionError), store.inbox.pinned([blob.digest, ABSENT.digest]):
        store.upkeep.sweep(grace_s=-1.0)
        assert store.inbox.has(blob)
        raise ConnectionError
    store.upkeep.sweep(grace_s=-1.0)
    assert store.inbox.has(blob)
    with store.inbox.pinned([ABSENT.digest, blob.digest]):
        pass
    store.upkeep.sweep(grace_s=-1.0)
    assert not store.inbox.has(blob)


def test_a_pin_keeps_blobs_from_the_removal_of_another_model(store: Store, add: AddModel) -> None:
    model = add("x")
    layer = model.manifest.layers[0]
    with store.inbox.pinned([layer.digest]):
        store.remove("x")
        assert store.inbox.has(layer)


def test_a_download_that_nobody_resumes_goes_after_a_week(
    store: Store, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, busy = ABSENT, Descriptor("x/y", Digest.of(b"busy"), 4)
    partial = store.inbox.open_partial(old)
    assert partial is not None
    partial.write(b"abs", 0)
    partial.close()
    with pytest.raises(ConnectionError), store.inbox.pinned([old.digest]):
        raise ConnectionError
    with store.inbox.open_partial(busy) or pytest.fail("not ours"):
        store.upkeep.sweep()
        assert len(list(layout.partials.iterdir())) == 5
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + UNFINISHED_GRACE_S + 60)
        assert store.upkeep.sweep() > 0
        names = {path.stem.partition("-")[2] for path in layout.partials.iterdir()}
        assert names == {busy.digest.hex}
        store.upkeep.prune(PruneWish())
        assert len(list(layout.partials.iterdir())) == 2


def test_a_model_is_published_with_its_tag_or_without(store: Store, add: AddModel) -> None:
    manifest = add("x").manifest
    by_digest = Reference.parse(f"y@{manifest.digest}")
    both = Reference.parse(f"y:v1@{manifest.digest}")
    model = store.publish(manifest, by_digest)
    x, y = "docker.io/ai/x:latest", f"docker.io/ai/y@{manifest.digest}"
    assert model is not None and model.tags == (x, y)
    model = store.publish(manifest, both)
    assert model is not None and model.tags == (x, y, "docker.io/ai/y:v1")
    of_an_index = Reference.parse(f"z@sha256:{'1' * 64}")
    model = store.publish(manifest, of_an_index)
    assert model is not None and model.tags[3:] == (f"docker.io/ai/z@{manifest.digest}",)


def test_a_model_whose_blob_is_gone_is_not_published(store: Store, add: AddModel) -> None:
    manifest = add("x").manifest
    store.remove("x")
    assert store.publish(Manifest.parse(manifest.raw), Reference.parse("x")) is None
    assert store.list() == []


def test_what_does_not_fit_is_refused_with_both_numbers(store: Store) -> None:
    store.inbox.check_room(1, "downloading")
    with pytest.raises(RunnerError) as caught:
        store.inbox.check_room(2**60, "downloading x")
    assert caught.value.kind is Kind.DISK_FULL
    assert "while downloading x" in caught.value.message


def test_a_prune_takes_what_is_unfinished_but_not_under_a_transfer(
    store: Store, layout: Layout
) -> None:
    blob = fill(store)
    with pytest.raises(ConnectionError), store.inbox.pinned([blob.digest, ABSENT.digest]):
        with store.inbox.open_partial(ABSENT) or pytest.fail("not ours"):
            pass
        store.upkeep.prune(PruneWish())
        assert store.inbox.has(blob)
        assert len(list(layout.partials.iterdir())) == 3
        assert store.upkeep.usage().unneeded_bytes == 0
        assert store.upkeep.usage().unfinished_bytes >= len(b"a layer")
        raise ConnectionError
    store.upkeep.prune(PruneWish())
    assert not store.inbox.has(blob)
    assert list(layout.partials.iterdir()) == []


def leftovers(layout: Layout) -> list[str]:
    return sorted(path.suffix for path in layout.partials.iterdir())


def test_what_a_transfer_left_that_was_killed_when_all_was_done_is_removed_soon(
    store: Store, layout: Layout, add: AddModel
) -> None:
    model = add("x")
    blobs = [blob.digest for blob in model.manifest.blobs]
    with pytest.raises(ConnectionError), store.inbox.pinned([model.id, *blobs]):
        raise ConnectionError
    layout.journal(blobs[0]).touch()
    store.upkeep.sweep(grace_s=-1.0)
    assert leftovers(layout) == []


def test_it_does_not_keep_a_model_that_is_removed(
    store: Store, layout: Layout, add: AddModel
) -> None:
    model = add("x")
    blobs = [blob.digest for blob in model.manifest.blobs]
    with pytest.raises(ConnectionError), store.inbox.pinned([model.id, *blobs]):
        raise ConnectionError
    store.remove("x")
    assert list((layout.blobs / "sha256").iterdir()) == []


def test_a_damaged_pin_keeps_nothing(store: Store, layout: Layout) -> None:
    blob = fill(store)
    layout.pin("0" * 64).write_bytes(b"\xff sha256:12")
    store.upkeep.sweep(grace_s=-1.0)
    assert not store.inbox.has(blob)
