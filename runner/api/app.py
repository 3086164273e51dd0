"""The application: gate, then route, then handler; every error rendered in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.api import faults, gate, openapi, routes
from runner.api.anthropic.handlers import Messages
from runner.api.anthropic.models import Models as AnthropicModels
from runner.api.call import Call, Handler
from runner.api.gate import Policy
from runner.api.keys import Scope
from runner.api.llama.embeddings import LlamaEmbeddings
from runner.api.llama.handlers import Llama
from runner.api.management.configuring import Configure
from runner.api.management.engines import Backend
from runner.api.management.engines import Engines as EngineRoutes
from runner.api.management.metrics import Metrics
from runner.api.management.models import Models as ModelRoutes
from runner.api.management.packaging import Packaging
from runner.api.management.registries import Registries
from runner.api.management.requests import Requests
from runner.api.management.storage import Storage
from runner.api.management.system import System
from runner.api.management.transfers import Transfers as TransferRoutes
from runner.api.ollama.creating import Creating as OllamaCreating
from runner.api.ollama.embeddings import Embeddings as OllamaEmbeddings
from runner.api.ollama.models import Models as OllamaModels
from runner.api.ollama.text import Text as OllamaText
from runner.api.ollama.transfers import Transfers as OllamaTransfers
from runner.api.openai.chat import Chat
from runner.api.openai.embeddings import Embeddings
from runner.api.openai.legacy import Completions
from runner.api.openai.models import Models as OpenAIModels
from runner.api.openai.reranking import Reranking
from runner.api.openai.scoring import Scoring
from runner.api.recorder import Recorder
from runner.api.remote_media import RemoteMedia
from runner.api.responses.handlers import Responses
from runner.api.routes import Route
from runner.api.tei import Tei
from runner.errors import Kind, RunnerError
from runner.net import Exchange
from runner.service import Catalogue, Configuring, Engines, ResponseStore, Tally, Transfers, Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the server tells of itself, and its limits."""

    version: str
    survey: Callable[[], Backend]
    log_path: Path | None = None
    max_body_bytes: int = 10 * 1024 * 1024
    record_requests: int = 0  # of each model; 0: none is kept
    patience_s: float = 10.0  # for a stream's first event, before its head goes out without it


class App:
    """The handler that :class:`runner.net.Server` calls for every request."""

    def __init__(
        self,
        catalogue: Catalogue,
        engines: Engines,
        transfers: Transfers,
        *,
        responses: ResponseStore,
        configuring: Configuring,
        upkeep: Upkeep,
        tally: Tally,
        policy: Policy,
        remote_media: RemoteMedia,
        about: About,
    ) -> None:
        self._policy = policy
        self._remote_media = remote_media
        self._version = about.version
        self._recorder = Recorder(about.record_requests, catalogue.resolve)
        self._max_body_bytes = about.max_body_bytes
        handlers = (
            Chat(engines, version=about.version, patience_s=about.patience_s),
            Completions(engines, version=about.version, patience_s=about.patience_s),
            OpenAIModels(catalogue, engines),
            Responses(engines, responses, patience_s=about.patience_s),
            Llama(engines, version=about.version, patience_s=about.patience_s),
            Messages(engines, patience_s=about.patience_s),
            AnthropicModels(catalogue),
            Embeddings(engines),
            LlamaEmbeddings(engines),
            Tei(engines),
            Reranking(engines),
            Scoring(engines),
            OllamaText(engines, catalogue, patience_s=about.patience_s),
            OllamaEmbeddings(engines, catalogue),
            OllamaModels(catalogue, engines),
            OllamaTransfers(transfers),
            OllamaCreating(catalogue, transfers),
            TransferRoutes(transfers),
            Packaging(transfers),
            Registries(transfers),
            Storage(catalogue, engines, upkeep, survey=about.survey),
            ModelRoutes(catalogue, transfers),
            EngineRoutes(engines, survey=about.survey),
            Configure(configuring, engines),
            Requests(self._recorder, catalogue, configuring),
            Metrics(tally, engines, version=about.version),
            System(catalogue, version=about.version, log_path=about.log_path),
        )
        # In this order: the first that fits a path has it.
        self.routes: list[Route[Handler]] = [
            Route("GET", "/openapi.json", None, self._describe, "tell of all routes and fields"),
            *(route for handler in handlers for route in handler.routes()),
        ]

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request; a RunnerError that comes out of here is :meth:`on_error`'s."""
        request = exchange.request
        allowed = gate.decide(request, self._policy, at=exchange.local_address)
        if request.method == "OPTIONS":
            await self._answer_options(exchange)
            return
        match = routes.find(self.routes, request.method, request.raw_path)
        if match.route.scope is not None:
            allowed.require(match.route.scope)
        call = Call(
            exchange,
            name=match.name,
            headers=self._headers(exchange),
            max_body_bytes=self._max_body_bytes,
            allowed=allowed,
            remote_media=self._remote_media,
        )
        if self._recorder.is_on and _is_recorded(match.route):
            await self._recorder.record(call, match.route.target)
        else:
            await match.route.target(call)

    async def _describe(self, call: Call) -> None:
        await call.reply_json(openapi.document(self.routes, version=self._version))

    async def on_error(self, exchange: Exchange, error: RunnerError) -> None:
        """Answer with an error: from here, or from net for what a handler did not foresee."""
        path = exchange.request.raw_path
        headers = [*faults.headers(error), *self._headers(exchange)]
        await exchange.respond(error.row.status, headers, faults.body(error, path))

    def _headers(self, exchange: Exchange) -> list[faults.Header]:
        """Return what every answer to a request has."""
        request = exchange.request
        cors = gate.cors_headers(request, self._policy)
        return [*cors, *faults.identify(request.raw_path, exchange.request_id)]

    async def _answer_options(self, exchange: Exchange) -> None:
        """Answer a browser's preflight, or tell what a path can do."""
        request = exchange.request
        cors = gate.cors_headers(request, self._policy)
        if "origin" in request.headers:
            await exchange.respond(204, [*cors, *gate.preflight_headers(request)])
            return
        methods = [*gate.ALLOWED_METHODS.split(", ")]
        if request.raw_path != "*":
            methods = routes.allowed_methods(self.routes, request.raw_path)
        if not methods:
            raise RunnerError(Kind.NOT_FOUND, f"there is no {request.raw_path[:200]}")
        await exchange.respond(204, [("Allow", ", ".join(methods))])


def _is_recorded(route: Route[Handler]) -> bool:
    """Whether a route is a use of a model; Ollama's ``show`` is a POST that only tells of one."""
    is_use = route.method == "POST" and route.scope is Scope.INFER and route.body is not None
    return is_use and route.template != "/api/show"
