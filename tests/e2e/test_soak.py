"""Hours of use in short: loads, streams, cancels and refusals, and nothing that only grows.

``make soak`` does it for twenty minutes; with every other run it is one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from runner.oci import Reference
from runner.store import Store
from tests.e2e.conftest import Daemon, running_daemon, until
from tests.support.models import add_gguf
from tests.support.pooling_models import write_pooling_models

SOAK_S = float(os.environ.get("RUNNER_SOAK_S", "60"))
CLIENTS = 4
EMBEDDER = "local/embedding"
SCRATCH = "scratch"  # the daemon's TMPDIR, in its home
GROWTH_KIB = 12 * 1024  # allocators keep pages; what leaks by the request shows as more than this

pytestmark = [
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.timeout(SOAK_S + 240),
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="what grows is read in /proc"),
]


class Use(NamedTuple):
    """What a process holds."""

    resident_kib: int
    descriptors: int
    threads: int


def use_of(pid: int) -> Use:
    status = Path(f"/proc/{pid}/status").read_text()
    members = dict(line.split(":", 1) for line in status.splitlines())
    return Use(
        int(members["VmRSS"].split()[0]),
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
        int(members["Threads"]),
    )


# ---- what clients do -------------------------------------------------------------------------


def chat(server: Daemon) -> None:
    assert server.chat("Say hello", max_tokens=8).status_code == 200


def stream(server: Daemon) -> None:
    with server.stream("Count to ten", max_tokens=24) as events:
        assert list(events)[-1] == "[DONE]"


def leave(server: Daemon) -> None:
    with server.stream("Count to ten thousand", max_tokens=512) as events:
        next(events)


def embed(server: Daemon) -> None:
    assert server.post("/v1/embeddings", {"model": EMBEDDER, "input": "a b c"}).status_code == 200


def unload(server: Daemon) -> None:
    """Have it loaded anew by whoever asks next."""
    assert server.post("/engines/unload", {"models": [EMBEDDER]}).status_code == 200


def ask_wrongly(server: Daemon) -> None:
    assert server.chat("x", temperature="hot").status_code == 400
    assert server.post("/v1/chat/completions", {"model": "no/such"}).status_code in (400, 404)


def look(server: Daemon) -> None:
    for path in ("/v1/models", "/engines/ps", "/models", "/health"):
        server.get(path)


ACTIONS: tuple[tuple[Callable[[Daemon], None], int], ...] = (
    (chat, 3),
    (stream, 3),
    (leave, 3),
    (embed, 4),
    (unload, 2),
    (ask_wrongly, 2),
    (look, 2),
)


@pytest.fixture
def server(_engine: None, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with a model that chats and one that embeds, and little memory for prefixes."""
    store = Store(tmp_path / ".local" / "share" / "runner" / "models")
    path = write_pooling_models(tmp_path)["embedding"]
    add_gguf(store, [path], Reference.parse(EMBEDDER))
    flags = ("--prefix-ram", "8M", "--tuning", "off")
    (tmp_path / SCRATCH).mkdir()
    with running_daemon(tmp_path, *flags, TMPDIR=str(tmp_path / SCRATCH)) as started:
        yield started
        started.stop()


def test_e21_nothing_grows(server: Daemon) -> None:
    for action, _ in ACTIONS:  # whatever is made once is made now
        action(server)
    embed(server)
    counts: Counter[str] = Counter()
    samples: list[Use] = []
    failures: list[BaseException] = []
    deadline = time.monotonic() + SOAK_S

    def work(seed: int) -> None:
        draw = random.Random(seed)
        functions, weights = zip(*ACTIONS, strict=True)
        try:
            while time.monotonic() < deadline and not failures:
                [action] = draw.choices(functions, weights)
                action(server)
                counts[action.__name__] += 1
        except (AssertionError, requests.RequestException) as error:
            failures.append(error)

    clients = [threading.Thread(target=work, args=(seed,)) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        samples.append(use_of(server.process.pid))
        time.sleep(SOAK_S / 120)
    assert not failures, failures
    print(f"\n{dict(counts)}; samples {samples[:: max(1, len(samples) // 8)]}")
    check_flat(samples)
    assert min(counts[action.__name__] for action, _ in ACTIONS) > 0
    check_rest(server)


def check_flat(samples: list[Use]) -> None:
    """The last third holds no more than the second; the first is for warming up."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]

    def median(part: list[Use], member: int) -> float:
        return statistics.median(use[member] for use in part)

    assert median(last, 0) - median(middle, 0) < GROWTH_KIB
    for member, slack in ((1, 6), (2, 3)):  # as many more connections may be open by chance
        assert median(last, member) <= median(middle, member) + slack


def check_rest(server: Daemon) -> None:
    """With nobody there and nothing loaded, no worker, client's socket or scratch file is left."""
    assert server.post("/engines/unload", {"all": True}).status_code == 200
    until(lambda: not server.running())
    until(lambda: connections_of(server.process.pid) == 0)
    assert not list((server.home / SCRATCH).iterdir())
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    assert not list(itertools.chain.from_iterable(each.read_text().split() for each in children))


def connections_of(pid: int) -> int:
    """Count connected sockets: those of /proc/net/tcp in the state ESTABLISHED or CLOSE_WAIT."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed while we look
            inodes.add(str(link.readlink()).removeprefix("socket:[").rstrip("]"))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] in ("01", "08") and row[9] in inodes for row in rows)
