from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks import processes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are read in /proc, on Linux alone"
)
PARENT = (
    "import subprocess, sys; child = subprocess.Popen(['cat'], stdin=subprocess.PIPE);"
    "print(child.pid, flush=True); child.wait()"
)


def test_a_tree_is_ended_and_measured_whole() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert processes.tree(parent.pid) == [parent.pid, child]
        assert processes.resident_bytes(parent.pid) > processes.resident_bytes(child) > 0
        processes.stop(parent)
    with pytest.raises(ProcessLookupError):
        os.kill(parent.pid, 0)


def test_a_busy_process_ends_with_the_measurement() -> None:
    with processes.busy_process(30.0):
        (child,) = processes.tree(os.getpid())[1:]
    assert processes.tree(os.getpid())[1:] == []
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
