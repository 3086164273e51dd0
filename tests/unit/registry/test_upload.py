"""Uploads to a registry that keeps what arrived, and misbehaves as it is told."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from runner.errors import Kind, RunnerError
from runner.oci import Descriptor, Digest, media
from runner.registry.caller import Caller
from runner.registry.credentials import Credentials
from runner.registry.dockerconfig import Login
from runner.registry.network import Network
from runner.registry.session import Services, Session
from runner.registry.tokens import Tokens
from runner.registry.transport import Transport
from runner.registry.upload import Outcome, Uploader
from tests.support.upload_registry import Reply, UploadRegistry, serving

REPOSITORY = "team/model"
DATA = os.urandom(3_000_000)
BLOB = Descriptor(media.GGUF, Digest.of(DATA), len(DATA))


class OneLogin(Credentials):
    """Knows one login, whoever asks."""

    def find(self, host: str, caller: Caller) -> Login | None:
        return Login("alice", "s3cret")


@pytest.fixture
def registry() -> Iterator[UploadRegistry]:
    with serving(UploadRegistry()) as registry:
        yield registry


class Told:
    """What the caller was told, and the progress of a blob."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.offsets: list[int] = []
        self.waits: list[float] = []


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def uploader(registry: UploadRegistry, told: Told) -> Iterator[Uploader]:
    network = Network()
    transport = Transport(network, sleep=told.waits.append, dice=lambda: 0.0)
    services = Services(transport, OneLogin(network), Tokens(transport))
    session = Session(
        services, registry.host, f"http://{registry.host}", caller=Caller(told.notes.append)
    )
    yield Uploader(session, REPOSITORY)
    transport.close()


def read(start: int, stop: int) -> Iterator[bytes]:
    for at in range(start, stop, 100_000):
        yield DATA[at : min(at + 100_000, stop)]


def put(uploader: Uploader, told: Told, *mount_from: str) -> Outcome:
    return uploader.put_blob(BLOB, read, mount_from=mount_from, on_progress=told.offsets.append)


def test_a_blob_goes_in_one_put(registry: UploadRegistry, uploader: Uploader, told: Told) -> None:
    assert put(uploader, told) is Outcome.SENT
    assert registry.content == {str(BLOB.digest): DATA}
    assert registry.methods() == ["HEAD", "POST", "PUT"]
    assert told.offsets[0] == 0 and told.offsets[-1] == len(DATA)
    assert told.offsets == sorted(told.offsets)
    assert told.notes == []


def test_what_is_there_is_not_sent(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.content[str(BLOB.digest)] = DATA
    registry.blobs[REPOSITORY] = {str(BLOB.digest)}
    assert put(uploader, told) is Outcome.PRESENT
    assert registry.methods() == ["HEAD"]


def test_what_another_repository_has_is_mounted(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.content[str(BLOB.digest)] = DATA
    registry.blobs["team/other"] = {str(BLOB.digest)}
    assert put(uploader, told, "team/unknown", "team/other") is Outcome.MOUNTED
    assert registry.blobs[REPOSITORY] == {str(BLOB.digest)}
    assert registry.methods() == ["HEAD", "HEAD", "HEAD", "POST"]
    assert f"mount={BLOB.digest}&from=team/other" in registry.asked[-1].path


@pytest.mark.parametrize("status", [202, 400, 403, 404, 405])
def test_a_mount_that_is_refused_is_an_upload(
    registry: UploadRegistry, uploader: Uploader, told: Told, status: int
) -> None:
    registry.content[str(BLOB.digest)] = DATA
    registry.blobs["team/other"] = {str(BLOB.digest)}
    if status == 202:  # the registry opens an upload where it mounts nothing
        registry.uploads["own"] = bytearray()
        location = f"/v2/{REPOSITORY}/blobs/uploads/own"
        registry.reply("POST", Reply(202, (("Location", location), ("Range", "0-0"))))
    else:
        registry.reply("POST", Reply(status))
    assert put(uploader, told, "team/other") is Outcome.SENT
    assert registry.blobs[REPOSITORY] == {str(BLOB.digest)}


def test_e22_a_push_that_breaks_goes_on_where_the_registry_is(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.cuts = [1_000_000, 500_000]
    assert put(uploader, told) is Outcome.SENT
    assert registry.content[str(BLOB.digest)] == DATA
    starts = [asked.headers["content-range"] for asked in registry.find("PATCH", "/uploads/")]
    assert starts == ["1000000-2999999", "1500000-2999999"]
    assert [note.partition("; ")[2] for note in told.notes] == [
        "going on from byte 1000000 of 3000000",
        "going on from byte 1500000 of 3000000",
    ]


def test_e22_an_upload_that_is_forgotten_begins_anew(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.reply("PUT", Reply(404, body=b'{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}'))
    registry.reply("GET", Reply(404, body=b'{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}'))
    assert put(uploader, told) is Outcome.SENT
    assert registry.content[str(BLOB.digest)] == DATA
    assert registry.methods().count("POST") == 2


def test_e22_416_to_a_chunk_is_answered_with_the_right_offset(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.cuts = [1_000_000]
    registry.reply("PATCH", Reply(416))
    assert put(uploader, told) is Outcome.SENT
    assert registry.content[str(BLOB.digest)] == DATA
    assert registry.methods().count("POST") == 1


def test_e22_a_location_on_another_host_gets_no_credentials(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    # The other host is the storage behind the registry: the same uploads, at another port.
    with serving(UploadRegistry(uploads=registry.uploads)) as storage:
        storage.blobs, storage.content = registry.blobs, registry.content
        registry.location = (
            f"http://{storage.host}/v2/{{repository}}/blobs/uploads/{{id}}?sig=a%2Fb"
        )
        challenge = Reply(401, (("WWW-Authenticate", 'Basic realm="r"'),))
        registry.reply("HEAD", challenge)
        registry.cuts = []
        storage.cuts = [1_000_000]
        assert put(uploader, told) is Outcome.SENT
        assert registry.content[str(BLOB.digest)] == DATA
        assert [asked.method for asked in storage.asked] == ["PUT", "GET", "PATCH", "PUT"]
        assert all("authorization" not in asked.headers for asked in storage.asked)
        assert "?sig=a%2Fb&digest=sha256:" in storage.asked[0].path
    proofs = [asked.headers.get("authorization") for asked in registry.asked]
    assert proofs[0] is None and set(proofs[1:]) == {"Basic YWxpY2U6czNjcmV0"}


def test_e22_a_registry_outside_cannot_send_an_upload_to_this_machine(
    registry: UploadRegistry,
) -> None:
    network = Network()
    transport = Transport(network)
    services = Services(transport, OneLogin(network), Tokens(transport))
    outside = Session(services, "r.example", "https://r.example", caller=Caller())
    with (
        pytest.raises(RunnerError, match=r"refused to be sent to 127\.0\.0\.1") as caught,
        outside.open("PUT", f"http://{registry.host}/v2/u/1", body=DATA),
    ):
        pass
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert registry.asked == []
    transport.close()


def test_e22_a_digest_that_differs_is_told(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    other = Digest.of(b"other")
    registry.reply("PUT", Reply(201, (("Docker-Content-Digest", str(other)),)))
    with pytest.raises(RunnerError) as caught:
        put(uploader, told)
    assert caught.value.kind is Kind.INTEGRITY
    assert str(other) in caught.value.message and str(BLOB.digest) in caught.value.message


def test_a_lost_answer_to_the_last_request_is_found_out(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.content[str(BLOB.digest)] = DATA
    registry.reply("HEAD", Reply(404))
    registry.blobs[REPOSITORY] = {str(BLOB.digest)}
    registry.reply("PUT", Reply(502))
    assert put(uploader, told) is Outcome.SENT
    assert registry.methods() == ["HEAD", "POST", "PUT", "HEAD"]


def test_a_registry_that_is_away_for_a_moment_is_asked_again(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.reply("POST", Reply(503), Reply(502))
    assert put(uploader, told) is Outcome.SENT
    registry.reply("PUT", Reply(502))
    uploader.put_manifest(b"{}", media.MANIFEST, "v1")
    assert registry.manifests == {f"{REPOSITORY}:v1": b"{}"}


def test_a_registry_that_stays_away_is_given_up(
    registry: UploadRegistry, uploader: Uploader
) -> None:
    registry.reply("PUT", *[Reply(503)] * 20)
    with pytest.raises(RunnerError) as caught:
        uploader.put_manifest(b"{}", media.MANIFEST, "v1")
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert registry.methods() == ["PUT"] * 7


def test_a_registry_that_refuses_sound_bytes_gets_them_twice(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.reply("PUT", Reply(400), Reply(400), Reply(400))
    with pytest.raises(RunnerError, match="answered 400"):
        put(uploader, told)
    assert len(registry.find("PUT")) == 2


def test_a_body_that_is_too_long_goes_in_chunks(
    registry: UploadRegistry, uploader: Uploader, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.oci.upload.CHUNK_BYTES", 1_000_000)
    registry.max_body_bytes = 1_500_000
    assert put(uploader, told) is Outcome.SENT
    assert registry.content[str(BLOB.digest)] == DATA
    sizes = [asked.headers["content-length"] for asked in registry.find("PATCH")]
    assert sizes == ["1000000", "1000000", "1000000"]


def test_a_registry_without_chunks_gets_it_in_one_piece(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.cuts, registry.takes_chunks = [1_000_000], False
    assert put(uploader, told) is Outcome.SENT
    assert registry.content[str(BLOB.digest)] == DATA
    assert registry.find("PUT")[-1].headers["content-length"] == "3000000"


def test_chunks_are_as_long_as_the_registry_asks(
    registry: UploadRegistry, uploader: Uploader, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.oci.upload.CHUNK_BYTES", 10)
    registry.min_chunk_bytes, registry.cuts = 1_500_000, [0]
    assert put(uploader, told) is Outcome.SENT
    sizes = [asked.headers["content-length"] for asked in registry.find("PATCH")]
    assert sizes == ["1500000", "1500000"]


def test_a_line_that_breaks_again_and_again_ends_the_upload(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.cuts = [0] * 20
    with pytest.raises(RunnerError) as caught:
        put(uploader, told)
    assert caught.value.kind is Kind.REGISTRY_UNAVAILABLE
    assert len(registry.find("PUT")) + len(registry.find("PATCH")) == 6
    assert str(BLOB.digest) not in registry.content


def test_a_registry_that_asks_for_patience_gets_it(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.reply("PUT", Reply(429, (("Retry-After", "3"),)))
    assert put(uploader, told) is Outcome.SENT
    assert sum(told.waits) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Kind.REGISTRY_DENIED), (403, Kind.REGISTRY_DENIED)]
)
def test_who_may_not_push_is_told_at_once(
    registry: UploadRegistry, uploader: Uploader, told: Told, status: int, kind: Kind
) -> None:
    registry.reply("POST", Reply(status), Reply(status))
    with pytest.raises(RunnerError) as caught:
        put(uploader, told)
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (404, "it may want the repository made first, or the host may be no registry"),
        (405, "it takes no uploads: it may be read-only, a mirror or a cache"),
    ],
)
def test_what_takes_no_pushes_is_explained(
    registry: UploadRegistry, uploader: Uploader, told: Told, status: int, hint: str
) -> None:
    registry.reply("POST", Reply(status))
    with pytest.raises(RunnerError) as caught:
        put(uploader, told)
    assert (caught.value.kind, caught.value.hint) == (Kind.REGISTRY_UNAVAILABLE, hint)


def test_a_manifest_that_is_refused_is_explained(
    registry: UploadRegistry, uploader: Uploader
) -> None:
    body = b'{"errors":[{"code":"MANIFEST_INVALID","message":"unknown config"}]}'
    registry.reply("PUT", Reply(400, body=body))
    with pytest.raises(RunnerError, match="MANIFEST_INVALID: unknown config") as caught:
        uploader.put_manifest(b"{}", media.MANIFEST, "v1")
    assert caught.value.hint == "it may not take artifacts of this kind: ask who runs it"


def test_our_own_damage_is_told_apart_from_the_lines(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    def read_damaged(start: int, stop: int) -> Iterator[bytes]:
        yield bytes(stop - start)

    with pytest.raises(RunnerError) as caught:
        uploader.put_blob(BLOB, read_damaged, on_progress=told.offsets.append)
    assert caught.value.kind is Kind.INTEGRITY
    assert "in the store" in caught.value.message
    assert registry.content == {}


def test_bytes_that_change_on_the_way_are_sent_again(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    counter = itertools.count()

    def read_badly_once(start: int, stop: int) -> Iterator[bytes]:
        yield bytes(stop - start) if next(counter) == 0 else DATA[start:stop]

    assert uploader.put_blob(BLOB, read_badly_once, on_progress=told.offsets.append) is Outcome.SENT
    assert registry.content == {str(BLOB.digest): DATA}


def test_what_the_reader_raises_stops_the_upload(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    def read_until_stopped(start: int, stop: int) -> Iterator[bytes]:
        yield DATA[:100_000]
        raise RunnerError(Kind.CANCELLED, "stop")

    with pytest.raises(RunnerError) as caught:
        uploader.put_blob(BLOB, read_until_stopped, on_progress=told.offsets.append)
    assert caught.value.kind is Kind.CANCELLED
    assert registry.content == {}


def test_an_empty_blob_is_sent(registry: UploadRegistry, uploader: Uploader, told: Told) -> None:
    empty = Descriptor(media.LICENSE, Digest.of(b""), 0)
    outcome = uploader.put_blob(empty, lambda *_: iter(()), on_progress=told.offsets.append)
    assert outcome is Outcome.SENT
    assert registry.content == {str(empty.digest): b""}


@pytest.mark.parametrize("tells_digests", [True, False])
def test_a_manifest_is_put_and_served(
    registry: UploadRegistry, uploader: Uploader, tells_digests: bool
) -> None:
    registry.tells_digests = tells_digests
    raw = b'{"schemaVersion":2}'
    assert not uploader.serves("v1", Digest.of(raw))
    uploader.put_manifest(raw, media.MANIFEST, "v1")
    assert registry.manifests == {f"{REPOSITORY}:v1": raw}
    assert registry.find("PUT")[0].headers["content-type"] == media.MANIFEST
    assert uploader.serves("v1", Digest.of(raw)) is tells_digests
    assert not uploader.serves("v1", Digest.of(b"other"))


def test_a_manifest_that_was_changed_on_the_way_is_told(
    registry: UploadRegistry, uploader: Uploader
) -> None:
    registry.reply("PUT", Reply(201, (("Docker-Content-Digest", str(BLOB.digest)),)))
    with pytest.raises(RunnerError) as caught:
        uploader.put_manifest(b"{}", media.MANIFEST, "v1")
    assert caught.value.kind is Kind.INTEGRITY


def test_a_location_that_leads_astray_is_refused(
    registry: UploadRegistry, uploader: Uploader, told: Told
) -> None:
    registry.location = "ftp://other.example/{id}"
    with pytest.raises(RunnerError, match="is no plain http or https URL"):
        put(uploader, told)
