"""The application: gate, then route, then handler; every error rendered in one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.api import faults, gate, routes
from runner.api.call import Call
from runner.api.gate import Policy
from runner.api.keys import Scope
from runner.api.llama.handlers import Llama
from runner.api.management.engines import Backend
from runner.api.management.engines import Engines as EngineRoutes
from runner.api.management.models import Models as ModelRoutes
from runner.api.management.packaging import Packaging
from runner.api.management.registries import Registries
from runner.api.management.storage import Storage
from runner.api.management.system import System
from runner.api.management.transfers import Transfers as TransferRoutes
from runner.api.openai.chat import Chat
from runner.api.openai.embeddings import Embeddings
from runner.api.openai.legacy import Completions
from runner.api.openai.models import Models as OpenAIModels
from runner.api.openai.preloading import preloading
from runner.api.openai.reranking import Reranking
from runner.api.routes import Route
from runner.errors import Kind, RunnerError
from runner.net import Exchange
from runner.service import Catalogue, Engines, Transfers, Upkeep

Handler = Callable[[Call], Awaitable[None]]

# The same API under each of them: Docker Model Runner's two, and what SDKs are usually given.
OPENAI_PREFIXES = ("/engines/llama.cpp/v1", "/engines/v1", "/v1")
LLAMA_PREFIXES = ("/engines/llama.cpp", "/engines", "")
# Docker Model Runner ranks without a version in the path, others with one.
RANKING_PREFIXES = (*LLAMA_PREFIXES, *OPENAI_PREFIXES)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the server tells of itself, and its limits."""

    version: str
    survey: Callable[[], Backend]
    log_path: Path | None = None
    max_body_bytes: int = 10 * 1024 * 1024
    patience_s: float = 10.0  # for a stream's first event, before its head goes out without it


class App:
    """The handler that :class:`runner.net.Server` calls for every request."""

    def __init__(
        self,
        catalogue: Catalogue,
        engines: Engines,
        transfers: Transfers,
        *,
        upkeep: Upkeep,
        policy: Policy,
        about: About,
    ) -> None:
        self._policy = policy
        self._max_body_bytes = about.max_body_bytes
        reranking = Reranking(engines)
        self._routes = [
            *_openai_routes(
                preloading(
                    engines, Chat(engines, version=about.version, patience_s=about.patience_s)
                ),
                preloading(
                    engines,
                    Completions(engines, version=about.version, patience_s=about.patience_s),
                ),
                OpenAIModels(catalogue, engines),
            ),
            *_llama_routes(Llama(engines, version=about.version, patience_s=about.patience_s)),
            *_pooling_routes(
                preloading(engines, Embeddings(engines)),
                preloading(engines, reranking.rerank),
                preloading(engines, reranking.score),
            ),
            *_transfer_routes(
                TransferRoutes(transfers), Packaging(transfers), Registries(transfers)
            ),
            *_storage_routes(Storage(catalogue, engines, upkeep, survey=about.survey)),
            *_model_routes(ModelRoutes(catalogue, transfers)),
            *_engine_routes(EngineRoutes(engines, survey=about.survey)),
            *_system_routes(System(catalogue, version=about.version, log_path=about.log_path)),
        ]

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request; a RunnerError that comes out of here is :meth:`on_error`'s."""
        request = exchange.request
        allowed = gate.decide(request, self._policy, is_unix=exchange.peer == "unix")
        if request.method == "OPTIONS":
            await self._answer_options(exchange)
            return
        match = routes.find(self._routes, request.method, request.raw_path)
        if match.route.scope is not None:
            allowed.require(match.route.scope)
        call = Call(
            exchange,
            name=match.name,
            headers=gate.cors_headers(request, self._policy),
            max_body_bytes=self._max_body_bytes,
            allowed=allowed,
        )
        await match.route.target(call)

    async def on_error(self, exchange: Exchange, error: RunnerError) -> None:
        """Answer with an error: from here, or from net for what a handler did not foresee."""
        request = exchange.request
        headers = [*faults.headers(error), *gate.cors_headers(request, self._policy)]
        await exchange.respond(error.row.status, headers, faults.body(error, request.raw_path))

    async def _answer_options(self, exchange: Exchange) -> None:
        """Answer a browser's preflight, or tell what a path can do."""
        request = exchange.request
        cors = gate.cors_headers(request, self._policy)
        if "origin" in request.headers:
            await exchange.respond(204, [*cors, *gate.preflight_headers(request)])
            return
        methods = [*gate.ALLOWED_METHODS.split(", ")]
        if request.raw_path != "*":
            methods = routes.allowed_methods(self._routes, request.raw_path)
        if not methods:
            raise RunnerError(Kind.NOT_FOUND, f"there is no {request.raw_path[:200]}")
        await exchange.respond(204, [("Allow", ", ".join(methods))])


def _openai_routes(
    chat: Handler, completions: Handler, models: OpenAIModels
) -> Iterator[Route[Handler]]:
    for prefix in OPENAI_PREFIXES:
        yield Route("POST", f"{prefix}/chat/completions", Scope.INFER, chat)
        yield Route("POST", f"{prefix}/completions", Scope.INFER, completions)
        yield Route("GET", f"{prefix}/models", Scope.INFER, models.list)
        yield Route("GET", f"{prefix}/models/{{name}}", Scope.INFER, models.show)


def _llama_routes(llama: Llama) -> Iterator[Route[Handler]]:
    for prefix in OPENAI_PREFIXES:
        yield Route("POST", f"{prefix}/chat/completions/input_tokens", Scope.INFER, llama.count)
        yield Route("POST", f"{prefix}/responses/input_tokens", Scope.INFER, llama.count_response)
    for prefix in LLAMA_PREFIXES:
        yield Route("POST", f"{prefix}/tokenize", Scope.INFER, llama.tokenize)
        yield Route("POST", f"{prefix}/detokenize", Scope.INFER, llama.detokenize)
        yield Route("POST", f"{prefix}/apply-template", Scope.INFER, llama.apply_template)
        yield Route("POST", f"{prefix}/infill", Scope.INFER, llama.infill)
        yield Route("GET", f"{prefix}/props", Scope.INFER, llama.props)
        yield Route("GET", f"{prefix}/slots", Scope.INFER, llama.slots)


def _pooling_routes(
    embeddings: Handler, rerank: Handler, score: Handler
) -> Iterator[Route[Handler]]:
    for prefix in OPENAI_PREFIXES:
        yield Route("POST", f"{prefix}/embeddings", Scope.INFER, embeddings)
    for prefix in RANKING_PREFIXES:
        yield Route("POST", f"{prefix}/rerank", Scope.INFER, rerank)
        yield Route("POST", f"{prefix}/score", Scope.INFER, score)


def _model_routes(models: ModelRoutes) -> Iterator[Route[Handler]]:
    yield Route("GET", "/models", Scope.INFER, models.list)
    yield Route("POST", "/models/{name}/tag", Scope.MANAGE, models.tag)
    yield Route("GET", "/models/{name}", Scope.INFER, models.show)
    yield Route("POST", "/models/{name}", Scope.MANAGE, models.refuse)


def _storage_routes(storage: Storage) -> Iterator[Route[Handler]]:
    yield Route("GET", "/engines/df", Scope.INFER, storage.usage)
    yield Route("POST", "/models/check", Scope.MANAGE, storage.check)
    yield Route("POST", "/models/prune", Scope.MANAGE, storage.prune)
    yield Route("POST", "/models/import", Scope.ADMIN, storage.import_model)
    yield Route("POST", "/models/move", Scope.ADMIN, storage.move)
    yield Route("DELETE", "/models/purge", Scope.MANAGE, storage.purge)
    yield Route("DELETE", "/models/{name}", Scope.MANAGE, storage.remove)


def _transfer_routes(
    transfers: TransferRoutes, packaging: Packaging, registries: Registries
) -> Iterator[Route[Handler]]:
    yield Route("POST", "/models/create", Scope.MANAGE, transfers.pull)
    yield Route("POST", "/models/load", Scope.MANAGE, transfers.load)
    yield Route("POST", "/models/package", Scope.MANAGE, packaging.package)
    yield Route("POST", "/models/{name}/repackage", Scope.MANAGE, packaging.repackage)
    yield Route("POST", "/models/{name}/push", Scope.MANAGE, transfers.push)
    yield Route("GET", "/models/{name}/export", Scope.MANAGE, transfers.export)
    yield Route("GET", "/registries/search", Scope.MANAGE, registries.search)
    yield Route("GET", "/registries/doctor", Scope.MANAGE, registries.diagnose)
    yield Route("POST", "/registries/login", Scope.ADMIN, registries.log_in)
    yield Route("POST", "/registries/logout", Scope.ADMIN, registries.log_out)


def _engine_routes(engines: EngineRoutes) -> Iterator[Route[Handler]]:
    yield Route("GET", "/engines/ps", Scope.INFER, engines.running)
    yield Route("GET", "/engines/status", Scope.INFER, engines.status)
    yield Route("POST", "/engines/tune", Scope.MANAGE, engines.tune)
    yield Route("GET", "/engines/tuned/{name}", Scope.INFER, engines.tuned)
    yield Route("POST", "/engines/unload", Scope.MANAGE, engines.unload)


def _system_routes(system: System) -> Iterator[Route[Handler]]:
    yield Route("GET", "/", None, system.welcome)
    yield Route("GET", "/version", None, system.version)
    yield Route("GET", "/health", None, system.health)
    yield Route("GET", "/livez", None, system.health)
    yield Route("GET", "/readyz", None, system.ready)
    yield Route("GET", "/logs", Scope.ADMIN, system.logs)
