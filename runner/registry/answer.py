"""An answer of a server: its head, and its body as it arrives, bounded and watched for stalls."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import requests

from runner.errors import RunnerError
from runner.oci.errcode import MAX_BODY_BYTES
from runner.registry.address import Reach
from runner.registry.failures import Cause, Route, broken, stalled, unavailable
from runner.registry.reception import Reception

MIN_BYTES_PER_STALL = 1024  # fewer than this in ``stall_s`` is no progress
HTML = "text/html"


class Peer(NamedTuple):
    """Who answered: its address where it is known, and how far away that is."""

    address: str | None
    reach: Reach


class Answer:
    """One answer. Its body can be read once; ``headers`` ignores the case of names."""

    def __init__(
        self, response: requests.Response, route: Route, peer: Peer, *, stall_s: float
    ) -> None:
        self._response = response
        self._reception = Reception(response.raw)
        self.peer = peer
        self._stall_s = stall_s
        self.route = route
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url = response.url  # after redirects
        self.received_at_s = time.time()

    @property
    def media_type(self) -> str:
        """Content-Type without parameters, in lower case; empty where there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def size_bytes(self) -> int | None:
        """Content-Length; None where there is none, or no number."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives, in pieces of up to about 1 MiB.

        Raises RunnerError(REGISTRY_UNAVAILABLE) for a stall, a break, or a body that ends before
        its Content-Length. A server that drips a few bytes now and then is stalled too.
        """
        received, waited_s = 0, 0.0
        while True:
            began_s = time.monotonic()
            chunk = self._receive()
            if not chunk:
                return
            received += len(chunk)
            # Only the server's time counts: whoever takes the chunks may take theirs.
            waited_s += time.monotonic() - began_s
            if waited_s >= self._stall_s:
                if received < MIN_BYTES_PER_STALL:
                    raise stalled(self.route, self._stall_s)
                received, waited_s = 0, 0.0
            yield chunk

    def read(self, limit_bytes: int) -> bytes:
        """Read the whole body; raise RunnerError(REGISTRY_UNAVAILABLE) when it is larger."""
        parts, size = [], 0
        for chunk in self.chunks():
            size += len(chunk)
            if size > limit_bytes:
                raise unavailable(
                    Cause.ANSWER, f"{self.route} sent more than {limit_bytes} bytes, unasked"
                )
            parts.append(chunk)
        return b"".join(parts)

    def read_prefix(self) -> bytes:
        """Read the body of an error, up to a bound; what cannot be read counts as empty."""
        kept = b""
        try:
            for chunk in self.chunks():
                kept += chunk
                if len(kept) >= MAX_BODY_BYTES:
                    break
        except RunnerError:
            pass
        return kept[:MAX_BODY_BYTES]

    def read_json(self, limit_bytes: int) -> Any:
        """Read a JSON document; raise RunnerError(REGISTRY_UNAVAILABLE) for anything else."""
        raw = self.read(limit_bytes)
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            what = "a page for people" if self.media_type == HTML else "something"
            raise unavailable(
                Cause.ANSWER,
                f"{self.route} sent {what} where JSON was expected",
                "a proxy or a portal may stand in between; open the address in a browser",
            ) from error

    def close(self) -> None:
        """Give the connection back, or end it when there is body left."""
        self._response.close()

    def _receive(self) -> bytes:
        try:
            return self._reception.receive()
        except TimeoutError as error:
            raise stalled(self.route, self._stall_s) from error
        except (OSError, http.client.HTTPException) as error:
            raise broken(self.route, error) from error
