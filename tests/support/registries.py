"""Real registries and ``skopeo`` for tests: other processes, free ports, skipped where missing.

Fixtures, each a fresh registry on loopback (about 0.1 s): ``open_registry``, ``basic_registry``
(htpasswd), ``token_registry`` (bearer tokens), ``tls_registry`` (own authority). ``skopeo`` runs
that program.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from tests.support import certificates
from tests.support.certificates import Pair, Signer
from tests.support.token_server import ISSUER, SERVICE, TokenServer, serve_tokens

USER, PASSWORD = "alice", "s3cret"
START_S = 20.0
PACKAGES = {"htpasswd": "apache2-utils", "nginx": "nginx-light"}  # Debian's, where named otherwise
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.docker.ai.model.config.v0.1+json"
GGUF = "application/vnd.docker.ai.gguf.v3"


@dataclass
class RunningRegistry:
    """A docker-registry, its address and its data."""

    folder: Path
    extra: str = ""  # YAML: its auth section
    tls: Pair | None = None
    authority: Path | None = None  # PEM that clients have to trust
    tokens: TokenServer | None = None
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """Host and port, as a reference names it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def start(self) -> None:
        """Start, or start again after ``stop``, at the same port with the same data."""
        program = require_program("docker-registry")
        self.port = self.port or free_port()
        configuration = self.folder / f"registry-{self.port}.yml"
        configuration.write_text(self._configuration(), encoding="utf-8")
        with (self.folder / "registry.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "serve", str(configuration)], stdout=log, stderr=log
            )
        self._wait()

    def stop(self) -> None:
        """End the process and keep the data."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def seed(
        self, repository: str, tag: str, layers: Sequence[bytes], *, config: bytes | None = None
    ) -> bytes:
        """Put a model of the v0.1 form there, whatever protects the registry; return its manifest.

        Without a ``config``, one that names the layers as GGUF.
        """
        with self.back_door() as url:
            digests = [put_blob(url, repository, layer) for layer in layers]
            config = config if config is not None else _config(digests)
            manifest = json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": _descriptor(CONFIG, put_blob(url, repository, config), config),
                    "layers": [
                        _descriptor(GGUF, digest, layer)
                        for digest, layer in zip(digests, layers, strict=True)
                    ],
                }
            ).encode()
            put_manifest(url, repository, tag, manifest)
        return manifest

    @contextlib.contextmanager
    def back_door(self) -> Iterator[str]:
        """Serve the same data for a moment without any protection; give that URL."""
        if not (self.extra or self.tls):
            yield self.url
            return
        with running(RunningRegistry(self.folder)) as door:
            yield door.url

    def _configuration(self) -> str:
        lines = [
            "version: 0.1",
            "log: {level: warn, accesslog: {disabled: true}}",
            "storage:",
            f"  filesystem: {{rootdirectory: {self.folder}/data}}",
            "  delete: {enabled: true}",
            "  maintenance: {uploadpurging: {enabled: false}}",
            "http:",
            f"  addr: {self.host}",
            "  relativeurls: true",
            "  secret: test",
        ]
        if self.tls is not None:
            lines.append(f"  tls: {{certificate: {self.tls.certificate}, key: {self.tls.key}}}")
        return "\n".join([*lines, self.extra, ""])

    def _wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_S
        while self.process.poll() is None and time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return
            time.sleep(0.02)
        self.stop()
        log = (self.folder / "registry.log").read_text(errors="replace")
        raise AssertionError(f"docker-registry did not start:\n{log[-2000:]}")


@contextlib.contextmanager
def running(registry: RunningRegistry) -> Iterator[RunningRegistry]:
    """Start a registry, and end it with the context."""
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()


@pytest.fixture
def open_registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    """A registry that anybody may pull from and push to, over plain HTTP."""
    with running(RunningRegistry(_folder(tmp_path, "open"))) as registry:
        yield registry


@pytest.fixture
def basic_registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    """A registry for USER with PASSWORD only, by Basic authentication over plain HTTP."""
    folder = _folder(tmp_path, "basic")
    line = subprocess.run(
        [require_program("htpasswd"), "-Bbn", "-C", "4", USER, PASSWORD],
        capture_output=True,
        check=True,
    ).stdout
    (folder / "htpasswd").write_bytes(line)
    auth = f"auth: {{htpasswd: {{realm: basic-realm, path: {folder}/htpasswd}}}}"
    with running(RunningRegistry(folder, auth)) as registry:
        yield registry


@pytest.fixture
def token_registry(tmp_path: Path, issuer: Pair) -> Iterator[RunningRegistry]:
    """A registry that takes bearer tokens of ``registry.tokens``; anybody may pull."""
    with serve_tokens(Signer(issuer), {USER: PASSWORD}) as tokens:
        auth = (
            f"auth: {{token: {{realm: '{tokens.url}', service: {SERVICE}, issuer: {ISSUER}, "
            f"rootcertbundle: {issuer.certificate}}}}}"
        )
        registry = RunningRegistry(_folder(tmp_path, "token"), auth, tokens=tokens)
        with running(registry):
            yield registry


@pytest.fixture
def tls_registry(tmp_path: Path, authority: Pair, server: Pair) -> Iterator[RunningRegistry]:
    """An open registry over TLS; ``registry.authority`` signed its certificate."""
    folder = _folder(tmp_path, "tls")
    registry = RunningRegistry(folder, tls=server, authority=authority.certificate)
    with running(registry):
        yield registry


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """An authority that signs certificates of servers."""
    return certificates.make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Pair) -> Pair:
    """A certificate of that authority for loopback."""
    return certificates.make_server_certificate(tmp_path_factory.mktemp("server"), authority)


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """What signs tokens."""
    return certificates.make_authority(tmp_path_factory.mktemp("issuer"), "token issuer")


Skopeo = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def skopeo(tmp_path: Path) -> Skopeo:
    """Run ``skopeo`` with arguments, and with no user's settings; AssertionError when it fails."""
    program = require_program("skopeo")
    home = _folder(tmp_path, "skopeo-home")

    def run(
        *arguments: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        surroundings = {"HOME": str(home), "PATH": os.environ["PATH"]} | (env or {})
        done = subprocess.run([program, *arguments], capture_output=True, env=surroundings)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done

    return run


def require_program(name: str) -> str:
    """Return the path of a program; skip the test where it is not installed."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {PACKAGES.get(name, name)}")
    return path


def free_port() -> int:
    """Return a port of loopback that nobody has at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def put_blob(url: str, repository: str, data: bytes) -> str:
    """Upload a blob to an open registry; return its digest."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    begun = requests.post(f"{url}/v2/{repository}/blobs/uploads/", timeout=20)
    location = requests.compat.urljoin(url, begun.headers["Location"])
    done = requests.put(location, params={"digest": digest}, data=data, timeout=60)
    assert done.status_code == 201, done.text
    return digest


def put_manifest(
    url: str, repository: str, tag: str, manifest: bytes, media_type: str = MANIFEST
) -> None:
    """Upload a manifest, or an index, to an open registry."""
    done = requests.put(
        f"{url}/v2/{repository}/manifests/{tag}",
        data=manifest,
        headers={"Content-Type": media_type},
        timeout=20,
    )
    assert done.status_code == 201, done.text


def _config(digests: Sequence[str]) -> bytes:
    return json.dumps(
        {
            "config": {"format": "gguf"},
            "descriptor": {"created": "2026-01-02T03:04:05Z"},
            "rootfs": {"type": "rootfs", "diff_ids": list(digests)},
        }
    ).encode()


def _descriptor(media_type: str, digest: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder
