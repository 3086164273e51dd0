"""Measured settings on disk: each for one model, machine and set of wishes, and never trusted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.service.tuning import Tuning
from runner.wire.messages import EngineWishes, Measured, Rates, Tuned, TunedSettings

MACHINE = {"cpu": "Zen", "cpus": "2"}
WISHES = EngineWishes(context_size=4096, parallel=4)
SETTINGS = TunedSettings(
    flash_attention=False, kv_layout="streams", ubatch_size=512, threads=2, threads_batch=2
)
RESULT = Tuned(settings=SETTINGS, gain=1.23456, duration_s=9.87)
MEASURED = Measured(
    settings=SETTINGS,
    rates=Rates(one=2.0, one_deep=1.0, many=4.0, prompt=8.0),
    rows=8,
    depth=600,
)


def keep(tuning: Tuning, model: str = "sha256:a", wishes: EngineWishes = WISHES) -> None:
    asyncio.run(tuning.keep(model, wishes, RESULT, (MEASURED,)))


def recalled(
    tuning: Tuning, model: str = "sha256:a", wishes: EngineWishes = WISHES
) -> TunedSettings | None:
    record = asyncio.run(tuning.recall(model, wishes))
    return None if record is None else record.settings


def test_what_was_kept_is_recalled_by_another_process(tmp_path: Path) -> None:
    keep(Tuning(tmp_path / "tuned", MACHINE))
    assert recalled(Tuning(tmp_path / "tuned", MACHINE)) == SETTINGS


def test_another_model_machine_or_wish_has_its_own(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, MACHINE)
    keep(tuning)
    assert recalled(tuning, "sha256:b") is None
    assert recalled(tuning, wishes=EngineWishes(parallel=8)) is None
    assert recalled(tuning, wishes=EngineWishes(parallel=4, flash_attention=True)) is None
    assert recalled(Tuning(tmp_path, MACHINE | {"cpus": "4"})) is None


def test_wishes_that_steer_no_search_do_not_matter(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, MACHINE)
    keep(tuning)
    other = EngineWishes(parallel=4, context_size=512, chat_template="{{ x }}", max_queue=3)
    assert recalled(tuning, wishes=other) == SETTINGS


def test_the_file_is_ours_alone_and_readable_to_people(tmp_path: Path) -> None:
    keep(Tuning(tmp_path / "tuned", MACHINE))
    (path,) = (tmp_path / "tuned").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    shown = json.loads(path.read_text())
    assert (shown["format"], shown["model"], shown["gain"]) == (1, "sha256:a", 1.235)
    assert shown["measured"][0]["rates"]["many"] == 4.0


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace("Zen", "Pentium"),
        lambda text: text.replace("streams", "lakes"),
        lambda text: "null",
    ],
)
def test_a_file_that_does_not_fit_is_not_used(tmp_path: Path, damage: Callable[[str], str]) -> None:
    tuning = Tuning(tmp_path, MACHINE)
    keep(tuning)
    (path,) = tmp_path.iterdir()
    path.write_text(damage(path.read_text()))
    assert recalled(tuning) is None


def test_a_disk_that_takes_nothing_costs_only_the_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    keep(Tuning(tmp_path / "file", MACHINE))
    assert "not kept" in caplog.text
