from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from runner.errors import Kind, RunnerError
from runner.oci.retry import Patience
from runner.registry.caller import Caller
from runner.registry.hub_reference import HubReference
from runner.registry.huggingface import HuggingFace, Snapshot
from runner.registry.network import Network
from runner.registry.transport import Transport
from tests.support.http_stand_in import Answer
from tests.support.hub_stand_in import HubStandIn, git_sha1

WEIGHTS = b"GGUF" + bytes(range(256)) * 40
FILES = {
    "m-Q4_K_M.gguf": WEIGHTS,
    "sub folder/m-Q8_0.gguf": WEIGHTS[:100],
    "LICENSE": b"MIT",
    "README.md": b"# hi",
}

MakeClient = Callable[..., HuggingFace]


@pytest.fixture
def make_client(hub: HubStandIn) -> Iterator[MakeClient]:
    made = []

    def make(token: str | None = None) -> HuggingFace:
        network = Network(hf_endpoint=hub.url, hf_token=token, stall_s=5)
        made.append(Transport(network, sleep=lambda _: None))
        return HuggingFace(made[-1])

    yield make
    for transport in made:
        transport.close()


def read(client: HuggingFace, snapshot: Snapshot, path: str, start: int, end: int | None) -> bytes:
    (file,) = (file for file in snapshot.files if file.path == path)
    with client.open_range(snapshot, file)(start, end) as stream:
        assert stream.start == start
        return b"".join(stream.chunks())


def asked(text: str) -> HubReference:
    return HubReference.parse(text)


def refusal(client: HuggingFace, text: str) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        client.survey(asked(text), patience=Patience(attempts=1))
    return caught.value


def test_a_repository_is_read_at_one_commit(hub: HubStandIn, make_client: MakeClient) -> None:
    repository = hub.add("Org/Repo", FILES)
    client = make_client()
    snapshot = client.survey(asked("hf.co/org/repo"))
    assert (snapshot.repository, snapshot.commit) == ("Org/Repo", repository.branches["main"])
    found = {file.path: (file.size_bytes, file.sha256, file.git_sha1) for file in snapshot.files}
    assert list(found) == ["LICENSE", "README.md", "m-Q4_K_M.gguf", "sub folder/m-Q8_0.gguf"]
    assert found["LICENSE"] == (3, None, git_sha1(b"MIT"))
    assert found["m-Q4_K_M.gguf"][:2] == (len(WEIGHTS), found["m-Q4_K_M.gguf"][1])
    assert found["m-Q4_K_M.gguf"][1].hex == hashlib.sha256(WEIGHTS).hexdigest()
    repository.commit({"m-Q4_K_M.gguf": b"other"})
    assert read(client, snapshot, "m-Q4_K_M.gguf", 0, None) == WEIGHTS
    assert read(client, snapshot, "LICENSE", 0, None) == b"MIT"


def test_a_branch_of_its_own(hub: HubStandIn, make_client: MakeClient) -> None:
    commit = hub.add("Org/Repo", FILES).commit({"x.gguf": b"1"}, "refs/pr/3")
    snapshot = make_client().survey(asked("hf.co/Org/Repo@refs/pr/3"))
    assert snapshot.commit == commit
    assert [file.path for file in snapshot.files] == ["x.gguf"]


def test_ranges_of_a_large_file_and_of_a_path_with_a_blank(
    hub: HubStandIn, make_client: MakeClient
) -> None:
    hub.add("Org/Repo", FILES)
    client = make_client()
    snapshot = client.survey(asked("hf.co/Org/Repo"))
    assert read(client, snapshot, "m-Q4_K_M.gguf", 10, 20) == WEIGHTS[10:20]
    assert read(client, snapshot, "m-Q4_K_M.gguf", 10, None) == WEIGHTS[10:]
    assert read(client, snapshot, "sub folder/m-Q8_0.gguf", 0, 4) == b"GGUF"


def test_d4_a_range_that_is_ignored_begins_at_zero(
    hub: HubStandIn, make_client: MakeClient
) -> None:
    hub.add("Org/Repo", FILES)
    hub.ignores_ranges = True
    client = make_client()
    snapshot = client.survey(asked("hf.co/Org/Repo"))
    (weights,) = (file for file in snapshot.files if file.path == "m-Q4_K_M.gguf")
    with client.open_range(snapshot, weights)(10, 20) as stream:
        assert (stream.start, stream.size_bytes) == (0, len(WEIGHTS))


def test_d9_each_range_gets_an_address_that_has_not_expired(
    hub: HubStandIn, make_client: MakeClient
) -> None:
    hub.add("Org/Repo", FILES)
    client = make_client()
    snapshot = client.survey(asked("hf.co/Org/Repo"))
    assert read(client, snapshot, "m-Q4_K_M.gguf", 0, 10) == WEIGHTS[:10]
    hub.signatures.clear()
    assert read(client, snapshot, "m-Q4_K_M.gguf", 10, 20) == WEIGHTS[10:20]


def test_d9_an_address_that_expired_at_once_is_worth_another_try(
    hub: HubStandIn, make_client: MakeClient
) -> None:
    hub.add("Org/Repo", FILES)
    client = make_client()
    snapshot = client.survey(asked("hf.co/Org/Repo"))
    hub.issues_expired = True
    with pytest.raises(RunnerError) as caught:
        read(client, snapshot, "m-Q4_K_M.gguf", 0, 10)
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE


def test_d6_the_token_goes_to_the_hub_alone(hub: HubStandIn, make_client: MakeClient) -> None:
    hub.add("Org/Repo", FILES)
    hub.tokens["hf_secret"] = set()
    client = make_client("hf_secret")
    snapshot = client.survey(asked("hf.co/Org/Repo"))
    read(client, snapshot, "m-Q4_K_M.gguf", 0, None)
    assert {seen.headers.get("authorization") for seen in hub.requests} == {"Bearer hf_secret"}
    assert [seen.headers.get("authorization") for seen in hub.cdn_requests] == [None]


def test_the_token_of_a_request_takes_the_place_of_ours(
    hub: HubStandIn, make_client: MakeClient
) -> None:
    hub.add("Org/Private", FILES, is_private=True)
    hub.tokens["hf_theirs"] = set()
    client = make_client("hf_ours")
    client.survey(asked("hf.co/Org/Private"), caller=Caller(bearer_token="hf_theirs"))
    assert {seen.headers["authorization"] for seen in hub.requests} == {"Bearer hf_theirs"}


def test_a_list_of_files_in_many_pages(hub: HubStandIn, make_client: MakeClient) -> None:
    files = {f"folder {index}/f{index:03d}.gguf": b"x" for index in range(25)}
    hub.add("Org/Many", files)
    hub.page_size = 7
    snapshot = make_client().survey(asked("hf.co/Org/Many"))
    assert len(snapshot.files) == 25


def test_a_list_of_files_without_an_end_is_given_up(
    hub: HubStandIn, make_client: MakeClient
) -> None:
    hub.add("Org/Many", {f"f{index:03d}.gguf": b"x" for index in range(70)})
    hub.page_size = 1
    assert refusal(make_client(), "hf.co/Org/Many").kind is Kind.INVALID_MODEL


def test_a_repository_that_was_renamed(hub: HubStandIn, make_client: MakeClient) -> None:
    hub.add("New/Name", FILES)
    hub.renamed["old/name"] = "New/Name"
    client = make_client()
    snapshot = client.survey(asked("hf.co/Old/Name"))
    assert snapshot.repository == "New/Name"
    assert read(client, snapshot, "LICENSE", 0, None) == b"MIT"


def test_a_gate_is_explained(hub: HubStandIn, make_client: MakeClient) -> None:
    hub.add("Org/Gated", FILES, is_gated=True)
    hub.tokens |= {"hf_out": set(), "hf_in": {"Org/Gated"}}
    for token, hint in [
        (None, "accept them at https://huggingface.co/Org/Gated; set HF_TOKEN"),
        (
            "hf_out",
            "accept them at https://huggingface.co/Org/Gated; your token's account is not in yet",
        ),
    ]:
        client = make_client(token)
        snapshot = client.survey(asked("hf.co/Org/Gated"))
        with pytest.raises(RunnerError) as caught:
            read(client, snapshot, "LICENSE", 0, None)
        assert (caught.value.kind, caught.value.hint) == (Kind.REGISTRY_DENIED, hint)
        assert "hf_out" not in str(caught.value)
    client = make_client("hf_in")
    assert read(client, client.survey(asked("hf.co/Org/Gated")), "LICENSE", 0, None) == b"MIT"


def test_what_is_not_there_and_what_is_not_shown(hub: HubStandIn, make_client: MakeClient) -> None:
    hub.add("Org/Repo", FILES)
    hub.add("Org/Private", FILES, is_private=True)
    assert refusal(make_client(), "hf.co/Org/None").kind is Kind.MODEL_NOT_FOUND
    assert refusal(make_client(), "hf.co/Org/Private").kind is Kind.MODEL_NOT_FOUND
    assert refusal(make_client(), "hf.co/Org/Repo@gone").message == (
        "hf.co/Org/Repo has no revision gone"
    )
    assert refusal(make_client("hf_bad"), "hf.co/Org/Repo").kind is Kind.REGISTRY_DENIED


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(429), Kind.RATE_LIMITED),
        (Answer(503), Kind.REGISTRY_UNAVAILABLE),
        (Answer(200, b"<html>sign in</html>"), Kind.REGISTRY_UNAVAILABLE),
        (Answer(302, headers={"Location": "http://169.254.169.254/"}), Kind.REGISTRY_UNAVAILABLE),
        (Answer(200, b"{}", {"Content-Encoding": "gzip"}), Kind.REGISTRY_UNAVAILABLE),
    ],
)
def test_d8_what_else_may_answer(
    hub: HubStandIn, make_client: MakeClient, answer: Answer, kind: Kind
) -> None:
    hub.failures.append(answer)
    assert refusal(make_client(), "hf.co/Org/Repo").kind is kind


def test_d8_a_passing_failure_is_waited_for_and_told(
    hub: HubStandIn, make_client: MakeClient
) -> None:
    hub.add("Org/Repo", FILES)
    hub.failures += [Answer(503), Answer(429, headers={"Retry-After": "3"})]
    told: list[str] = []
    make_client().survey(asked("hf.co/Org/Repo"), caller=Caller(tell=told.append))
    assert len(told) == 2


def test_a_search_lists_repositories_by_downloads(hub: HubStandIn, make_client: MakeClient) -> None:
    hub.add("Org/A-GGUF", FILES, downloads=5, likes=1, tags=("gguf", "license:mit"))
    hub.add("Org/B-GGUF", FILES, downloads=9, is_gated=True)
    hub.add("Org/Other", FILES)
    found = make_client().find_models("gguf", limit=5)
    assert [(row.name, row.downloads, row.license, row.is_gated) for row in found] == [
        ("Org/B-GGUF", 9, "", True),
        ("Org/A-GGUF", 5, "mit", False),
    ]


def test_nothing_is_asked_when_offline(hub: HubStandIn) -> None:
    transport = Transport(replace(Network(hf_endpoint=hub.url), is_offline=True))
    assert refusal(HuggingFace(transport), "hf.co/Org/Repo").details["cause"] == "offline"
    assert hub.requests == []
