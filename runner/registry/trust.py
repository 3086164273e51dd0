"""Whose certificates are believed: the system's authorities, the user's, and certs.d of a host."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import certifi

from runner.errors import Kind, RunnerError
from runner.registry.address import Origin
from runner.registry.network import Network


def tls_context(network: Network, origin: Origin) -> ssl.SSLContext:
    """Make what a TLS connection to a server is checked by.

    Raises RunnerError(REGISTRY_UNAVAILABLE) for a certificate file that cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies, and checks the host's name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if is_insecure(network, origin):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _load_authorities(context, network)
    for folder in host_folders(network, origin):
        _load_folder(context, folder)
    return context


def trust_stamp(network: Network, origin: Origin) -> tuple[object, ...]:
    """Return what changes when a file does that :func:`tls_context` reads for a server."""
    if origin.scheme != "https":
        return ()
    files = [path for folder in host_folders(network, origin) for path in sorted(folder.iterdir())]
    if network.ca_file is not None:
        files.append(network.ca_file)
    return tuple((str(path), path.stat().st_mtime_ns) for path in files if path.exists())


def is_insecure(network: Network, origin: Origin) -> bool:
    """Tell whether the user allowed this one host to be anybody."""
    return bool({origin.authority, f"{origin.host}:{origin.port}"} & network.insecure_registries)


def host_folders(network: Network, origin: Origin) -> Iterator[Path]:
    """Yield the folders of certs.d that exist for a server, most particular first."""
    for parent in network.certs_folders:
        for name in dict.fromkeys((f"{origin.host}:{origin.port}", origin.authority)):
            if (folder := parent / name).is_dir():
                yield folder


def _load_authorities(context: ssl.SSLContext, network: Network) -> None:
    if network.ca_file is not None or network.ca_folder is not None:
        # As OpenSSL, curl and Go read these variables: in place of the system's, not in addition.
        _load(context, network.ca_file, network.ca_folder)
        return
    context.load_default_certs()
    paths = ssl.get_default_verify_paths()
    if not (context.cert_store_stats()["x509_ca"] or paths.capath):
        _load(context, Path(certifi.where()), None)  # a Python that knows no system's authorities


def _load_folder(context: ssl.SSLContext, folder: Path) -> None:
    """Load ``*.crt`` as authorities, and ``X.cert`` with ``X.key`` as who we are."""
    for path in sorted(folder.glob("*.crt")):
        _load(context, path, None)
    for path in sorted(folder.glob("*.cert")):
        try:
            context.load_cert_chain(path, path.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            raise _unreadable(path) from error


def _load(context: ssl.SSLContext, file: Path | None, folder: Path | None) -> None:
    try:
        context.load_verify_locations(file, folder)
    except (OSError, ssl.SSLError) as error:
        raise _unreadable(file or folder) from error


def _unreadable(path: Path | None) -> RunnerError:
    return RunnerError(
        Kind.REGISTRY_UNAVAILABLE,
        f"the certificate file {path} cannot be used",
        hint="it must be readable and hold certificates in PEM form; see SSL_CERT_FILE and certs.d",
        details={"cause": "trust"},
    )
