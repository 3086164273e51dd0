from __future__ import annotations

import pytest

from runner.cli.background import reach
from runner.cli.endpoint import Endpoint
from runner.cli.remote import NoDaemon
from runner.errors import Kind, RunnerError
from tests.support.console import FakeRemote, make_console

READY = "GET /readyz"


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "ok"},
        RunnerError(Kind.NOT_FOUND, "404 page not found"),  # Docker's own has no such route
        RunnerError(Kind.UNAUTHENTICATED, "no key"),
    ],
    ids=["ready", "another daemon", "key wanted"],
)
def test_what_answers_is_used(answer: object) -> None:
    remote = FakeRemote({READY: answer})
    assert reach(make_console(remote), None) is remote  # type: ignore[comparison-overlap]


def test_a_daemon_is_not_started_for_another_machine() -> None:
    remote = FakeRemote({READY: NoDaemon(Endpoint("box", 80))})
    with pytest.raises(NoDaemon, match="no daemon answers at http://box:80"):
        reach(make_console(remote), "http://box")


def test_a_daemon_that_is_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.cli.background.POLL_S", 0)
    starting = RunnerError(Kind.UNAVAILABLE, "not ready")

    class Starting(FakeRemote):
        def stream(self, method: str, path: str, body: object = None, **more: object) -> object:  # type: ignore[override]
            self.answers[READY] = {} if len(self.requests) >= 3 else starting
            return super().stream(method, path, body, **more)  # type: ignore[arg-type]

    remote = Starting({})
    assert reach(make_console(remote), None) is remote  # type: ignore[comparison-overlap]
    assert len(remote.requests) == 4


def test_a_daemon_that_does_not_become_ready_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.cli.background.POLL_S", 0)
    monkeypatch.setattr("runner.cli.background.READY_S", 0.05)
    gone = RunnerError(Kind.UNAVAILABLE, "the store cannot be read", hint="mount its disk")
    with pytest.raises(RunnerError) as caught:
        reach(make_console(FakeRemote({READY: gone})), None)
    assert caught.value.message == (
        "the server was not ready within 0.05 s: the store cannot be read"
    )
    assert caught.value.hint == "mount its disk"
