"""Other servers than ours: what ``--openaiurl`` names, and what servers of tools share with it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from runner import http
from runner.cli.endpoint import Endpoint, parse_endpoint
from runner.cli.remote import Remote, read_error, read_key
from runner.errors import Kind, RunnerError

FLAG = "--openaiurl"
KEY_VARIABLE = "OPENAI_API_KEY"  # never ours: that is for our server alone

_OURS = "/v1"  # what stands before OpenAI's routes here


class Foreign(Remote):
    """A server of others. It is never left for another, whatever it answers."""

    source = FLAG  # what named it
    key_variable = KEY_VARIABLE
    absent_hint = f"{FLAG} takes the address before /models and /chat/completions"

    def __init__(self, endpoint: Endpoint, path: str, *, api_key: str) -> None:
        super().__init__([endpoint], api_key=api_key)
        self._path = path

    def _target(self, path: str) -> str:
        """Return where one of OpenAI's routes is, which are asked for as ours: below ``/v1``."""
        assert path.startswith(f"{_OURS}/"), path
        return self._path + path.removeprefix(_OURS)

    def _absent(self, cause: OSError) -> RunnerError:
        return RunnerError(
            Kind.UNAVAILABLE,
            f"no server answers at {self.endpoint}: {cause.strerror or cause}",
            hint=self.absent_hint,
        )

    def _refused(self, head: http.Response, content: bytes) -> RunnerError:
        if head.status < 400:
            where = head.headers.get("location") or "nowhere"
            message = f"{self.endpoint} answers {head.status} and points to {where}"
            return RunnerError(
                Kind.UNAVAILABLE, message, hint=f"give that address to {self.source}"
            )
        status = head.status
        error = read_error(status, content)
        hint = f"set {self.key_variable} to a key of that server"
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
    endpoint, path = parse_url(url, FLAG)
    return Foreign(endpoint, path.rstrip("/"), api_key=read_key(env, KEY_VARIABLE))


def parse_url(url: str, source: str, *, may_have_query: bool = False) -> tuple[Endpoint, str]:
    """Return who and what a URL names: an address, and a path that is empty or begins with ``/``.

    Raises RunnerError(USAGE), naming ``source``, for what is no ``http(s)://HOST[:PORT][/PATH]``.
    """
    scheme, _, rest = url.strip().partition("://")
    authority, slash, path = rest.partition("/")
    forbidden = set("# " if may_have_query else "# ?")
    is_path = path.isascii() and path.isprintable() and not forbidden & set(path)
    if is_path and scheme in ("http", "https"):
        with suppress(RunnerError):  # its words are for addresses that may also be files
            return parse_endpoint(f"{scheme}://{authority}", source), slash + path
    expected = f"http(s)://HOST[:PORT][/PATH{'[?QUERY]' if may_have_query else ''}]"
    raise RunnerError(Kind.USAGE, f"{source}: expected {expected}, got {url!r}")
