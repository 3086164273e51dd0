"""Pulling from registries: manifests by name, blobs by digest, verified by our own hash.

Source: distribution-spec 1.1, "Pull". What a header says of a digest is compared, never believed.
"""

from __future__ import annotations

import contextlib
import copy
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, TypeVar

from runner.errors import Kind, RunnerError
from runner.oci import MAX_MANIFEST_BYTES, Descriptor, Digest, Reference, media
from runner.oci.document import member, parse_object
from runner.oci.index import ImageIndex, Platform
from runner.oci.retry import Patience
from runner.oci.scope import Scope
from runner.registry.answer import HTML, Answer
from runner.registry.blob import Blob, open_blob
from runner.registry.caller import Caller
from runner.registry.credentials import Credentials
from runner.registry.dockerconfig import Login
from runner.registry.endpoint import Endpoints
from runner.registry.failures import Cause, unavailable
from runner.registry.mirrors import PASSED_ON, Place, Places
from runner.registry.network import Network
from runner.registry.session import Services, Session
from runner.registry.stream import OpenRange
from runner.registry.tokens import Tokens
from runner.registry.transport import ANYBODY, ONCE, Transport

ACCEPT = ", ".join((*media.MANIFESTS, *media.INDEXES))
PULL = "pull"
MAX_SESSIONS = 256

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A manifest: its bytes as they came, and their digest, which is the model's id."""

    raw: bytes
    media_type: str
    digest: Digest
    index: Digest | None = None  # of the index that it was chosen from


class _Shared(NamedTuple):
    """What the registries of all callers have in common."""

    services: Services
    places: Places
    platform: Platform


class Registry:
    """All registries, for one caller; ``on_behalf`` gives it to another. Thread-safe.

    Errors of every method: REGISTRY_UNAVAILABLE, REGISTRY_DENIED, RATE_LIMITED, CANCELLED.
    """

    def __init__(self, network: Network, transport: Transport, *, caller: Caller = ANYBODY) -> None:
        self.network = network
        self._shared = _Shared(
            Services(transport, Credentials(network), Tokens(transport)),
            Places(
                Endpoints(transport), network.mirrors, default_registry=network.default_registry
            ),
            Platform.of_machine(platform.system(), platform.machine()),
        )
        self._begin(caller)

    def _begin(self, caller: Caller) -> None:
        self._caller = caller
        self._sessions: dict[tuple[Place, tuple[Scope, ...]], Session] = {}
        self._lock = threading.Lock()

    def on_behalf(self, caller: Caller) -> Self:
        """Return the same registries for another caller: who is told, who cancels, whose token."""
        other = copy.copy(self)  # connections, tokens and what is known of hosts are shared
        other._begin(caller)
        return other

    def resolve(self, reference: Reference, *, patience: Patience | None = None) -> Resolved:
        """Fetch the manifest of a name; of an index, the one for this machine.

        A digest in the name is compared with the bytes. Raises RunnerError also: MODEL_NOT_FOUND,
        INTEGRITY for other bytes than the digest's, INVALID_MODEL for what is no manifest.
        """
        found = self._try_places(
            reference, lambda session: _fetch_manifest(session, reference, patience)
        )
        if found.media_type not in media.INDEXES:
            return found
        chosen = ImageIndex.parse(found.raw).choose(self._shared.platform)
        pinned = Reference(reference.domain, reference.repository, None, chosen.digest)
        manifest = self._try_places(
            pinned, lambda session: _fetch_manifest(session, pinned, patience)
        )
        return Resolved(manifest.raw, manifest.media_type, manifest.digest, index=found.digest)

    def head(self, reference: Reference, *, patience: Patience | None = None) -> Digest | None:
        """Ask what a name points to now, which no rate limit counts; None: it does not tell.

        A hint: of an index it is the index's own digest, and nothing has been hashed. Raises
        RunnerError also: MODEL_NOT_FOUND.
        """

        def ask(session: Session) -> Digest | None:
            path = _manifest_path(reference)
            with session.open(
                "HEAD", path, headers={"Accept": ACCEPT}, patience=patience
            ) as answer:
                if answer.status != 200:
                    raise session.refusal(answer, str(reference))
                return _told_digest(answer)

        return self._try_places(reference, ask)

    def blob(self, reference: Reference, descriptor: Descriptor) -> OpenRange:
        """Return what opens ranges of a blob, each with a request of its own. Unverified."""
        path = f"/v2/{reference.repository}/blobs/{descriptor.digest}"

        @contextlib.contextmanager
        def open_range(start: int, stop: int | None) -> Iterator[Blob]:
            with contextlib.ExitStack() as stack:
                yield self._try_places(
                    reference,
                    lambda session: stack.enter_context(
                        open_blob(session, path, descriptor, start, stop)
                    ),
                )

        return open_range

    def read_blob(self, reference: Reference, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """Read a small blob and verify it; raise RunnerError(INTEGRITY), or INVALID_MODEL.

        The latter where it is larger than ``limit_bytes`` by its manifest.
        """
        if descriptor.size_bytes > limit_bytes:
            raise RunnerError(
                Kind.INVALID_MODEL,
                f"blob {descriptor.digest.short} has {descriptor.size_bytes} bytes; "
                f"at most {limit_bytes} are allowed for {descriptor.media_type[:120]!a}",
            )
        with self.blob(reference, descriptor)(0, None) as blob:
            raw = b"".join(_at_most(blob.chunks(), descriptor.size_bytes))
        if len(raw) != descriptor.size_bytes or not descriptor.digest.matches(raw):
            raise _mismatch(f"blob of {reference}", descriptor.digest, raw)
        return raw

    def check_login(self, host: str, login: Login) -> None:
        """Show a login to a registry; raise RunnerError(REGISTRY_DENIED) when it is refused."""
        try:
            self._show_login(host, login)
        except RunnerError as error:
            if error.kind is Kind.REGISTRY_DENIED:
                error.hint = "check user name and password; some registries want a token for it"
            raise

    def _show_login(self, host: str, login: Login) -> None:
        services = replace(self._shared.services, credentials=_OneLogin(login))
        base_url = self._shared.places.endpoints.base_url(host, self._caller)
        session = Session(services, host, base_url, caller=self._caller)
        with session.open("GET", "/v2/") as answer:
            if answer.status != 200:
                raise session.refusal(answer)

    def ping(self, domain: str) -> AbstractContextManager[Answer]:
        """Ask the registry itself, without a login and in one try, whether it is there."""
        *_, place = self._shared.places.all_of(domain, self._caller)
        transport = self._shared.services.transport
        return transport.open("GET", f"{place.base_url}/v2/", caller=self._caller, patience=ONCE)

    def session(self, domain: str, *scopes: Scope) -> Session:
        """Return requests to the registry itself, no mirror, with tokens for these scopes."""
        *_, place = self._shared.places.all_of(domain, self._caller)
        return self._session(place, scopes)

    def _try_places(self, reference: Reference, action: Callable[[Session], T]) -> T:
        """Do it at the first place that can."""
        scopes = (Scope.of(reference.repository, PULL),)
        for place in self._shared.places.all_of(reference.domain, self._caller):
            try:
                return action(self._session(place, scopes))
            except RunnerError as error:
                if not place.is_mirror or error.kind not in PASSED_ON:
                    raise
                if error.kind is Kind.REGISTRY_UNAVAILABLE:
                    self._shared.places.rest(place)
                self._caller.tell(f"the mirror {place.host} was passed over: {error.message}")
        raise AssertionError("the registry itself is always among its places")

    def _session(self, place: Place, scopes: tuple[Scope, ...]) -> Session:
        with self._lock:
            session = self._sessions.get((place, scopes))
            if session is None:
                if len(self._sessions) >= MAX_SESSIONS:
                    self._sessions.clear()  # they begin anew, with the tokens that are kept
                session = Session(
                    self._shared.services, place.host, place.base_url, *scopes, caller=self._caller
                )
                self._sessions[place, scopes] = session
            return session


class _OneLogin(NamedTuple):
    """A login that somebody typed a moment ago."""

    login: Login

    def find(self, host: str, caller: Caller) -> Login:
        return self.login


def _fetch_manifest(session: Session, reference: Reference, patience: Patience | None) -> Resolved:
    path = _manifest_path(reference)
    with session.open("GET", path, headers={"Accept": ACCEPT}, patience=patience) as answer:
        if answer.status != 200:
            raise session.refusal(answer, str(reference))
        raw = answer.read(MAX_MANIFEST_BYTES)
    # A page of a proxy or a portal is told as what it is, not as a damaged model.
    if answer.media_type == HTML:
        raise unavailable(
            Cause.ANSWER,
            f"{answer.route} sent a page for people instead of the manifest of {reference}",
            "a proxy or a portal stands in between: open the address in a browser",
        )
    told = reference.digest or _told_digest(answer)
    if told is not None and not told.matches(raw):
        raise _mismatch(f"manifest of {reference}", told, raw)
    # The id of a model is its sha256, whatever the name was pinned by.
    return Resolved(raw, _media_type(raw, answer), Digest.of(raw))


def _media_type(raw: bytes, answer: Answer) -> str:
    """Return what the document is; the header and the document must not disagree.

    Source: GO-2022-0360, where a document was read as a manifest by one and as an index by another.
    """
    value = parse_object(raw, limit_bytes=MAX_MANIFEST_BYTES, what="manifest")
    inside = member(value, "mediaType", str, what="manifest")
    known = (*media.MANIFESTS, *media.INDEXES)
    outside = answer.media_type if answer.media_type in known else None
    if inside is not None and outside is not None and inside != outside:
        raise RunnerError(
            Kind.INVALID_MODEL,
            f"{answer.route} sent {outside} that calls itself {inside[:120]!a}",
            hint="the registry, or a cache before it, is broken",
        )
    if inside is None and outside is None:
        return media.INDEX if "manifests" in value else media.MANIFEST
    return inside or outside or ""


def _manifest_path(reference: Reference) -> str:
    return f"/v2/{reference.repository}/manifests/{reference.digest or reference.tag}"


def _told_digest(answer: Answer) -> Digest | None:
    text = answer.headers.get("Docker-Content-Digest", "")
    try:
        return Digest.parse(text) if text else None
    except RunnerError:
        return None  # nothing to compare with; our own hash counts anyway


def _at_most(chunks: Iterator[bytes], size_bytes: int) -> Iterator[bytes]:
    """Yield chunks until more than enough has come."""
    received = 0
    for chunk in chunks:
        yield chunk
        received += len(chunk)
        if received > size_bytes:
            return


def _mismatch(what: str, wanted: Digest, raw: bytes) -> RunnerError:
    hasher = wanted.hasher()
    hasher.update(raw)
    return RunnerError(
        Kind.INTEGRITY,
        f"the {what} is not what its digest says: want {wanted}, "
        f"got {wanted.algorithm}:{hasher.hexdigest()} of {len(raw)} bytes",
        hint="try again; if it stays so, the registry or something before it changes what it sends",
    )
