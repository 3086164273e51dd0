"""The store against a dict: any sequence of changes, with crashes of other programs between."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runner.errors import Kind, RunnerError
from runner.oci import Digest, Reference
from runner.store import Store
from tests.support.gguf_maker import tiny_model
from tests.support.models import add_gguf

FILLINGS = [b"\1", b"\2", b"\3"]
NAMES = ["a", "b:v1", "example.com/c", "d"]
names = st.sampled_from(NAMES)
fillings = st.sampled_from(FILLINGS)


class StoreMachine(RuleBasedStateMachine):
    """``self.tags`` and ``self.models`` are what the store should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="store-machine-"))
        self.files = {}
        for filling in FILLINGS:
            self.files[filling] = self.folder / f"{filling.hex()}.gguf"
            self.files[filling].write_bytes(tiny_model(filling))
        self.root = self.folder / "models"
        self.store = Store(self.root)
        self.tags: dict[str, Digest] = {}
        self.models: dict[Digest, bytes] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(name=names, filling=fillings)
    def add(self, name: str, filling: bytes) -> None:
        model = add_gguf(self.store, [self.files[filling]], Reference.parse(name))
        self.models[model.id] = filling
        self.tags[str(Reference.parse(name))] = model.id

    @precondition(lambda self: self.models)
    @rule(data=st.data(), name=names)
    def tag(self, data: st.DataObject, name: str) -> None:
        digest = data.draw(st.sampled_from(sorted(self.models)))
        self.store.tag(self.store.resolve(str(digest)), Reference.parse(name))
        self.tags[str(Reference.parse(name))] = digest

    @rule(name=names)
    def remove_by_name(self, name: str) -> None:
        digest = self.tags.pop(str(Reference.parse(name)), None)
        try:
            removal = self.store.remove(name)
        except RunnerError as error:
            assert (error.kind, digest) == (Kind.MODEL_NOT_FOUND, None)
            return
        assert digest is not None
        is_last = digest not in self.tags.values()
        assert removal.deleted == (digest if is_last else None)
        if is_last:
            del self.models[digest]

    @precondition(lambda self: self.models)
    @rule(data=st.data(), force=st.booleans())
    def remove_by_id(self, data: st.DataObject, force: bool) -> None:
        digest = data.draw(st.sampled_from(sorted(self.models)))
        tags = {tag for tag, model in self.tags.items() if model == digest}
        try:
            removal = self.store.remove(digest.short, force=force)
        except RunnerError as error:
            assert error.kind is Kind.CONFLICT
            assert len(tags) > 1
            assert not force
            return
        assert (set(removal.untagged), removal.deleted) == (tags, digest)
        del self.models[digest]
        self.tags = {tag: model for tag, model in self.tags.items() if model != digest}

    @rule()
    def sweep_all_that_is_unneeded(self) -> None:
        self.store.upkeep.sweep(grace_s=-1.0)
        assert len(list((self.root / "blobs/sha256").iterdir())) == 3 * len(self.models)

    @rule(damage=st.sampled_from([b"", b"{", None]))
    def damage_the_index(self, damage: bytes | None) -> None:
        if damage is None:
            (self.root / "index.json").unlink()
        else:
            (self.root / "index.json").write_bytes(damage)

    @rule()
    def open_again(self) -> None:
        self.store = Store(self.root)

    @invariant()
    def the_store_holds_what_it_should(self) -> None:
        listed = {model.id: set(model.tags) for model in self.store.list()}
        assert set(listed) == set(self.models)
        assert {tag: digest for digest, tags in listed.items() for tag in tags} == self.tags

    @invariant()
    def every_model_is_whole(self) -> None:
        for digest, filling in self.models.items():
            path = self.store.bundle(self.store.resolve(str(digest))).gguf_path
            assert path.read_bytes() == tiny_model(filling)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
