from __future__ import annotations

import signal

import pytest

from runner.errors import Kind
from runner.supervise.death import babbled, explain_exit, hung, signal_name, stopped
from runner.wire.messages import Failed


@pytest.mark.parametrize(
    ("returncode", "message", "hint"),
    [
        (0, "exited by itself with code 0", "send the request again"),
        (3, "exited by itself with code 3", "send the request again"),
        (-signal.SIGKILL, "memory ran out (SIGKILL)", "smaller model"),
        (-signal.SIGILL, "this CPU does not have (SIGILL)", "build_native.py --portable"),
        (-signal.SIGSEGV, "memory fault (SIGSEGV)", "runner logs"),
        (-signal.SIGABRT, "internal error (SIGABRT)", "runner logs"),
        (-signal.SIGBUS, "could not read the model's file", "check the disk"),
        (-signal.SIGUSR1, "ended by a signal (SIGUSR1)", "runner logs"),
        (-99, "ended by a signal (signal 99)", "runner logs"),
    ],
)
def test_an_exit_is_named_with_what_to_do(returncode: int, message: str, hint: str) -> None:
    death = explain_exit(returncode, stderr=())
    assert death.kind is Kind.ENGINE_CRASHED
    assert message in death.message
    assert hint in (death.hint or "")
    assert not death.expected


def test_a_death_becomes_the_last_event_of_a_request() -> None:
    death = explain_exit(-signal.SIGSEGV, stderr=("ggml_abort",))
    assert death.failed(7) == Failed(
        id=7,
        kind="engine_crashed",
        message="the engine process crashed by a memory fault (SIGSEGV)",
        hint=death.hint,
        details={"signal": "SIGSEGV", "stderr": ["ggml_abort"]},
    )


def test_an_exit_code_of_zero_is_told() -> None:
    assert explain_exit(0, stderr=()).details == {"exit_code": 0}


def test_a_death_becomes_an_error_with_the_same_facts() -> None:
    error = hung("no sign of life", stderr=("last",)).error()
    assert (error.kind, error.message) == (Kind.TIMEOUT, "no sign of life")
    assert error.details == {"stderr": ["last"]}


def test_babble_is_a_crash_and_a_stop_is_expected() -> None:
    assert babbled("a length of 0", stderr=()).kind is Kind.ENGINE_CRASHED
    assert stopped().expected
    assert stopped().kind is Kind.UNAVAILABLE


def test_a_signal_without_a_name_is_given_by_number() -> None:
    assert signal_name(11) == "SIGSEGV"
    assert signal_name(9999) == "signal 9999"
