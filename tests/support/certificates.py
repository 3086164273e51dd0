"""Certificates for tests, made by the ``openssl`` program: an authority, and what it signs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


def make_authority(folder: Path, name: str = "test authority") -> Pair:
    """Make a self-signed authority."""
    pair = Pair(folder / f"{_slug(name)}.crt", folder / f"{_slug(name)}.key")
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", f"/CN={name}",
        "-addext", "keyUsage=critical,keyCertSign,digitalSignature",
        "-keyout", str(pair.key), "-out", str(pair.certificate),
    )  # fmt: skip
    return pair


def make_server_certificate(
    folder: Path,
    authority: Pair,
    *,
    name: str = "server",
    subjects: Sequence[str] = ("IP:127.0.0.1", "DNS:localhost"),
    valid: tuple[str, str] | None = None,
) -> Pair:
    """Sign a certificate for these subjects.

    ``valid``: when it begins and ends, each as ``YYYYMMDDHHMMSSZ``; None: from now, for ten years.
    """
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    request, extensions, database = (folder / f"{name}.{end}" for end in ("csr", "ext", "db"))
    extensions.write_text(
        f"subjectAltName={','.join(subjects)}\nextendedKeyUsage=serverAuth,clientAuth\n"
    )
    _openssl(
        "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
        "-keyout", str(pair.key), "-out", str(request),
    )  # fmt: skip
    # `openssl ca` is the form of 3.0 that takes both dates.
    database.mkdir()
    (database / "index.txt").touch()
    configuration = database / "ca.cnf"
    configuration.write_text(
        "[ca]\ndefault_ca=test\n[test]\n"
        f"database={database}/index.txt\nnew_certs_dir={database}\nserial={database}/serial\n"
        "default_md=sha256\npolicy=any\nrand_serial=yes\n[any]\ncommonName=supplied\n"
    )
    dates = ("-days", "3650") if valid is None else ("-startdate", valid[0], "-enddate", valid[1])
    _openssl(
        "ca", "-batch", "-notext", "-config", str(configuration), "-in", str(request),
        "-out", str(pair.certificate), "-cert", str(authority.certificate),
        "-keyfile", str(authority.key), "-extfile", str(extensions), *dates,
    )  # fmt: skip
    return pair


class Signer:
    """Signs JSON web tokens with RS256, the certificate in the ``x5c`` header."""

    def __init__(self, pair: Pair) -> None:
        text = _openssl("pkey", "-in", str(pair.key), "-text", "-noout").decode()
        self._modulus = _number(text, "modulus")
        self._exponent = _number(text, "privateExponent")
        der = _openssl("x509", "-in", str(pair.certificate), "-outform", "DER")
        self._head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}

    def token(self, claims: dict[str, object], *, lifetime_s: int) -> str:
        now = int(time.time())
        body = {"exp": now + lifetime_s, "nbf": now - 3600, "iat": now - 3600} | claims
        text = ".".join(_url64(json.dumps(part).encode()) for part in (self._head, body))
        return f"{text}.{_url64(self._sign(text.encode()))}"

    def _sign(self, data: bytes) -> bytes:
        """RSASSA-PKCS1-v1_5 with SHA-256, RFC 8017 section 8.2.1."""
        info = bytes.fromhex("3031300d060960864801650304020105000420")
        digest = info + hashlib.sha256(data).digest()
        length = (self._modulus.bit_length() + 7) // 8
        padded = b"\x00\x01" + b"\xff" * (length - len(digest) - 3) + b"\x00" + digest
        signature = pow(int.from_bytes(padded), self._exponent, self._modulus)
        return signature.to_bytes(length)


def _number(text: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+((?:[0-9a-f]{{2}}:?\s*)+)", text, re.MULTILINE)
    assert match is not None, f"no {name} in the key"
    return int(re.sub(r"[:\s]", "", match[1]), 16)


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _slug(name: str) -> str:
    return name.replace(" ", "-")


def _openssl(*arguments: str) -> bytes:
    try:
        run = subprocess.run(["openssl", *arguments], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("the openssl program is not installed: apt-get install openssl")
    except subprocess.CalledProcessError as error:
        raise AssertionError(error.stderr.decode(errors="replace")) from error
    return run.stdout
