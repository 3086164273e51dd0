from __future__ import annotations

import sys
from pathlib import Path

import runner
from runner.supervise.child import worker_command

HOME = str(Path(runner.__file__).resolve().parent.parent)


def test_the_worker_runs_this_interpreter_and_this_package() -> None:
    command = worker_command({"PATH": "/bin"})
    assert command.argv[0] == sys.executable
    assert command.argv[-2:] == ("-m", "runner.worker")
    assert "-P" in command.argv  # never a `runner` folder of the working directory
    assert command.environment == {"PATH": "/bin", "PYTHONPATH": HOME}


def test_a_given_python_path_is_kept_first() -> None:
    command = worker_command({"PYTHONPATH": "/mine"})
    assert command.environment["PYTHONPATH"] == f"/mine:{HOME}"


def test_secrets_do_not_reach_the_worker() -> None:
    secrets = {"RUNNER_API_KEY": "k", "HF_TOKEN": "t", "My_Secret": "s", "DB_PASSWORD": "p"}
    assert worker_command({**secrets, "LANG": "C"}).environment.keys() == {"LANG", "PYTHONPATH"}
