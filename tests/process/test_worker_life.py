"""How a worker process is born, refuses, stops and dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from runner.wire.messages import (
    Beat,
    Cancel,
    Ended,
    EngineWishes,
    Failed,
    LoadFailed,
    Ready,
    Sampling,
    Stop,
)
from tests.process.worker_client import ROOT, WAIT_S, WISHES, WorkerClient, chat, model_path, text

ENDLESS = Sampling(temperature=0.0, ignore_eos=True)


def test_a_hostile_file_is_refused_by_name_of_the_field(tmp_path: Path) -> None:
    path = tmp_path / "evil.gguf"
    path.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 100)
    with WorkerClient() as client:
        client.load(path)
        failed = client.wait_for(LoadFailed)
        assert (failed.kind, client.wait_for_exit()) == ("invalid_model", 1)
        assert "metadata_kv_count" in failed.message


def test_a_missing_library_is_told_with_the_remedy(tmp_path: Path) -> None:
    with WorkerClient() as client:
        client.load(tmp_path / "m.gguf", library_path=str(tmp_path / "none.so"))
        failed = client.wait_for(LoadFailed)
        assert failed.kind == "model_load_failed"
        assert "build_native.py" in failed.message
        assert client.wait_for_exit() == 1


def test_without_a_word_from_the_daemon_it_leaves() -> None:
    with WorkerClient() as client:
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert client.wait_for_exit() == 0


@pytest.mark.parametrize("babble", [b"\xff\xff\xff\xff", b"\x01\0\0\0x"])
def test_babble_ends_it(babble: bytes) -> None:
    with WorkerClient() as client:
        assert client.process.stdin is not None
        client.process.stdin.write(babble)
        client.process.stdin.flush()
        assert client.wait_for_exit() == 2


def test_a_request_before_the_load_is_babble() -> None:
    with WorkerClient() as client:
        client.send(Cancel(id=1))
        assert client.wait_for_exit() == 2


def test_stray_prints_do_not_get_between_the_frames() -> None:
    code = (
        "import os\n"
        "from runner.worker.process import Pipe\n"
        "pipe = Pipe.claim()\n"
        "print('stray', flush=True)\n"
        "os.write(1, b'from C\\n')\n"
        "pipe.write(b'frame:' + pipe.read())\n"
        "assert os.read(0, 1) == b''\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"in", capture_output=True, cwd=ROOT, check=True
    )
    assert done.stdout == b"frame:in"
    assert done.stderr == b"stray\nfrom C\n"


def loaded(client: WorkerClient, wishes: EngineWishes = WISHES) -> WorkerClient:
    client.load(model_path(), wishes)
    client.wait_for(Ready)
    return client


@pytest.mark.native
@pytest.mark.model
class TestWithTheModel:
    def test_a_stop_lets_what_runs_finish_and_refuses_what_comes(self) -> None:
        with WorkerClient() as client:
            loaded(client).send(text(1, "The sky is", max_tokens=8))
            client.wait_for_text(1)
            client.send(Stop(grace_s=WAIT_S))
            client.send(text(2, "The sea is"))
            first, second = client.wait_for_last(1, 2)
            assert isinstance(first, Ended)
            assert isinstance(second, Failed)
            assert second.kind == "unavailable"
            assert client.wait_for_exit() == 0

    def test_interrupts_are_ignored_and_terminate_is_polite(self) -> None:
        with WorkerClient() as client:
            loaded(client).send(text(1, "The sky is", sampling=ENDLESS))
            client.wait_for_text(1)
            client.signal(signal.SIGINT)
            client.wait_for(Beat)
            client.signal(signal.SIGTERM)
            [event] = client.wait_for_last(1)
            assert isinstance(event, Failed)
            assert event.kind == "unavailable"
            assert client.wait_for_exit() == 0

    def test_the_end_of_input_ends_it_in_the_middle_of_a_stream(self) -> None:
        with WorkerClient() as client:
            loaded(client).send(text(1, "The sky is", sampling=ENDLESS))
            client.wait_for_text(1)
            assert client.process.stdin is not None
            client.process.stdin.close()
            began_s = time.monotonic()
            assert client.wait_for_exit() == 0
            assert time.monotonic() - began_s < 10

    @pytest.mark.slow
    def test_a_template_that_hangs_fails_its_chat_and_nothing_else(self) -> None:
        loops = "".join("{% for _ in range(9999) %}" for _ in range(3)) + "{% endfor %}" * 3
        template = (
            "{% if messages[-1]['content'] == 'loop' %}" + loops + "{% endif %}"
            "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        )
        with WorkerClient() as client:
            loaded(
                client,
                replace(WISHES, chat_template=template),
            )
            client.send(chat(1, "loop"))
            client.send(chat(2, "The sky is", max_tokens=4))
            first, second = client.wait_for_last(1, 2)
            assert isinstance(first, Failed)
            assert first.kind == "template_error"
            assert isinstance(second, Ended)

    def test_a_template_that_cannot_be_read_stops_the_load(self) -> None:
        with WorkerClient() as client:
            client.load(model_path(), replace(WISHES, chat_template="{% if %}"))
            failed = client.wait_for(LoadFailed)
            assert failed.kind == "template_error"

    def test_a_template_may_refuse_a_conversation(self) -> None:
        template = (
            "{% for message in messages %}{% if message['content'] == 'no' %}"
            "{{ raise_exception('not this one') }}{% endif %}{{ message['content'] }}{% endfor %}"
        )
        with WorkerClient() as client:
            loaded(
                client,
                replace(WISHES, chat_template=template),
            )
            client.send(chat(1, "no"))
            [event] = client.wait_for_last(1)
            assert isinstance(event, Failed)
            assert event.kind == "template_error"
            assert "not this one" in event.message


def wait_for_state(pid: int, line: str) -> None:
    """Wait until the process's status says so, or the process is gone."""
    status = Path(f"/proc/{pid}/status")
    until_s = time.monotonic() + WAIT_S
    while status.exists() and line not in status.read_text():
        assert time.monotonic() < until_s, f"{pid} never was in {line!r}"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_e11_it_dies_with_its_parent_even_while_others_hold_its_pipe() -> None:
    # The middle process starts a worker on *our* pipe ends and is killed: no end of input comes.
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'runner.worker'])\n"
        "print(child.pid, file=sys.stderr, flush=True)\n"
        "time.sleep(1000)\n"
    )
    our_end, its_end = os.pipe()
    middle = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=our_end,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert middle.stderr is not None
        pid = int(middle.stderr.readline())
        wait_for_state(pid, "NoNewPrivs:\t1")  # it has bound itself to its parent
        middle.kill()
        wait_for_state(pid, "State:\tZ")
    finally:
        middle.kill()
        middle.communicate()
        os.close(our_end)
        os.close(its_end)
