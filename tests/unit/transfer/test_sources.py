from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.registry.dockerhub import DockerHub
from runner.registry.huggingface import HuggingFace
from runner.registry.network import Network
from runner.registry.transport import Transport
from runner.transfer.fit import Fit
from runner.transfer.search import Found, Offer, search
from runner.transfer.sources import DockerHubSource, HuggingFaceSource
from tests.support.docker_hub_stand_in import DockerHubStandIn
from tests.support.http_stand_in import Answer
from tests.support.hub_stand_in import HubStandIn

Sources = list[DockerHubSource | HuggingFaceSource]
GIB = 1024**3


@pytest.fixture
def sources(hub: HubStandIn, docker_hub: DockerHubStandIn) -> Iterator[Sources]:
    transport = Transport(Network(hf_endpoint=hub.url, stall_s=5))
    yield [
        DockerHubSource(DockerHub(transport, docker_hub.url)),
        HuggingFaceSource(HuggingFace(transport)),
    ]
    transport.close()


def row(found: Found) -> tuple[object, ...]:
    return found.name, found.source, found.listed.downloads, found.offer, found.fit


def test_both_places_with_quantisations_sizes_and_fit(
    hub: HubStandIn, docker_hub: DockerHubStandIn, sources: Sources
) -> None:
    docker_hub.repositories["smollm2"] = (
        "Tiny LLM",
        500,
        [
            ("latest", 3 * GIB, "sha256:1"),
            ("360M-F16", 7 * GIB, "sha256:2"),
            ("360M-Q4_K_M", 3 * GIB, "sha256:1"),
        ],
    )
    docker_hub.repositories["qwen3"] = ("another one", 900, [])
    hub.add(
        "Org/SmolLM2-GGUF",
        {"m-Q8_0.gguf": b"x" * 90, "m-Q4_K_M.gguf": b"x" * 50, "README.md": b""},
        downloads=700,
    )
    result = search(sources, "SmolLM2", limit=10, memory_bytes=2 * GIB)
    assert result.warnings == ()
    assert [row(found) for found in result.found] == [
        (
            "hf.co/Org/SmolLM2-GGUF",
            "HuggingFace",
            700,
            Offer("Q4_K_M", 50, ("Q4_K_M", "Q8_0")),
            Fit.YES,
        ),
        (
            "ai/smollm2",
            "Docker Hub",
            500,
            Offer("Q4_K_M", 3 * GIB, ("F16", "Q4_K_M")),
            Fit.NO,
        ),
    ]


def test_a_repository_without_weights_is_listed_without_a_size(
    hub: HubStandIn, sources: Sources
) -> None:
    hub.add("Org/Empty-GGUF", {"README.md": b""})
    (found,) = search(sources[1:], "", limit=10, memory_bytes=GIB).found
    assert row(found) == ("hf.co/Org/Empty-GGUF", "HuggingFace", 0, Offer(), None)


def test_pages_of_docker_hub_are_read_until_there_are_enough(
    docker_hub: DockerHubStandIn, sources: Sources
) -> None:
    for index in range(250):
        docker_hub.repositories[f"m{index:03d}"] = ("", 1000 - index, [])
    found = sources[0].find("m2", limit=3)
    assert [listed.name for listed in found] == ["ai/m200", "ai/m201", "ai/m202"]
    assert len(docker_hub.requests) == 3


def test_one_place_that_limits_us_does_not_cost_the_other(
    hub: HubStandIn, docker_hub: DockerHubStandIn, sources: Sources
) -> None:
    hub.add("Org/A-GGUF", {"m.gguf": b"x"})
    docker_hub.failures.append(Answer(429))
    result = search(sources, "", limit=10, memory_bytes=None)
    assert [found.name for found in result.found] == ["hf.co/Org/A-GGUF"]
    (warning,) = result.warnings
    assert warning.startswith("Docker Hub is left out: 127.0.0.1:")
    assert warning.endswith("answered 429 to a search (try again later)")
