"""Options that stick: kept by name on disk, through restart, another tag and another pull."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import ModelConfig
from runner.service.configured import Configured
from runner.service.configuring import Configuring, packaged_context
from runner.service.options import ModelSettings, Options, Origin
from tests.support.fake_engine import FakeModels, stored

T = TypeVar("T")
A = "docker.io/ai/a:latest"


class Scene:
    """A daemon's options over a folder; another scene over it is a restart."""

    def __init__(self, folder: Path, serve: Options | None = None) -> None:
        self.folder = folder
        self.models = FakeModels("a", "b")
        self.configuring = Configuring(self.models, Configured(folder), serve or Options())

    def configure(self, name: str, new: Options, **more: Any) -> None:
        origin: Origin = more.pop("origin", "configure")
        done(self.configuring.configure(name, new, origin=origin, **more))

    def settings(self, name: str = "a") -> ModelSettings:
        return done(self.configuring.settings_for(self.models.models[name]))


def done(work: Awaitable[T]) -> T:
    async def main() -> T:
        return await work

    return asyncio.run(main())


def test_nothing_is_written_before_something_is_set(tmp_path: Path) -> None:
    folder = tmp_path / "settings"
    s = Scene(folder)
    assert s.settings() == ModelSettings(s.settings().wishes)
    assert done(s.configuring.kept()) == []
    assert not folder.exists()


def test_what_is_set_outlives_a_restart(tmp_path: Path) -> None:
    Scene(tmp_path).configure("a", Options(context_size=8192, keep_alive="-1"))
    settings = Scene(tmp_path).settings()
    assert settings.wishes.context_size == 8192
    assert settings.origins == {"context_size": "configure", "keep_alive": "configure"}
    assert Scene(tmp_path).settings("b").wishes.context_size is None


def test_what_is_set_outlives_another_pull_of_the_name(tmp_path: Path) -> None:
    s = Scene(tmp_path)
    s.configure("a", Options(context_size=8192))
    s.models.models["a"] = replace(stored("another"), tags=(A,))
    assert s.settings().wishes.context_size == 8192


def test_a_model_has_one_set_of_options_whatever_name_is_used(tmp_path: Path) -> None:
    s = Scene(tmp_path)
    s.configure("a", Options(context_size=8192))
    two = replace(s.models.models["a"], tags=("docker.io/ai/new:latest", A))
    s.models.models["a"] = s.models.models["new"] = two
    s.configure("new", Options(threads=2))
    (kept,) = done(s.configuring.kept("a"))
    assert (kept.model, kept.id) == ("docker.io/ai/new:latest", str(two.id))
    assert kept.options == Options(context_size=8192, threads=2)
    assert len(done(s.configuring.kept())) == 1


def test_options_of_a_model_that_is_not_stored_wait_for_it(tmp_path: Path) -> None:
    s = Scene(tmp_path)
    s.configure("later", Options(threads=2))
    (kept,) = done(s.configuring.kept("later"))
    assert (kept.model, kept.id) == ("docker.io/ai/later:latest", None)
    s.models.models["later"] = stored("later")
    assert s.settings("later").wishes.threads == 2


def test_a_change_keeps_the_rest_and_unset_forgets_everywhere(tmp_path: Path) -> None:
    s = Scene(tmp_path)
    s.configure("a", Options(context_size=4096, threads=2), origin="compose")
    s.configure("a", Options(context_size=8192))
    assert s.settings().origins == {"context_size": "configure", "threads": "compose"}
    s.configure("a", Options(), unset=frozenset({"context_size"}))
    assert s.settings().origins == {"threads": "compose"}


def test_configure_goes_before_serve_and_serve_before_the_package(tmp_path: Path) -> None:
    s = Scene(tmp_path, Options(context_size=2048, threads=3))
    model = s.models.models["a"]
    s.models.models["a"] = replace(model, config=ModelConfig(context_size=1024))
    assert s.settings().wishes.context_size == 2048
    s.configure("a", Options(context_size=8192))
    assert (s.settings().wishes.context_size, s.settings().wishes.threads) == (8192, 3)
    bare = Scene(tmp_path / "other")
    bare.models.models["a"] = s.models.models["a"]
    assert bare.settings().origins == {"context_size": "package"}


def test_reset_forgets_all_names_of_a_model(tmp_path: Path) -> None:
    s = Scene(tmp_path)
    s.configure("a", Options(threads=2))
    assert done(s.configuring.reset("a"))
    assert not done(s.configuring.reset("a"))
    assert list(tmp_path.iterdir()) == []


def test_what_another_daemon_writes_is_seen(tmp_path: Path) -> None:
    first, second = Scene(tmp_path), Scene(tmp_path)
    first.configure("a", Options(threads=2))
    assert second.settings().wishes.threads == 2


def test_a_damaged_file_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    s = Scene(tmp_path)
    s.configure("a", Options(threads=2))
    (path,) = tmp_path.iterdir()
    path.write_text('{"format": 1, "model": ')
    with caplog.at_level(logging.WARNING):
        assert Scene(tmp_path).settings().wishes.threads is None
    assert "cannot be used" in caplog.text
    s.configure("a", Options(threads=4))
    assert Scene(tmp_path).settings().wishes.threads == 4


def test_a_disk_that_does_not_take_it_is_an_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RunnerError, match="cannot be kept") as caught:
        Scene(blocked / "settings").configure("a", Options(threads=2))
    assert caught.value.kind is Kind.STORE


@pytest.mark.parametrize(("wish", "expected"), [(8192, None), (4096, 4096), (None, None)])
def test_a_package_that_asks_for_the_context_of_the_training_asks_for_nothing(
    wish: int | None, expected: int | None
) -> None:
    config = ModelConfig(
        architecture="llama", context_size=wish, gguf={"llama.context_length": "8192"}
    )
    assert packaged_context(config) == expected
