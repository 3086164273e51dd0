"""How this machine reaches registries: one frozen value out of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.registry.address import Origin
from runner.registry.dockerconfig import docker_config_path, read_docker_config
from runner.registry.proxies import Proxies, parse_direct, parse_proxy

HF_ENDPOINT = "https://huggingface.co"
CERTS_FOLDERS = ("/etc/docker/certs.d", "/etc/containers/certs.d")


@dataclass(frozen=True, slots=True)
class Network:
    """All that decides where requests go, what is trusted and who we are. Times in seconds.

    Hosts are as references name them, with a port where it is not the default one.
    """

    docker_config: Path | None = None  # config.json, read again at each use
    docker_hub_login: tuple[str, str] | None = field(default=None, repr=False)
    default_registry: str | None = None  # asked in the place of Docker Hub
    mirrors: tuple[str, ...] = ()  # base URLs, of Docker Hub, tried in this order
    insecure_registries: frozenset[str] = frozenset()  # a certificate of anybody, or no TLS
    plain_registries: frozenset[str] = frozenset()  # no TLS: written with http:// before the host
    trusted_hosts: frozenset[str] = frozenset()  # where a registry may send us, near or far
    proxies: Proxies = field(default_factory=Proxies)
    ca_file: Path | None = None  # PEM; in place of the system's authorities
    ca_folder: Path | None = None  # in OpenSSL's hashed form
    certs_folders: tuple[Path, ...] = ()  # HOST/*.crt, *.cert, *.key, as Docker's certs.d
    hf_endpoint: str = HF_ENDPOINT
    hf_token: str | None = field(default=None, repr=False)
    helper_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_s: float = 10.0
    stall_s: float = 30.0  # without a byte
    is_offline: bool = False  # not one socket


def read_network(env: Mapping[str, str]) -> Network:
    """Read the environment, and Docker's config file where it names one or HOME has one.

    Raises RunnerError(USAGE) for a value that cannot be meant, with the variable's name.
    """
    docker_path = docker_config_path(env)
    insecure, default = _get(env, "INSECURE_REGISTRY"), _get(env, "DEFAULT_REGISTRY")
    hosts = _host_list(env, "RUNNER_INSECURE_REGISTRIES")
    if insecure.lower() in ("1", "true", "yes", "on"):
        # Docker Model Runner's switch opens every registry; here it means the one that is named.
        hosts += (default,) if default else ()
    elif insecure.lower() not in ("", "0", "false", "no", "off"):
        hosts += _host_list(env, "INSECURE_REGISTRY")
    return Network(
        docker_config=docker_path,
        docker_hub_login=_docker_hub_login(env),
        default_registry=default or None,
        mirrors=_mirrors(env),
        insecure_registries=frozenset(host for host in hosts if "://" not in host),
        plain_registries=frozenset(
            host.removeprefix("http://") for host in hosts if host.startswith("http://")
        ),
        trusted_hosts=frozenset(_host_list(env, "RUNNER_TRUSTED_HOSTS")),
        proxies=_proxies(env) or _docker_proxies(docker_path),
        ca_file=_path(env, "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        ca_folder=_path(env, "SSL_CERT_DIR"),
        certs_folders=_certs_folders(env),
        hf_endpoint=_endpoint(env, "HF_ENDPOINT") or HF_ENDPOINT,
        hf_token=_get(env, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") or None,
        helper_environment=dict(env),
        stall_s=_seconds(env, "RUNNER_STALL_TIMEOUT", 30.0),
        is_offline=_get(env, "RUNNER_OFFLINE").lower() in ("1", "true", "yes", "on"),
    )


def _get(env: Mapping[str, str], *names: str) -> str:
    return next((value for name in names if (value := env.get(name, "").strip().strip("\"'"))), "")


def _path(env: Mapping[str, str], *names: str) -> Path | None:
    value = _get(env, *names)
    return Path(value) if value else None


def _host_list(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Read host names with or without a port; ``http://`` before one is kept, ``https://`` not."""
    parts = (part.strip().lower().rstrip("/") for part in _get(env, name).split(","))
    hosts = tuple(part.removeprefix("https://") for part in parts if part)
    for host in hosts:
        try:
            Origin.of(host if host.startswith("http://") else f"https://{host}")
        except ValueError as problem:
            raise _wrong(name, host, "host names with or without a port") from problem
    return hosts


def _docker_hub_login(env: Mapping[str, str]) -> tuple[str, str] | None:
    for prefix in ("DOCKER", "DOCKER_HUB"):
        user = _get(env, f"{prefix}_USERNAME" if prefix == "DOCKER" else f"{prefix}_USER")
        if user and (password := _get(env, f"{prefix}_PASSWORD")):
            return user, password
    return None


def _mirrors(env: Mapping[str, str]) -> tuple[str, ...]:
    name = "MODEL_RUNNER_REGISTRY_MIRRORS"
    urls = (part.strip() for part in _get(env, name).split(","))
    return tuple(_base_url(name, url) for url in urls if url)


def _endpoint(env: Mapping[str, str], name: str) -> str | None:
    value = _get(env, name)
    return _base_url(name, value) if value else None


def _base_url(name: str, text: str) -> str:
    url = text if "://" in text else f"https://{text}"
    try:
        Origin.of(url)
    except ValueError as problem:
        raise _wrong(name, text, "a URL such as https://mirror.example.com") from problem
    return url.rstrip("/")


def _proxies(env: Mapping[str, str]) -> Proxies | None:
    """Read the variables, in lower case before upper; None where none is set."""
    both = [_get(env, f"{scheme}_proxy", f"{scheme}_proxy".upper()) for scheme in ("http", "https")]
    fallback = _get(env, "all_proxy", "ALL_PROXY")
    if not any(both) and not fallback:
        return None
    http, https = (parse_proxy(value or fallback) for value in both)
    return Proxies(http, https, parse_direct(_get(env, "no_proxy", "NO_PROXY")))


def _docker_proxies(path: Path | None) -> Proxies:
    """Read the proxies of Docker's config; a broken file is told to who needs a login from it."""
    try:
        return read_docker_config(path).proxies
    except RunnerError:
        return Proxies()


def _certs_folders(env: Mapping[str, str]) -> tuple[Path, ...]:
    home = _get(env, "HOME")
    configured = _get(env, "DOCKER_CONFIG") or (f"{home}/.docker" if home else "")
    config_home = _get(env, "XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    own = [f"{configured}/certs.d"] if configured else []
    own += [f"{config_home}/docker/certs.d", f"{config_home}/containers/certs.d"][
        : 2 * bool(config_home)
    ]
    return tuple(Path(folder) for folder in (*own, *CERTS_FOLDERS))


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = _get(env, name)
    if not text:
        return default
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86400:
        raise _wrong(name, text, "a number of seconds above zero")
    return seconds


def _wrong(name: str, value: str, expected: str) -> RunnerError:
    return RunnerError(Kind.USAGE, f"{name}: expected {expected}, got {value[:160]!a}")
