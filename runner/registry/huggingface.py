"""A client of Hugging Face: what a repository holds at a commit, and the bytes of its files.

Whatever branch is asked for, all is read at the commit it led to, so a model is never put together
from two. The token goes to the hub alone; large files come from hosts that it redirects to, by
addresses that expire, so each range asks the hub for a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from runner.errors import Kind, RunnerError
from runner.oci.retry import Patience
from runner.registry.address import Origin
from runner.registry.answer import Answer
from runner.registry.blob import Blob, range_headers, read_part
from runner.registry.caller import Caller
from runner.registry.hub_reference import HubReference
from runner.registry.hub_reply import (
    HubFile,
    explain_refusal,
    explain_status,
    parse_next_page,
    parse_revision,
    parse_tree,
)
from runner.registry.listing import Listed, parse_hub_models
from runner.registry.request import Authorization
from runner.registry.stream import OpenRange
from runner.registry.transport import ANYBODY, ONCE, Transport

MAX_REPLY_BYTES = 16 * 1024 * 1024
MAX_PAGES = 64
MAX_FILES = 20_000

# What a search needs to know of each repository, and no more.
_LISTED_FACTS = ("downloads", "likes", "tags", "pipeline_tag", "gated", "private", "gguf")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository's files at one commit."""

    asked: HubReference
    repository: str  # as it is called today
    commit: str
    files: tuple[HubFile, ...]


class HuggingFace:
    """The hub that ``transport.network`` names. Thread-safe.

    A caller's bearer token takes the place of the network's ``hf_token``. Methods raise
    RunnerError: MODEL_NOT_FOUND, REGISTRY_DENIED (a gate, a refused token), RATE_LIMITED,
    REGISTRY_UNAVAILABLE.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._endpoint = transport.network.hf_endpoint
        self._origin = Origin.of(self._endpoint)

    def survey(
        self, asked: HubReference, *, caller: Caller = ANYBODY, patience: Patience | None = None
    ) -> Snapshot:
        """Find the commit that is asked for, and list its files."""
        revision = quote(asked.revision or "main", safe="")
        url = f"{self._endpoint}/api/models/{asked.repository}/revision/{revision}"
        with self._get(url, asked, caller, patience) as answer:
            found = parse_revision(answer.read(MAX_REPLY_BYTES), asked)
        files = self._list_files(found.repository, found.commit, asked, caller, patience)
        return Snapshot(asked, found.repository, found.commit, files)

    def list_files(self, repository: str) -> tuple[HubFile, ...]:
        """List the files of the branch main, in one try."""
        asked = HubReference.parse(f"hf.co/{repository}")
        return self._list_files(repository, "main", asked, ANYBODY, ONCE)

    def open_range(
        self, snapshot: Snapshot, file: HubFile, *, caller: Caller = ANYBODY
    ) -> OpenRange:
        """Return what opens ranges of a file; their bytes are unverified."""
        path = quote(file.path)
        url = f"{self._endpoint}/{snapshot.repository}/resolve/{snapshot.commit}/{path}"

        @contextmanager
        def open_it(start: int, stop: int | None) -> Iterator[Blob]:
            headers = range_headers(start, stop)
            with self._get(url, snapshot.asked, caller, None, headers) as answer:
                if answer.status == 206:
                    yield read_part(answer, size_bytes=file.size_bytes, what=file.path)
                else:
                    yield Blob(0, answer.size_bytes, answer)

        return open_it

    def find_models(self, term: str, *, limit: int) -> tuple[Listed, ...]:
        """List GGUF repositories by downloads, in one try."""
        query = [("apps", "llama.cpp"), ("sort", "downloads"), ("direction", "-1")]
        query += [("limit", str(limit)), *(("expand", fact) for fact in _LISTED_FACTS)]
        query += [("search", term)] if term else []
        url = f"{self._endpoint}/api/models?{urlencode(query)}"
        with self._get(url, None, ANYBODY, ONCE) as answer:
            return parse_hub_models(answer.read(MAX_REPLY_BYTES))[:limit]

    def _list_files(
        self,
        repository: str,
        revision: str,
        asked: HubReference,
        caller: Caller,
        patience: Patience | None,
    ) -> tuple[HubFile, ...]:
        url = f"{self._endpoint}/api/models/{repository}/tree/{revision}?recursive=true"
        files: list[HubFile] = []
        for _ in range(MAX_PAGES):
            with self._get(url, asked, caller, patience) as answer:
                files += parse_tree(answer.read(MAX_REPLY_BYTES))
                following = parse_next_page(answer.headers.get("Link"), url)
            if following is None:
                return tuple(files)
            if len(files) > MAX_FILES:
                break
            url = following
        raise RunnerError(
            Kind.INVALID_MODEL,
            f"hf.co/{repository} lists more than {MAX_FILES} files, or more than {MAX_PAGES} pages",
            hint="it is laid out as no model is; download the GGUF file and add it: "
            "runner package --gguf FILE NAME",
        )

    @contextmanager
    def _get(
        self,
        url: str,
        asked: HubReference | None,
        caller: Caller,
        patience: Patience | None,
        headers: dict[str, str] | None = None,
    ) -> Iterator[Answer]:
        token = caller.bearer_token or self._transport.network.hf_token
        auth = Authorization(self._origin, f"Bearer {token}") if token else None
        with self._transport.open(
            "GET", url, headers=headers, auth=auth, caller=caller, patience=patience
        ) as answer:
            if answer.status not in (200, 206):
                raise self._explain(answer, asked, has_token=token is not None)
            yield answer

    def _explain(
        self, answer: Answer, asked: HubReference | None, *, has_token: bool
    ) -> RunnerError:
        """Say why there is no answer; what a host of large files refuses may pass."""
        if Origin.of(answer.url) != self._origin:
            return RunnerError(
                Kind.REGISTRY_UNAVAILABLE,
                f"{answer.route} answered {answer.status} for a file that Hugging Face sent us to",
                hint="its address may have expired; try again",
            )
        if asked is None or answer.status == 429 or answer.status >= 500:
            return explain_status(answer.status, has_token=has_token)
        code = answer.headers.get("X-Error-Code")
        return explain_refusal(answer.status, code, asked, has_token=has_token)
