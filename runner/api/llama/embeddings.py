"""llama-server's own routes for embeddings, whose answers are not OpenAI's. Parse, render: pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from runner.api.call import Call, Handler
from runner.api.keys import Scope
from runner.api.openai import embeddings, pooling
from runner.api.openai.preloading import preloading
from runner.api.routes import LLAMA_PREFIXES, Route
from runner.service import Engines
from runner.wire.messages import Pooled


class LlamaEmbeddings:
    """The handler of ``/embedding`` and ``/embeddings``."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def routes(self) -> Iterator[Route[Handler]]:
        """Give its routes."""
        handler = preloading(self._engines, self)
        about = "make vectors of texts, as llama-server does"
        for prefix in LLAMA_PREFIXES:
            for name in ("embedding", "embeddings"):
                path = f"{prefix}/{name}"
                yield Route("POST", path, Scope.INFER, handler, about, embeddings.SHAPE)

    async def __call__(self, call: Call) -> None:
        """Answer one request."""
        request = await call.read(
            lambda body: embeddings.parse(pooling.named(body, self._engines, reranks=False))
        )
        await pooling.answer(self._engines, call, request, request.embed, render)


def render(pooled: Pooled) -> bytes:
    """Render the answer: each text has a list of vectors, of which pooling leaves one."""
    return msgspec.json.encode(
        [
            {"index": index, "embedding": [vector]}
            for index, vector in enumerate(pooling.rows(pooled))
        ]
    )
