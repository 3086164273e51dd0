"""Settings: one frozen value out of flags, environment, a file and defaults, in that order.

Pure: environment and file come in as mappings and nothing is looked up on disk. A wrong value
raises ``RunnerError(USAGE)`` that names the flag, the variable or the file's member, the value and
what was expected. Every value is trimmed of blanks and of one pair of quotes, as Docker Model
Runner does; an empty one counts as not given.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from runner import places
from runner.durations import parse_duration, parse_keep_alive
from runner.errors import Kind, RunnerError
from runner.places import DEFAULT_HOST, DEFAULT_PORT, clean, parse_key, parse_port

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
# What Docker and Podman call the bridge that containers reach their host by.
CONTAINER_BRIDGES = ("docker0", "podman0", "cni-podman0")
KV_LAYOUTS = ("unified", "streams")
KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0")


class Settings(NamedTuple):
    """Everything the daemon can be told. Times in seconds, sizes in bytes; None: you choose."""

    models_path: Path
    state_path: Path  # state file and log of the daemon
    socket_path: Path | None  # None: no unix socket
    is_models_path_given: bool = False  # else a store that was moved is looked for
    shared_paths: tuple[Path, ...] = ()  # stores of others, which are only read
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT  # 0: any free one
    api_keys_file: Path | None = None
    api_keys: tuple[str, ...] = ()
    insecure: bool = False  # allow an address that is not loopback without a key
    containers: tuple[str, ...] = ()  # also listen there, for containers: interfaces or addresses
    allowed_hosts: tuple[str, ...] = ()  # added to the loopback names; "*" allows all
    allowed_origins: tuple[str, ...] = ()  # added to the loopback origins; "*" allows all
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"  # of stderr; the file is text
    keep_alive_s: float | None = None  # idle time before a model is unloaded; math.inf: never
    max_loaded_models: int | None = None
    model_aliases: tuple[tuple[str, str], ...] = ()  # (pattern, name of the model it stands for)
    record_requests: int = 0  # so many of each model are kept with their texts, in memory
    remote_media: bool = False  # fetch images that clients name by URL
    max_transfers: int = 4  # pulls and pushes at a time; more wait
    # how registries are reached, each in the grammar of its variable; None: as the environment says
    registry_mirrors: str | None = None
    insecure_registries: str | None = None
    offline: str | None = None
    # wishes of the engine, named as in wire.EngineWishes
    context_size: int | None = None
    parallel: int | None = None
    threads: int | None = None
    threads_batch: int | None = None
    batch_size: int | None = None
    ubatch_size: int | None = None
    flash_attention: bool | None = None
    kv_layout: Literal["unified", "streams"] | None = None
    kv_type: Literal["f32", "f16", "bf16", "q8_0", "q4_0"] | None = None
    gpu_layers: int | None = None  # -1: all
    target_gap_ms: int | None = None
    max_queue: int | None = None
    speculation: bool | None = None
    draft_model: str | None = None  # a reference, as of any other model
    prefix_ram_bytes: int | None = None  # 0: none
    prefix_disk_bytes: int | None = None  # 0: none
    tuning: bool = True  # measure idle models, and use what was measured
    # limits of the HTTP server, named as in net.Limits
    max_connections: int = 512
    max_connections_per_peer: int = 256
    max_body_bytes: int = 10 * 1024 * 1024  # Docker Model Runner's limit
    head_s: float = 10.0  # for a whole request head
    idle_s: float = 75.0  # between two requests of a connection
    body_s: float = 300.0  # for a whole body
    body_floor_bytes_per_s: int = 1024  # a body slower than this is refused
    write_stall_s: float = 30.0  # for a reader that takes nothing
    heartbeat_s: float = 10.0  # silence of a stream before a comment is sent
    grace_s: float = 30.0  # for running answers at shutdown

    @property
    def log_path(self) -> Path:
        """Where the daemon of this port keeps its log."""
        return self.state_path / f"{places.instance_name(self.port)}.log"

    @property
    def models_memory(self) -> Path:
        """Where a move of the store is remembered."""
        return self.state_path / "models-path.json"

    @property
    def state_file(self) -> Path:
        """Where the running daemon says its process id and addresses, for clients to find it."""
        return self.state_path / places.STATE_FILE_NAME


class Option(NamedTuple):
    """One setting that a flag or the environment may give, with its grammar."""

    name: str  # field of Settings; the flag is --name with hyphens
    variables: tuple[str, ...]  # the first that is set counts
    parse: Callable[[str], Any]  # ValueError's text says what is expected
    is_secret: bool = False  # stays out of errors


class File(NamedTuple):
    """A configuration file's members, by flag names: ``{"keep-alive": "5m"}``."""

    path: str
    members: Mapping[str, Any]


class Stated(NamedTuple):
    """What somebody said of one setting, and where."""

    option: Option
    text: str
    source: str  # --port, MODEL_RUNNER_PORT, /home/me/.config/runner/config.toml


NO_FILE = File("", {})


def parse_settings(
    env: Mapping[str, str],
    flags: Mapping[str, Any],
    file: File = NO_FILE,
    *,
    platform: str = sys.platform,
) -> Settings:
    """Merge flags over environment over file over defaults; raise RunnerError(USAGE).

    ``flags`` holds values by field name as a command line gave them; None means "not given".
    """
    stated = find_stated(env, flags, file)
    given = {each.option.name: _parse(each) for each in stated}
    given["is_models_path_given"] = "models_path" in given
    if "models_path" not in given:
        given["models_path"] = default_models_path(env, platform)
    for name in ("models_path", "socket_path", "api_keys_file"):
        if isinstance(given.get(name), Path):
            given[name] = _expand_home(given[name], env)
    given["shared_paths"] = tuple(
        _expand_home(Path(path), env) for path in given.get("shared_paths", ())
    )
    given["state_path"] = Path(places.state_folder(env, platform))
    if "socket_path" not in given:
        default = places.socket_path(env, platform, port=given.get("port", DEFAULT_PORT))
        given["socket_path"] = Path(default) if default else None
    settings = Settings(**given)
    _check_socket_path(settings.socket_path)
    return settings


def default_models_path(env: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Return the store's folder when MODELS_PATH does not name one: the platform's data folder."""
    return Path(places.models_folder(env, platform))


def parse_size(text: str) -> int:
    """Parse ``512M``, ``2GiB`` or plain bytes, in units of 1024 as Docker does; ``off`` is 0."""
    if text.lower() == "off":
        return 0
    parts = re.fullmatch(rf"({_NUMBER})([kmgt]?)(?:i?b)?", text, re.ASCII | re.IGNORECASE)
    if parts is None:
        raise ValueError("a size such as 512M or 2G, or off")
    return int(float(parts[1]) * 1024 ** " kmgt".index(parts[2].lower() or " "))


_NUMBER = r"\d{1,18}(?:\.\d{1,18})?"


def find_stated(
    env: Mapping[str, str], flags: Mapping[str, Any], file: File = NO_FILE
) -> list[Stated]:
    """List what is said of settings, the strongest word of each; RunnerError for an unknown one."""
    texts = _file_texts(file)
    return [
        stated
        for option in OPTIONS
        if (stated := next(_words(option, env, flags, file.path, texts), None))
    ]


def _words(
    option: Option,
    env: Mapping[str, str],
    flags: Mapping[str, Any],
    path: str,
    texts: Mapping[str, str],
) -> Iterator[Stated]:
    """Yield what is said of one setting, the strongest word first."""
    flag = flags.get(option.name)
    if flag is not None and (text := clean(str(flag))):
        yield Stated(option, text, f"--{flag_name(option.name)}")
    for variable in option.variables:
        if text := clean(env.get(variable)):
            yield Stated(option, text, variable)
    if text := texts.get(flag_name(option.name), ""):
        yield Stated(option, text, path)


def _file_texts(file: File) -> dict[str, str]:
    """Return a file's members as a command line would give them."""
    known = {flag_name(option.name) for option in OPTIONS if not option.is_secret}
    texts = {}
    for name, value in file.members.items():
        if name not in known:
            raise RunnerError(
                Kind.USAGE,
                f"{file.path}: there is no setting {name!r}",
                hint="python -m runner config prints all of them",
            )
        match value:
            case bool():
                texts[name] = "on" if value else "off"
            case str() | int() | float():
                texts[name] = clean(str(value))
            case list() if all(isinstance(item, str) for item in value):
                texts[name] = ",".join(value)
            case _:
                raise RunnerError(
                    Kind.USAGE,
                    f"{file.path}: {name}: expected a text, a number, true, false "
                    f"or a list of texts, got {value!r}",
                )
    return texts


def flag_name(field: str) -> str:
    """Return the flag of a field, without its leading hyphens."""
    return _FLAG_NAMES.get(field, field.replace("_", "-"))


_FLAG_NAMES = {
    "socket_path": "socket",
    "shared_paths": "models-path-ro",
    "api_keys_file": "api-key-file",
    "keep_alive_s": "keep-alive",
    "model_aliases": "model-alias",
    "prefix_ram_bytes": "prefix-ram",
    "prefix_disk_bytes": "prefix-disk",
    "registry_mirrors": "registry-mirror",
    "insecure_registries": "insecure-registry",
}


def _parse(stated: Stated) -> Any:
    option, text, source = stated
    try:
        return option.parse(text)
    except ValueError as expected:
        got = "" if option.is_secret else f", got {text!r}"
        name = (
            source
            if source.startswith("--") or source in option.variables
            else (f"{source}: {flag_name(option.name)}")
        )
        raise RunnerError(Kind.USAGE, f"{name}: expected {expected}{got}") from None


def _expand_home(path: Path, env: Mapping[str, str]) -> Path:
    home = clean(env.get("HOME"))
    return Path(home, *path.parts[1:]) if home and path.parts[:1] == ("~",) else path


def _check_socket_path(path: Path | None) -> None:
    if path is not None and len(str(path).encode()) > places.MAX_SOCKET_PATH_BYTES:
        raise RunnerError(
            Kind.USAGE,
            f"the unix socket's path has more than {places.MAX_SOCKET_PATH_BYTES} bytes: {path}",
            hint="give a shorter one with --socket PATH, or none with --socket off",
        )


def _parse_switch(text: str) -> bool:
    word = text.lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError("on or off")


def _parse_socket(text: str) -> Path | None:
    return None if text.lower() == "off" else Path(text)


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _parse_aliases(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(map(_parse_alias, _parse_list(text)))


def _parse_alias(text: str) -> tuple[str, str]:
    pattern, _, model = (part.strip() for part in text.partition("="))
    if not pattern or not model:
        raise ValueError("NAME=MODEL,NAME=MODEL such as claude-*=ai/smollm2")
    return pattern, model


def _parse_containers(text: str) -> tuple[str, ...]:
    words = {"on": CONTAINER_BRIDGES, "off": ()}
    return words[text.lower()] if text.lower() in words else _parse_list(text)


def _parse_seconds(text: str) -> float:
    seconds = parse_duration(text)
    if not seconds:
        raise ValueError("a time above zero such as 30s or 5m")
    return seconds


def _count(low: int, high: int = 2**31 - 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        is_number = re.fullmatch("-?[0-9]{1,18}", text)
        if not (is_number and low <= int(text) <= high):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(" or ".join(words))
        return text.lower()

    return parse


def _parse_level(text: str) -> str:
    return _one_of(*LOG_LEVELS)("warning" if text.lower() == "warn" else text)


OPTIONS: tuple[Option, ...] = (
    Option("host", ("RUNNER_HOST",), str),
    Option("port", ("MODEL_RUNNER_PORT",), parse_port),
    Option("socket_path", ("MODEL_RUNNER_SOCK",), _parse_socket),
    Option("models_path", ("MODELS_PATH",), Path),
    Option("shared_paths", ("RUNNER_SHARED_MODELS",), _parse_list),
    Option("api_keys_file", ("RUNNER_API_KEY_FILE",), Path),
    Option("api_keys", ("RUNNER_API_KEY",), lambda text: (parse_key(text),), is_secret=True),
    Option("insecure", ("RUNNER_INSECURE",), _parse_switch),
    Option("containers", ("RUNNER_CONTAINERS",), _parse_containers),
    Option("allowed_hosts", ("RUNNER_ALLOWED_HOSTS",), _parse_list),
    Option("allowed_origins", ("RUNNER_ORIGINS", "DMR_ORIGINS"), _parse_list),
    Option("log_level", ("RUNNER_LOG_LEVEL", "LOG_LEVEL"), _parse_level),
    Option("log_format", ("RUNNER_LOG_FORMAT",), _one_of(*LOG_FORMATS)),
    Option("keep_alive_s", ("RUNNER_KEEP_ALIVE",), parse_keep_alive),
    Option("max_loaded_models", ("RUNNER_MAX_LOADED_MODELS",), _count(1)),
    Option("model_aliases", ("RUNNER_MODEL_ALIASES",), _parse_aliases),
    Option("record_requests", ("RUNNER_RECORD_REQUESTS",), _count(0)),
    Option("remote_media", ("RUNNER_REMOTE_MEDIA",), _parse_switch),
    Option("max_transfers", ("RUNNER_MAX_TRANSFERS",), _count(1)),
    Option("registry_mirrors", (), str),
    Option("insecure_registries", (), str),
    Option("offline", (), str),
    Option("context_size", ("RUNNER_CONTEXT_SIZE",), _count(1)),
    Option("parallel", ("RUNNER_PARALLEL",), _count(1, 128)),
    Option("threads", ("RUNNER_THREADS",), _count(1, 512)),
    Option("threads_batch", ("RUNNER_THREADS_BATCH",), _count(1, 512)),
    Option("batch_size", ("RUNNER_BATCH_SIZE",), _count(2, 65_536)),
    Option("ubatch_size", ("RUNNER_UBATCH_SIZE",), _count(1, 65_536)),
    Option("flash_attention", ("RUNNER_FLASH_ATTENTION",), _parse_switch),
    Option("kv_layout", ("RUNNER_KV_LAYOUT",), _one_of(*KV_LAYOUTS)),
    Option("kv_type", ("RUNNER_KV_TYPE",), _one_of(*KV_TYPES)),
    Option("gpu_layers", ("RUNNER_GPU_LAYERS",), _count(-1)),
    Option("target_gap_ms", ("RUNNER_TARGET_GAP_MS",), _count(1)),
    Option("max_queue", ("RUNNER_MAX_QUEUE",), _count(0)),
    Option("speculation", ("RUNNER_SPECULATION",), _parse_switch),
    Option("draft_model", ("RUNNER_DRAFT_MODEL",), str),
    Option("prefix_ram_bytes", ("RUNNER_PREFIX_RAM",), parse_size),
    Option("prefix_disk_bytes", ("RUNNER_PREFIX_DISK",), parse_size),
    Option("tuning", ("RUNNER_TUNING",), _parse_switch),
    Option("max_connections", ("RUNNER_MAX_CONNECTIONS",), _count(1)),
    Option("max_connections_per_peer", ("RUNNER_MAX_CONNECTIONS_PER_PEER",), _count(1)),
    Option("max_body_bytes", ("RUNNER_MAX_BODY_BYTES",), _count(1, 2**40)),
    Option("head_s", ("RUNNER_HEAD_TIMEOUT",), _parse_seconds),
    Option("idle_s", ("RUNNER_IDLE_TIMEOUT",), _parse_seconds),
    Option("body_s", ("RUNNER_BODY_TIMEOUT",), _parse_seconds),
    Option("body_floor_bytes_per_s", ("RUNNER_BODY_FLOOR",), _count(0)),
    Option("write_stall_s", ("RUNNER_WRITE_STALL_TIMEOUT",), _parse_seconds),
    Option("heartbeat_s", ("RUNNER_HEARTBEAT",), _parse_seconds),
    Option("grace_s", ("RUNNER_GRACE",), _parse_seconds),
)
