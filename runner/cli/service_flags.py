"""Docker Model Runner's flags of ``install-runner`` and its kin, as settings of our server.

Each becomes the variable that the server reads anyway, so that there is one grammar of settings.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

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


def kept_variables(env: Mapping[str, str]) -> tuple[Variables, list[str]]:
    """Return the settings a shell states, as a service is to have them, and the secrets' names.

    A service starts in another folder: paths are made absolute. Secrets stay out, as what a
    manager of services is told can be read.
    """
    kept, secret = {}, []
    for option in OPTIONS:
        for name in option.variables:
            if text := clean(env.get(name)):
                if option.is_secret:
                    secret.append(name)
                else:
                    kept[name] = _absolute(text) if option.parse is Path else text
    kept |= {name: text for name in _REGISTRIES if (text := clean(env.get(name)))}
    if file := clean(env.get(FILE_VARIABLE)):
        kept[FILE_VARIABLE] = file if file.lower() == "off" else _absolute(file)
    return kept, secret


def _absolute(path: str) -> str:
    return path if path.startswith("~") else str(Path(path).absolute())


def _port(text: str) -> str:
    try:
        return str(parse_port(text))
    except ValueError as expected:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None


def _gpu(text: str) -> str:
    if text not in ("auto", "none"):
        raise argparse.ArgumentTypeError(f"expected auto or none, got {text!r}; {_BUILT}")
    return text
