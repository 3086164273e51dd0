"""Step by step to a model of a registry: what works, what fails first, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum

from runner.errors import Kind, RunnerError
from runner.oci import Manifest, Reference
from runner.oci.scope import Scope
from runner.registry.address import Origin
from runner.registry.answer import Answer
from runner.registry.blob import open_blob
from runner.registry.failures import Cause
from runner.registry.network import Network
from runner.registry.proxies import shown
from runner.registry.registry import PULL, Registry
from runner.registry.transport import ONCE, Transport
from runner.registry.trust import host_folders, is_insecure

PROBE_BYTES = 1024  # of the first layer


class Verdict(StrEnum):
    """How a step went."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"  # an earlier one failed


@dataclass(frozen=True, slots=True)
class Step:
    """One step; ``remedy`` says what to do about a failed one."""

    name: str
    verdict: Verdict
    detail: str = ""
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All steps in their order, and every host that was needed: what a firewall has to let through.

    Where a step failed, hosts that later ones need are not known.
    """

    target: str
    steps: tuple[Step, ...]
    hosts: tuple[str, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing failed."""
        return all(step.verdict is not Verdict.FAILED for step in self.steps)


# The steps of a connection, each with the causes of failure that are its own; any other is of http.
_CONNECTION: tuple[tuple[str, frozenset[Cause]], ...] = (
    ("settings", frozenset({Cause.OFFLINE, Cause.TRUST})),
    ("proxy", frozenset({Cause.PROXY})),
    ("dns", frozenset({Cause.DNS})),
    ("tcp", frozenset({Cause.CONNECT})),
    ("tls", frozenset({Cause.TLS, Cause.HANDSHAKE})),
    ("http", frozenset()),
)


def diagnose(registry: Registry, reference: Reference) -> Diagnosis:
    """Try every step of pulling a model, without downloading it.

    Mirrors are left out: they may fail without harm. Raises nothing but RunnerError(CANCELLED).
    """
    hosts: list[str] = []
    scope = Scope.of(reference.repository, PULL)
    course = _reach(registry, reference.domain, hosts, scope)
    manifests: list[Manifest] = []

    def read_manifest() -> str:
        found = registry.resolve(reference, patience=ONCE)
        manifests.append(Manifest.parse(found.raw))
        return f"{found.digest.short}, {len(found.raw)} bytes, {found.media_type}"

    def read_blob() -> str:
        layer = manifests[0].layers[0]
        stop = min(PROBE_BYTES, layer.size_bytes)
        path = f"/v2/{reference.repository}/blobs/{layer.digest}"
        with open_blob(registry.session(reference.domain, scope), path, layer, 0, stop) as blob:
            received = sum(len(chunk) for chunk in _first(blob.chunks(), stop))
            hosts.append(blob.answer.route.origin.authority)
        parts = "in parts" if blob.answer.status == 206 else "only as a whole, so nothing resumes"
        return f"{received} bytes from {hosts[-1]}, which sends it {parts}"

    course.run("manifest", read_manifest)
    course.run("blob", read_blob)
    return course.end(str(reference), hosts)


def diagnose_registry(registry: Registry, domain: str) -> Diagnosis:
    """Try to reach a registry and to log in, whatever models it has."""
    hosts: list[str] = []
    return _reach(registry, domain, hosts).end(domain, hosts)


def diagnose_url(transport: Transport, url: str) -> Diagnosis:
    """Try to reach a server, such as a hub, and nothing more."""
    hosts: list[str] = []
    steps = _connect(transport.network, lambda: transport.open("GET", url, patience=ONCE), hosts)
    return Diagnosis(url, tuple(steps), tuple(hosts))


def _reach(registry: Registry, domain: str, hosts: list[str], *scopes: Scope) -> _Course:
    """Run the steps that come before any model."""

    def log_in() -> str:
        session = registry.session(domain, *scopes)
        with session.open("GET", "/v2/", patience=ONCE) as answer:
            hosts.extend(host for host in (session.token_host,) if host)
            if answer.status != 200:
                raise session.refusal(answer)
        return "a login is accepted" if session.has_login else "open to anybody"

    course = _Course(list(_connect(registry.network, lambda: registry.ping(domain), hosts)))
    course.run("login", log_in)
    return course


class _Course:
    """Runs steps until one fails; the rest are skipped."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps

    def run(self, name: str, action: Callable[[], str]) -> None:
        if any(step.verdict is not Verdict.PASSED for step in self.steps):
            self.steps.append(Step(name, Verdict.SKIPPED))
            return
        try:
            self.steps.append(Step(name, Verdict.PASSED, action()))
        except RunnerError as error:
            if error.kind is Kind.CANCELLED:
                raise
            self.steps.append(Step(name, Verdict.FAILED, error.message, error.hint))

    def end(self, target: str, hosts: list[str]) -> Diagnosis:
        return Diagnosis(target, tuple(self.steps), tuple(dict.fromkeys(hosts)))


def _connect(
    network: Network, reach: Callable[[], AbstractContextManager[Answer]], hosts: list[str]
) -> Iterator[Step]:
    """Yield the steps of one connection: which of them failed is told by the error's cause."""
    try:
        with reach() as answer:
            facts = _facts(network, answer)
            hosts.append(answer.route.origin.authority)
    except RunnerError as error:
        if error.kind is Kind.CANCELLED:
            raise
        yield from _failed_at(error)
        return
    for name, _ in _CONNECTION:
        yield Step(name, Verdict.PASSED, facts[name])


def _failed_at(error: RunnerError) -> Iterator[Step]:
    cause = error.details.get("cause")
    failed = next((name for name, causes in _CONNECTION if cause in causes), "http")
    verdict = Verdict.PASSED
    for name, _ in _CONNECTION:
        if name == failed:
            yield Step(name, Verdict.FAILED, error.message, error.hint)
            verdict = Verdict.SKIPPED
        else:
            yield Step(name, verdict)


def _facts(network: Network, answer: Answer) -> dict[str, str]:
    """Say of each step of a connection that worked what it used."""
    route, address = answer.route, answer.peer.address
    return {
        "settings": _shown_settings(network),
        "proxy": shown(route.proxy) if route.proxy else "none: a direct connection",
        "dns": f"{route.origin.host} is {address}" if address else "left to the proxy",
        "tcp": f"connected to port {route.origin.port}",
        "tls": _shown_trust(network, route.origin),
        "http": f"answered {answer.status}",
    }


def _shown_settings(network: Network) -> str:
    found = [f"mirror {url}" for url in network.mirrors]
    if network.default_registry:
        found.append(f"{network.default_registry} in Docker Hub's place")
    if network.proxies.direct:
        found.append(f"no proxy for {', '.join(network.proxies.direct)}")
    return "; ".join(found) or "nothing special"


def _shown_trust(network: Network, origin: Origin) -> str:
    if origin.scheme == "http":
        return "none: plain HTTP"
    if is_insecure(network, origin):
        return "not verified: the registry is in RUNNER_INSECURE_REGISTRIES"
    authorities = str(network.ca_file or network.ca_folder or "the system's authorities")
    own = [str(folder) for folder in host_folders(network, origin)]
    return f"verified by {', '.join([authorities, *own])}"


def _first(chunks: Iterator[bytes], size_bytes: int) -> Iterator[bytes]:
    """Yield chunks until enough has come, cut where it is enough."""
    left = size_bytes
    while left > 0 and (chunk := next(chunks, b"")):
        yield chunk[:left]
        left -= len(chunk)
