"""Docker Model Runner's flags of ``install-runner`` and its kin, as settings of our server.

Each becomes the variable that the server reads anyway, so that there is one grammar of settings.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from runner.cli.parser import refuse
from runner.cli.settings import FILE_VARIABLE
from runner.config import OPTIONS
from runner.places import clean, parse_port

Variables = dict[str, str]

_BUILT = "what computes is chosen when the library is built: python build_native.py --backend cuda"
_PROXIED = "the server speaks plain HTTP: put a reverse proxy with TLS before it"
_REFUSED = {
    "--proxy-cert": "the system's certificates count, and those that SSL_CERT_FILE names",
    "--tls": _PROXIED,
    "--tls-port": _PROXIED,
    "--tls-cert": _PROXIED,
    "--tls-key": _PROXIED,
    "--llama-server-version": "the engine is built from pinned sources: python build_native.py",
}


# What registries are reached by (runner.registry.network), less logins and proxies, which may hold
# passwords; a client sends its own token of Hugging Face.
_REGISTRIES = (
    "DEFAULT_REGISTRY",
    "HF_ENDPOINT",
    "INSECURE_REGISTRY",
    "MODEL_RUNNER_REGISTRY_MIRRORS",
    "RUNNER_INSECURE_REGISTRIES",
    "RUNNER_OFFLINE",
    "RUNNER_STALL_TIMEOUT",
    "RUNNER_TRUSTED_HOSTS",
)

# What systemd refuses in a variable, or XML in a text: controls less tab and newline, halves of
# characters (bytes of a path that are no UTF-8), and what Unicode says is none.
_UNWRITABLE = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Kept(NamedTuple):
    """What a service gets of a shell's settings, and the names of those that it cannot have."""

    variables: Variables
    secret: list[str]
    unwritable: list[str]  # hold what no file of a service can


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--port", type=_port, metavar="N", help="port to listen on")
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on")
    parser.add_argument("--gpu", type=_gpu, metavar="auto|none", help="whether to use a GPU")
    parser.add_argument("--debug", action="store_true", help="log more")
    parser.add_argument("--backend", choices=("llama.cpp",), help="the one engine here")
    parser.add_argument("--do-not-track", action="store_true", help="nothing is tracked anyway")
    for flag, why in _REFUSED.items():
        refuse(parser, flag, why)


def variables_of(args: argparse.Namespace) -> Variables:
    """Return the variables that say the same."""
    stated = {
        "MODEL_RUNNER_PORT": args.port,
        "RUNNER_HOST": args.host,
        "RUNNER_GPU_LAYERS": "0" if args.gpu == "none" else None,
        "RUNNER_LOG_LEVEL": "debug" if args.debug else None,
    }
    return {name: value for name, value in stated.items() if value is not None}


def kept_variables(env: Mapping[str, str]) -> Kept:
    """Return the settings a shell states, as a service is to have them.

    A service starts in another folder: paths are made absolute. Secrets stay out, as what a
    manager of services is told can be read.
    """
    secret = {name for option in OPTIONS if option.is_secret for name in option.variables}
    ours = [name for option in OPTIONS for name in option.variables]
    stated = {
        name: _ABSOLUTE[name](text) if name in _ABSOLUTE else text
        for name in (*ours, *_REGISTRIES, FILE_VARIABLE)
        if (text := clean(env.get(name)))
    }
    open_ones = {name: text for name, text in stated.items() if name not in secret}
    unwritable = [name for name, text in open_ones.items() if _UNWRITABLE.search(text)]
    return Kept(
        variables={name: text for name, text in open_ones.items() if name not in unwritable},
        secret=[name for name in stated if name in secret],
        unwritable=unwritable,
    )


def _absolute(path: str) -> str:
    is_of_home = Path(path).parts[:1] == ("~",)
    return path if is_of_home else str(Path(path).absolute())


def _absolute_or_off(path: str) -> str:
    return path if path.lower() == "off" else _absolute(path)


def _each_absolute(paths: str) -> str:
    return ",".join(_absolute(path.strip()) for path in paths.split(",") if path.strip())


_ABSOLUTE: Mapping[str, Callable[[str], str]] = {
    "MODELS_PATH": _absolute,
    "RUNNER_API_KEY_FILE": _absolute,
    "RUNNER_SHARED_MODELS": _each_absolute,
    "MODEL_RUNNER_SOCK": _absolute_or_off,
    FILE_VARIABLE: _absolute_or_off,
}


def _port(text: str) -> str:
    try:
        return str(parse_port(text))
    except ValueError as expected:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None


def _gpu(text: str) -> str:
    if text not in ("auto", "none"):
        raise argparse.ArgumentTypeError(f"expected auto or none, got {text!r}; {_BUILT}")
    return text
