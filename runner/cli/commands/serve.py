"""``serve``: the daemon in the foreground. The only command that imports it."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from runner import daemon, logs
from runner.cli.console import Console
from runner.cli.endpoint import State, parse_state, render_state
from runner.cli.settings import read_settings
from runner.config import KV_LAYOUTS, LOG_FORMATS, LOG_LEVELS, Settings
from runner.errors import Kind, RunnerError
from runner.places import DEFAULT_HOST, DEFAULT_PORT

LOG = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments. Their values are read by config, with the environment's."""
    for flag, field, metavar, text in (
        ("--host", "host", "ADDRESS", f"address to listen on (default: {DEFAULT_HOST})"),
        ("--port", "port", "N", f"port to listen on (default: {DEFAULT_PORT}; 0: any)"),
        ("--socket", "socket_path", "PATH", "unix socket to listen on, or off"),
        ("--models-path", "models_path", "DIR", "where the models are (default: $MODELS_PATH)"),
        ("--models-path-ro", "shared_paths", "DIRS", "stores that are only read, with commas"),
        ("--api-key-file", "api_keys_file", "FILE", "keys that clients must show"),
        ("--log-level", "log_level", "LEVEL", ", ".join(LOG_LEVELS)),
        ("--log-format", "log_format", "FORMAT", f"of stderr: {' or '.join(LOG_FORMATS)}"),
        ("--keep-alive", "keep_alive_s", "TIME", "idle time until a model is unloaded: 5m, -1"),
        (
            "--model-alias",
            "model_aliases",
            "NAME=MODEL",
            "what names stand for: claude-*=ai/smollm2",
        ),
        (
            "--record-requests",
            "record_requests",
            "N",
            "keep the last N of each model: see requests",
        ),
        ("--remote-media", "remote_media", "on|off", "fetch images that clients name by URL"),
        ("--max-transfers", "max_transfers", "N", "pulls and pushes at a time (default: 4)"),
        ("--registry-mirror", "registry_mirrors", "URL", "asked before Docker Hub: URL,URL"),
        ("--insecure-registry", "insecure_registries", "HOST", "plain HTTP may do: HOST:PORT,HOST"),
        ("--context-size", "context_size", "N", "tokens that one conversation may hold"),
        ("--parallel", "parallel", "N", "answers computed together"),
        ("--threads", "threads", "N", "threads of the engine"),
        ("--threads-batch", "threads_batch", "N", "threads for prompts and for many answers"),
        ("--flash-attention", "flash_attention", "on|off", "attention kernel"),
        ("--kv-layout", "kv_layout", "LAYOUT", " or ".join(KV_LAYOUTS)),
        ("--speculation", "speculation", "on|off", "guess tokens, and check them in one step"),
        ("--draft-model", "draft_model", "MODEL", "small stored model that guesses"),
        ("--prefix-ram", "prefix_ram_bytes", "SIZE", "memory for prefixes without a slot: 1G, off"),
        ("--prefix-disk", "prefix_disk_bytes", "SIZE", "disk for prefixes of past runs: 4G, off"),
        ("--tuning", "tuning", "on|off", "measure idle models, and use what was measured"),
    ):
        parser.add_argument(flag, dest=field, metavar=metavar, help=text)
    parser.add_argument(
        "--insecure",
        action="store_const",
        const="on",
        help="let everybody in who reaches an address that is not loopback",
    )
    parser.add_argument(
        "--offline", action="store_const", const="on", help="reach for no registry and no hub"
    )
    parser.add_argument(
        "--containers",
        nargs="?",
        const="on",
        metavar="WHERE",
        help="listen for containers, too: on Docker's and Podman's bridge, or on these interfaces "
        "or addresses, with commas; without a key they may use models and change nothing",
    )
    parser.add_argument("--background", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace, console: Console) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    settings = read_settings(console.env, vars(args))
    settings = settings._replace(models_path=settings.models_path.absolute())
    handlers = list(_open_handlers(settings, console, in_background=args.background))
    # Whoever reads JSON from stderr must find nothing else there.
    say = LOG.info if args.background or settings.log_format == "json" else console.say
    with logs.open_logs(settings.log_level, handlers):
        try:
            daemon.serve(settings, partial(_announce, settings, say))
        finally:
            _remove_state(settings.state_file)
    return 0


def _open_handlers(
    settings: Settings, console: Console, *, in_background: bool
) -> Iterator[logging.Handler]:
    """Log to the file, and in the foreground to stderr: there, a lost file is no reason to stop."""
    if not in_background:
        stderr = logging.StreamHandler(console.err)
        stderr.setFormatter(_FORMATTERS[settings.log_format]())
        yield stderr
    try:
        yield logs.open_file(settings.log_path)
    except OSError as error:
        problem = f"cannot write the log {settings.log_path}: {error.strerror}"
        if in_background:
            raise RunnerError(Kind.USAGE, problem) from None
        console.say(f"{problem}; it goes to stderr alone")


_FORMATTERS = {"text": logs.LineFormatter, "json": logs.JsonFormatter}


def _announce(settings: Settings, say: Callable[[str], None], addresses: daemon.Addresses) -> None:
    """Tell other processes that the daemon listens, by its state file, and then people."""
    path = settings.state_file
    scratch = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = State(os.getpid(), tuple(addresses.own), tuple(addresses.bridges))
        scratch.write_text(render_state(state), encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        say(f"cannot write {path}: {error.strerror}; clients look at the default address")
    say(f"Listening on {' and '.join(addresses.own)} (Ctrl-C to stop)")
    if addresses.bridges:
        say(f"Containers reach it at {' and '.join(addresses.bridges)}")


def _remove_state(path: Path) -> None:
    """Remove the state file, unless another daemon has written its own since."""
    with suppress(OSError, ValueError):
        if parse_state(path.read_text(encoding="utf-8")).pid == os.getpid():
            path.unlink()
