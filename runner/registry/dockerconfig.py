"""Docker's config.json: logins, credential helpers and proxies, as ``docker login`` leaves them."""

from __future__ import annotations

import base64
import binascii
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import Kind, RunnerError
from runner.oci.reference import DEFAULT_DOMAIN
from runner.registry.proxies import Proxies, parse_direct, parse_proxy

MAX_CONFIG_BYTES = 1024 * 1024
DOCKER_HUB_KEY = "https://index.docker.io/v1/"  # how Docker Hub is called in this file
_DOCKER_HUB_HOSTS = {DEFAULT_DOMAIN, "index.docker.io", "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class Login:
    """One entry of ``auths``: a password, or a token that stands for one."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)  # for the token server only
    registry_token: str = field(default="", repr=False)  # for the registry itself

    @property
    def is_empty(self) -> bool:
        """Whether it proves nothing: what Docker leaves where a helper keeps the secret."""
        return not (self.password or self.identity_token or self.registry_token)


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """What the file says. ``auths`` and ``helpers`` by normalised host, see :func:`host_key`."""

    auths: Mapping[str, Login] = field(default_factory=dict, repr=False)
    helpers: Mapping[str, str] = field(default_factory=dict)  # credHelpers
    store: str | None = None  # credsStore
    proxies: Proxies = field(default_factory=Proxies)

    def helper_for(self, host: str) -> str | None:
        """Return the name of the helper that keeps this host's secret; None: the file itself."""
        return self.helpers.get(host_key(host), self.store)


def host_key(host: str) -> str:
    """Normalise a host, or a key of the file (which may be a URL); Docker Hub has one name."""
    bare = host.partition("://")[2] or host
    bare = bare.partition("/")[0].lower()
    return DEFAULT_DOMAIN if bare in _DOCKER_HUB_HOSTS else bare


def file_key(host: str) -> str:
    """Return the key under which Docker writes a host."""
    return DOCKER_HUB_KEY if host_key(host) == DEFAULT_DOMAIN else host_key(host)


def docker_config_path(env: Mapping[str, str]) -> Path | None:
    """Return ``$DOCKER_CONFIG/config.json``, by default of ``~/.docker``; None without a home."""
    folder, home = env.get("DOCKER_CONFIG", ""), env.get("HOME", "")
    if not folder and not home:
        return None
    return Path(folder, "config.json") if folder else Path(home, ".docker", "config.json")


def read_docker_config(path: Path | None) -> DockerConfig:
    """Read the file; empty where there is none; raise RunnerError(USAGE) for no such document."""
    return DockerConfig() if path is None else parse_docker_config(load_document(path), path)


def load_document(path: Path) -> dict[str, Any]:
    """Read the file as a JSON object; empty where there is none; raise RunnerError(USAGE)."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _broken(path, f"cannot be read ({error.strerror})") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise _broken(path, f"has more than {MAX_CONFIG_BYTES} bytes")
    try:
        value = json.loads(raw or b"{}")
    except (ValueError, RecursionError) as error:
        raise _broken(path, "is not JSON") from error
    if not isinstance(value, dict):
        raise _broken(path, "is not a JSON object")
    return value


def parse_docker_config(value: Mapping[str, Any], path: Path) -> DockerConfig:
    """Take what concerns us out of the document; raise RunnerError(USAGE)."""
    store = value.get("credsStore")
    return DockerConfig(
        auths={
            host_key(key): _parse_login(key, entry, path)
            for key, entry in _object(value, "auths", path).items()
            if isinstance(entry, dict)
        },
        helpers={
            host_key(key): name
            for key, name in _object(value, "credHelpers", path).items()
            if isinstance(name, str) and name
        },
        store=store if isinstance(store, str) and store else None,
        proxies=_parse_proxies(_object(value, "proxies", path).get("default")),
    )


def _parse_login(key: str, entry: Mapping[str, Any], path: Path) -> Login:
    def text(name: str) -> str:
        found = entry.get(name)
        return found if isinstance(found, str) else ""

    username, password = text("username"), text("password")
    if encoded := text("auth"):
        try:
            decoded = base64.b64decode(encoded, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _broken(path, f"has an auth for {key[:80]!a} that is not base64") from error
        # Docker ends a password with NUL characters where its length was padded.
        username, _, password = decoded.rstrip("\x00").partition(":")
    return Login(username, password, text("identitytoken"), text("registrytoken"))


def _parse_proxies(value: object) -> Proxies:
    if not isinstance(value, dict):
        return Proxies()
    http, https, direct = (
        found if isinstance(found := value.get(name), str) else ""
        for name in ("httpProxy", "httpsProxy", "noProxy")
    )
    return Proxies(parse_proxy(http), parse_proxy(https), parse_direct(direct))


def _object(value: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    found = value.get(name) or {}
    if not isinstance(found, dict):
        raise _broken(path, f"has {name} that are not an object")
    return found


def _broken(path: Path, problem: str) -> RunnerError:
    return RunnerError(
        Kind.USAGE,
        f"Docker's config file {path} {problem}",
        hint="correct it, or name another folder with DOCKER_CONFIG",
    )


def with_login(value: Mapping[str, Any], host: str, login: Login | None) -> dict[str, Any]:
    """Return the document with a login in it; None leaves the mark that a helper keeps it.

    Whatever else the document holds stays as it is.
    """
    kept = without_login(value, host)
    entry: dict[str, str] = {}
    if login is not None:
        pair = f"{login.username}:{login.password}".encode()
        entry = {"auth": base64.b64encode(pair).decode("ascii")}
        if login.identity_token:
            entry["identitytoken"] = login.identity_token
    auths = kept.get("auths") or {}
    return {**kept, "auths": {**auths, file_key(host): entry}}


def without_login(value: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the document without the logins of a host, however they are written."""
    auths = value.get("auths")
    if not isinstance(auths, dict):
        return dict(value)
    others = {key: entry for key, entry in auths.items() if host_key(key) != host_key(host)}
    return {**value, "auths": others}


def save_document(path: Path, value: Mapping[str, Any]) -> None:
    """Write the file anew, in Docker's form, for its owner only; raise RunnerError(USAGE)."""
    target = path.resolve()  # the file itself, where it is kept elsewhere
    text = json.dumps(value, indent="\t", ensure_ascii=False)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            try:
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(target)  # its mode is 0600 from the first byte on
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise _broken(path, f"cannot be written ({error.strerror})") from error
