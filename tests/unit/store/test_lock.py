from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.store.lock import locked
from tests.conftest import ROOT

HOLD = """
import sys
from pathlib import Path
from runner.store.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_shows_its_owner_and_may_be_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for _ in range(2):
        with locked(path):
            assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    entered: list[int] = []
    inside = threading.Semaphore(1)

    def work(number: int) -> None:
        for _ in range(10):
            with locked(tmp_path / "lock"):
                assert inside.acquire(blocking=False)
                entered.append(number)
                inside.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entered) == 40


def test_a_wait_that_is_too_long_names_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path), pytest.raises(RunnerError) as caught, locked(path, timeout_s=0.05):
        pass
    assert caught.value.kind is Kind.BUSY
    assert f"process {os.getpid()}" in caught.value.message
    assert caught.value.retry_after_s == 1


def test_a_killed_owner_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(RunnerError, match=str(child.pid)), locked(path, timeout_s=0.05):
            pass
        child.kill()
        child.wait()
        with locked(path, timeout_s=5):
            assert path.read_text() == f"{os.getpid()}\n"


def test_a_deleted_lock_file_does_not_let_two_in(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        path.unlink()
        with locked(path):
            assert path.exists()
        with locked(path, timeout_s=1):
            pass
