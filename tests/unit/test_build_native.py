"""build_native.py around its steps: usage, records, and building again with less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import build_native
from build_native import Order, Site
from native.builder.ground import BuildError, last_line
from native.builder.plan import Facts, Plan, Verdict, cpu_ladder

AVX512 = frozenset({"__AVX2__", "__AVX512BW__"})
PASSED = Verdict("passed", "cpu", '{"summary": "agrees", "cpu_features": ["AVX2"]}')
CRASHED = Verdict("crashed", "cpu", "SIGILL")


def order(backend: str = "cpu") -> Order:
    facts = Facts("Linux", "x86_64", AVX512)
    return Order(
        plan=Plan(backend, "asked for"),
        ladder=cpu_ladder(facts, is_portable=False),
        source=Path("/sources"),
        compiler="cc 12",
        library="librunner_native.so",
        inputs={"key": "k", "native": "n", "source": "s"},
        llama_cpp={"commit": "c"},
    )


class Workshop:
    """Takes the place of cmake, ninja and the self-test, whose verdicts are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *verdicts: Verdict) -> None:
        self.configured: list[str] = []
        left = list(verdicts)

        def configure(order: Order, site: Site, flags: list[str]) -> None:
            names = {cpu.flags: cpu.name for cpu in order.ladder}
            self.configured.append(next(n for f, n in names.items() if set(f) <= set(flags)))

        monkeypatch.setattr(build_native, "configure", configure)
        monkeypatch.setattr(build_native, "compile_library", lambda order, site: None)
        monkeypatch.setattr(build_native, "self_test", lambda library: left.pop(0))


def build_with(placed: dict[str, Any], backend: str = "cpu") -> dict[str, Any]:
    return build_native.compile_and_test(order(backend), Site(Path("/build"), 1, False), placed)


def test_a_library_that_passes_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Workshop(monkeypatch, PASSED)
    record = build_with({})
    assert shop.configured == ["native"]
    assert (record["cpu"], record["failed"], record["cpu_features"]) == ("native", [], ["AVX2"])


def test_a_library_that_crashes_is_built_with_less_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Workshop(monkeypatch, CRASHED, PASSED)
    record = build_with({})
    assert shop.configured == ["native", "no-kernels"]
    assert record["cpu"] == "no-kernels"
    assert record["failed"] == [
        {"cpu": "native", "kind": "crashed", "stage": "cpu", "detail": "SIGILL"}
    ]
    said = capsys.readouterr().out
    assert "the native build: crashed (cpu), SIGILL" in said
    assert "building the CPU part again with less: no-kernels" in said


def test_what_crashed_is_not_tried_again_after_an_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = [{"cpu": "native", "kind": "crashed", "stage": "cpu", "detail": "SIGILL"}]
    shop = Workshop(monkeypatch, PASSED)
    record = build_with({"inputs": {"key": "k", "native": "old"}, "failed": failed})
    assert shop.configured == ["no-kernels"]
    assert record["failed"] == failed


def test_what_crashed_is_tried_again_with_other_options(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = [{"cpu": "native", "kind": "crashed", "stage": "cpu", "detail": "SIGILL"}]
    shop = Workshop(monkeypatch, PASSED)
    build_with({"inputs": {"key": "other"}, "failed": failed})
    assert shop.configured == ["native"]


def test_a_library_that_never_passes_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Workshop(monkeypatch, CRASHED, CRASHED, CRASHED, CRASHED)
    with pytest.raises(BuildError, match="does not pass its self-test and is not used"):
        build_with({})
    assert shop.configured == ["native", "no-kernels", "no-avx512", "baseline"]


def test_a_gpu_that_fails_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    Workshop(monkeypatch, Verdict("wrong", "gpu", "off by 7"))
    with pytest.raises(BuildError) as caught:
        build_with({}, backend="metal")
    assert caught.value.hint == "try: --backend cpu"


@pytest.mark.parametrize("content", [None, "", "{", "[]"])
def test_a_broken_record_is_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    monkeypatch.setattr(build_native, "RECORD", tmp_path / "build.json")
    if content is not None:
        (tmp_path / "build.json").write_text(content)
    assert build_native.read_record() == {}


def test_a_placed_library_is_current_until_an_input_or_its_size_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_native, "PLACE", tmp_path / "binding")
    monkeypatch.setattr(build_native, "RECORD", tmp_path / "binding" / "build.json")
    (tmp_path / "librunner_native.so").write_bytes(b"library")
    build_native.place(tmp_path / "librunner_native.so", {"inputs": order().inputs})
    placed = json.loads((tmp_path / "binding" / "build.json").read_text())
    assert build_native.is_current(order(), placed)
    assert not build_native.is_current(order(), placed | {"inputs": {"key": "other"}})
    assert sorted(path.name for path in (tmp_path / "binding").iterdir()) == [
        "build.json",
        "librunner_native.so",
    ]
    (tmp_path / "binding" / "librunner_native.so").write_bytes(b"something else")
    assert not build_native.is_current(order(), placed)


def test_an_edit_changes_the_digest_and_python_s_cache_does_not(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text("1")
    before = build_native.digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_text("")
    assert build_native.digest(tmp_path) == before
    (tmp_path / "a.cpp").write_text("22")
    assert build_native.digest(tmp_path) != before


def test_a_disk_without_room_is_refused_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_native, "NEEDED_BYTES", 1 << 62)
    with pytest.raises(BuildError) as caught:
        build_native.require_space(tmp_path / "build")
    assert str(caught.value).startswith(f"{tmp_path} has ")
    assert caught.value.hint == "free some space, or build elsewhere: RUNNER_BUILD_DIR=DIR"


@pytest.mark.parametrize("arguments", [["--backend", "gpu"], ["--jobs", "0"], ["--jobs", "x"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_native.main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (BuildError("no compiler", "try: x"), 1, "error: no compiler\nhint:  try: x\n"),
        (BuildError("no", details=["last line"]), 1, "    last line\nerror: no\n"),
        (
            OSError(28, "No space left on device"),
            1,
            "error: [Errno 28] No space left on device\n"
            "hint:  free some space, then run it again\n",
        ),
        (KeyboardInterrupt(), 130, "\ninterrupted; run it again to go on where it stopped\n"),
    ],
    ids=["hint", "details", "disk full", "Ctrl-C"],
)
def test_every_failure_is_a_line_and_a_hint(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    said: str,
) -> None:
    def fail(options: object) -> None:
        raise raised

    monkeypatch.setattr(build_native, "build", fail)
    assert build_native.main([]) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "it gave no reason"),
        ("a\nb\n\n", "b"),
        ("ERROR: no such package\nWARNING: old pip\n", "no such package"),
    ],
)
def test_the_line_that_tells_why(text: str, line: str) -> None:
    assert last_line(text) == line
