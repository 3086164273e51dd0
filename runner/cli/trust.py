"""TLS to the server, by Docker Model Runner's variables and contexts, and whose word is believed.

A server of ours speaks plain HTTP; TLS is that of a reverse proxy before it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.errors import Kind, RunnerError
from runner.places import clean

if TYPE_CHECKING:
    from ssl import SSLContext

TLS_VARIABLE = "MODEL_RUNNER_TLS"
SKIP_VARIABLE = "MODEL_RUNNER_TLS_SKIP_VERIFY"
CA_VARIABLE = "MODEL_RUNNER_TLS_CA_CERT"


class Trust(NamedTuple):
    """Whose certificates are believed: those of the system's authorities, unless told otherwise."""

    ca_file: str = ""  # PEM: believe these authorities alone
    skips_verify: bool = False  # believe anybody


class Wish(NamedTuple):
    """What is asked for a connection."""

    is_tls: bool = False  # also where the address says http://
    trust: Trust = Trust()


def read_wish(env: Mapping[str, str], members: Any = None) -> Wish:
    """Return what a context's ``tls`` asks, each member overridden by its variable.

    Raises RunnerError(USAGE) for a variable that is neither true nor false.
    """
    kept = members if isinstance(members, dict) else {}
    return Wish(
        is_tls=_read_switch(env, TLS_VARIABLE, default=kept.get("enabled") is True),
        trust=Trust(
            ca_file=clean(env.get(CA_VARIABLE)) or str(kept.get("caCert") or ""),
            skips_verify=_read_switch(env, SKIP_VARIABLE, default=kept.get("skipVerify") is True),
        ),
    )


def secure(connected: socket.socket, host: str, trust: Trust) -> socket.socket:
    """Return the socket under TLS; one that cannot be is closed.

    Raises RunnerError: USAGE for a file that holds no authorities, UNAVAILABLE for a server that is
    not believed or speaks no TLS. OSError is what else breaks a connection.
    """
    import ssl  # costs each command 10 ms, and our own server has no TLS

    try:
        return _open_context(trust).wrap_socket(connected, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        connected.close()
        raise RunnerError(
            Kind.UNAVAILABLE,
            f"the certificate of {host} is not trusted: {error.verify_message}",
            hint="authorities of your own are named by SSL_CERT_FILE, "
            f"for a server of ours alone by {CA_VARIABLE}",
        ) from None
    except ssl.SSLError as error:
        connected.close()
        raise RunnerError(
            Kind.UNAVAILABLE,
            f"no TLS with {host}: {error.reason or error}",
            hint="a server without TLS is named http://HOST:PORT",
        ) from None
    except BaseException:
        connected.close()
        raise


def _open_context(trust: Trust) -> SSLContext:
    import ssl

    try:
        context = ssl.create_default_context(cafile=trust.ca_file or None)
    except OSError as error:  # an SSLError, too
        problem = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise RunnerError(
            Kind.USAGE,
            f"{trust.ca_file}: {problem}",
            hint=f"{CA_VARIABLE}, and a context's --tls-ca-cert, name a PEM file",
        ) from None
    if trust.skips_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _read_switch(env: Mapping[str, str], variable: str, *, default: bool) -> bool:
    text = clean(env.get(variable)).lower()
    if text in ("", "true", "false"):
        return text == "true" if text else default
    raise RunnerError(Kind.USAGE, f"{variable}: expected true or false, got {text!r}")
