"""Another server with OpenAI's API, which ``--openaiurl`` names in place of ours."""

from __future__ import annotations

from collections.abc import Mapping

from runner import http
from runner.cli.endpoint import Endpoint, parse_endpoint
from runner.cli.remote import Remote, read_error
from runner.errors import Kind, RunnerError
from runner.places import clean

FLAG = "--openaiurl"
KEY_VARIABLE = "OPENAI_API_KEY"  # never ours: that is for our server alone

_OURS = "/v1"  # what stands before OpenAI's routes here


class Foreign(Remote):
    """Asked for OpenAI's routes as ours is, below ``/v1``; they lie below its own path."""

    def __init__(self, endpoint: Endpoint, path: str, *, api_key: str) -> None:
        super().__init__([endpoint], api_key=api_key)
        self._path = path

    def _target(self, path: str) -> str:
        assert path.startswith(f"{_OURS}/"), path
        return self._path + path.removeprefix(_OURS)

    def _absent(self, cause: OSError) -> RunnerError:
        return RunnerError(
            Kind.UNAVAILABLE,
            f"no server answers at {self.endpoint}: {cause.strerror or cause}",
            hint=f"{FLAG} takes the address before /models and /chat/completions",
        )

    def _refused(self, head: http.Response, content: bytes) -> RunnerError:
        if head.status < 400:
            where = head.headers.get("location") or "nowhere"
            message = f"{self.endpoint} answers {head.status} and points to {where}"
            return RunnerError(Kind.UNAVAILABLE, message, hint=f"give that address to {FLAG}")
        status = head.status
        error = read_error(status, content)
        hint = f"set {KEY_VARIABLE} to a key of that server"
        return RunnerError(
            error.kind,
            error.message,
            hint=hint if error.kind is Kind.UNAUTHENTICATED else None,
            param=error.param,
        )

    def _broken(self, reason: str) -> RunnerError:
        return RunnerError(Kind.UNAVAILABLE, f"no whole answer from {self.endpoint}: {reason}")


def connect_foreign(url: str, env: Mapping[str, str]) -> Foreign:
    """Return the server at ``http(s)://HOST[:PORT][/PATH]``; nothing is sent yet.

    Raises RunnerError(USAGE) for what is no such URL.
    """
    scheme, separator, rest = url.strip().partition("://")
    authority, slash, path = rest.partition("/")
    if not separator or scheme not in ("http", "https") or set(path) & set("?# "):
        raise RunnerError(Kind.USAGE, f"{FLAG}: expected http(s)://HOST[:PORT][/PATH], got {url!r}")
    is_tls = scheme == "https"
    has_port = ":" in authority.rpartition("]")[2]
    if is_tls and not has_port:
        authority += ":443"
    endpoint = parse_endpoint(f"http://{authority}", FLAG)._replace(is_tls=is_tls)
    key = clean(env.get(KEY_VARIABLE)) or ""
    return Foreign(endpoint, (slash + path).rstrip("/"), api_key=key)
