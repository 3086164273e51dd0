"""Credential helpers: the programs ``docker-credential-NAME`` that keep logins, run with care.

Source: the protocol of docker-credential-helpers. The host goes in by stdin, never as an argument.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from runner.errors import Kind, RunnerError
from runner.registry.dockerconfig import Login

TIMEOUT_S = 30.0  # some ask their user, or a cloud
MAX_OUTPUT_BYTES = 64 * 1024

_NAME = re.compile(r"[a-z0-9._-]+")
_NOT_FOUND = "credentials not found in native keychain"  # the protocol's word for "none"
_TOKEN_USER = "<token>"  # the protocol's mark of an identity token


def get_login(helper: str, key: str, env: Mapping[str, str]) -> Login | None:
    """Ask a helper for the login of a registry; None when it has none.

    Raises RunnerError(REGISTRY_DENIED) for a helper that is missing or fails: going on with another
    login, or with none, would not be what its user set up.
    """
    status, output = _run(helper, "get", key.encode(), env)
    if status != 0:
        if output.strip().decode("utf-8", "replace") == _NOT_FOUND:
            return None
        raise _failed(helper, f"failed with status {status}")
    try:
        value = json.loads(output)
        username, secret = value["Username"], value["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _failed(helper, "gave an answer of another form") from error
    if not isinstance(username, str) or not isinstance(secret, str):
        raise _failed(helper, "gave an answer of another form")
    if username == _TOKEN_USER:
        return Login(identity_token=secret)
    return Login(username, secret)


def store_login(helper: str, key: str, login: Login, env: Mapping[str, str]) -> None:
    """Give a helper a login to keep; raise RunnerError(REGISTRY_DENIED)."""
    username = _TOKEN_USER if login.identity_token else login.username
    secret = login.identity_token or login.password
    entry = {"ServerURL": key, "Username": username, "Secret": secret}
    status, _ = _run(helper, "store", json.dumps(entry).encode(), env)
    if status != 0:
        raise _failed(helper, f"failed to store the login with status {status}")


def erase_login(helper: str, key: str, env: Mapping[str, str]) -> None:
    """Let a helper forget a login, if it has one; raise RunnerError(REGISTRY_DENIED)."""
    status, output = _run(helper, "erase", key.encode(), env)
    if status != 0 and output.strip().decode("utf-8", "replace") != _NOT_FOUND:
        raise _failed(helper, f"failed to forget the login with status {status}")


def _run(helper: str, verb: str, given: bytes, env: Mapping[str, str]) -> tuple[int, bytes]:
    """Run a helper without a shell, by its absolute path; return its status and what it wrote."""
    if not _NAME.fullmatch(helper):
        raise _failed(helper[:80], "has a name that no helper has")
    program = find_program(f"docker-credential-{helper}", env.get("PATH", ""))
    if program is None:
        raise _failed(helper, "is not installed")
    with subprocess.Popen(
        [program, verb],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it may repeat secrets
        env=dict(env),
    ) as process:
        end = threading.Timer(TIMEOUT_S, process.kill)
        end.start()
        try:
            output = _converse(process, given)
        finally:
            end.cancel()
            end.join()
    if len(output) > MAX_OUTPUT_BYTES:
        raise _failed(helper, f"wrote more than {MAX_OUTPUT_BYTES} bytes")
    return process.returncode, output


def _converse(process: subprocess.Popen[bytes], given: bytes) -> bytes:
    """Give a program its input; return its output, of which too much ends it."""
    assert process.stdin is not None and process.stdout is not None, "both are pipes"
    with contextlib.suppress(BrokenPipeError), process.stdin:  # one that does not care to read
        process.stdin.write(given)
    output = process.stdout.read(MAX_OUTPUT_BYTES + 1)
    if len(output) > MAX_OUTPUT_BYTES:
        process.kill()
    process.wait()
    return output


def find_program(name: str, path: str) -> str | None:
    """Find a program on absolute folders of PATH only: never in the current folder."""
    folders = [folder for folder in path.split(os.pathsep) if Path(folder).is_absolute()]
    found = shutil.which(name, path=os.pathsep.join(folders)) if folders else None
    return found if found and Path(found).is_absolute() else None


def _failed(helper: str, problem: str) -> RunnerError:
    return RunnerError(
        Kind.REGISTRY_DENIED,
        f"the credential helper docker-credential-{helper} {problem}",
        hint="install it, or take it out of credsStore and credHelpers in Docker's config.json",
    )
