"""From a request for vectors or ranks to tokens: what needs no engine thread."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Protocol

from runner.errors import Kind, RunnerError
from runner.wire.messages import Embed, Rank
from runner.worker.infill import find_infill
from runner.worker.loading import LoadedPool
from runner.worker.pooling import MAX_RESULT_BYTES, Texts
from runner.worker.prompts import Prompter, least_tokens


class Tokenizer(Protocol):
    """The part of ``binding.Model`` that is used here."""

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Tokens of a text."""
        ...


@dataclass(frozen=True, slots=True)
class Pairing:
    """How a model that ranks wants a query and a document put together."""

    template: str  # with {query} and {document}; empty: the markers below
    first: tuple[int, ...]
    between: tuple[int, ...]
    last: tuple[int, ...]

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Pairing:
        """Read it from ``rn_model_info``, as llama-server does: BOS query EOS SEP document EOS."""
        end = info["sep"] if info["eos"] < 0 else info["eos"]
        ends = (end,) if info["add_eos"] and end >= 0 else ()
        separators = (info["sep"],) if info["add_sep"] and info["sep"] >= 0 else ()
        first = (info["bos"],) if info["add_bos"] and info["bos"] >= 0 else ()
        return cls(info["rerank_template"], first, (*ends, *separators), ends)


def pooling_prompter(loaded: LoadedPool) -> PoolingPrompter:
    """Prepare requests of a model."""
    facts = loaded.ready.model
    return PoolingPrompter(
        loaded.model,
        Pairing.of(loaded.info) if facts.reranks else None,
        context_size=loaded.ready.settings.context_size,
        context_train=facts.context_train,
        vocabulary=facts.vocabulary,
        token_bytes=loaded.info["token_bytes"],
        width=loaded.embedder.info.n_out,
    )


def asking_prompter(loaded: LoadedPool) -> Prompter:
    """Serve questions about tokens; a prompt is refused."""
    return Prompter(
        tokenizer=loaded.model,
        conversations=None,
        no_template="this is an embedding or reranking model: it has no chats",
        generators=None,
        context_size=loaded.ready.settings.context_size,
        penalty_tokens=0,
        vocabulary=loaded.ready.model.vocabulary,
        token_bytes=loaded.info["token_bytes"],
        infill=find_infill(loaded.info),
    )


@dataclass(frozen=True, slots=True)
class PoolingPrompter:
    """Prepares requests of one model. Any thread may call it."""

    tokenizer: Tokenizer
    pairing: Pairing | None  # None: it makes vectors
    context_size: int  # tokens of one text
    context_train: int
    vocabulary: int
    token_bytes: int  # of ``rn_model_info``
    width: int  # numbers a text gives

    def prepare(
        self,
        request: Embed | Rank,
        deadline_s: float | None,
        _limit: Callable[[int], AbstractContextManager[None]],
    ) -> Texts:
        """Tokenise.

        Raises RunnerError naming the input: CONTEXT_LENGTH_EXCEEDED for one that is too long,
        INVALID_REQUEST for an empty one or a token that the model does not have,
        MODEL_NOT_SUPPORTED for what this kind of model does not do.
        """
        if (self.pairing is None) is isinstance(request, Rank):
            done = "embeddings and no ranks" if self.pairing is None else "ranks and no embeddings"
            raise RunnerError(Kind.MODEL_NOT_SUPPORTED, f"this model makes {done}", param="model")
        texts = tuple(
            self._checked(tokens, f"{request.param}[{index}]", index)
            for index, tokens in enumerate(self._tokenise(request))
        )
        self._check_result(len(texts), request.param)
        if isinstance(request, Rank):
            return Texts(request.id, texts, None, -1, deadline_s)
        if request.dimensions is not None and request.dimensions > self.width:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"dimensions: expected at most {self.width}, which the model has, "
                f"got {request.dimensions}",
                param="dimensions",
            )
        return Texts(request.id, texts, request.dimensions, request.norm, deadline_s)

    def _tokenise(self, request: Embed | Rank) -> Iterator[tuple[int, ...]]:
        if isinstance(request, Embed):
            for index, text in enumerate(request.inputs):
                if isinstance(text, str) and not request.truncate:
                    self._check_least((text,), request.param, index)
                tokens = self._tokens(text) if isinstance(text, str) else text
                yield self._cut(tokens) if request.truncate else tokens
            return
        assert self.pairing is not None
        queries = request.queries
        pairs = zip(
            queries if len(queries) > 1 else repeat(queries[0]), request.documents, strict=False
        )
        for index, (query, document) in enumerate(pairs):
            if not request.truncate:
                self._check_least((query, document), request.param, index)
            pair = self._pair(self.pairing, query, document)
            if request.truncate and len(pair) > self.context_size:
                pair = self._pair(self.pairing, query, self._fitting(query, document))
            yield pair

    def _check_least(self, texts: tuple[str, ...], param: str, index: int) -> None:
        """Refuse what is far too long before it is tokenised."""
        least = least_tokens(self.token_bytes, *texts)
        if least > self.context_size:
            raise self._too_long(least, f"{param}[{index}]", index, is_least=True)

    def _tokens(self, text: str, *, bare: bool = False) -> tuple[int, ...]:
        return tuple(self.tokenizer.tokenize(text, add_special=not bare, parse_special=not bare))

    def _cut(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """Cut what is too long; the token that the model wants at the end stays there."""
        if len(tokens) <= self.context_size:
            return tokens
        closing = self._tokens("")[-1:]
        if tokens[-1:] != closing:
            return tokens[: self.context_size]
        return tokens[: self.context_size - 1] + closing

    def _fitting(self, query: str, document: str) -> str:
        """Return as much of a document as has room beside its query; empty where nothing has.

        Looked for among texts, as a template may put words of its own behind the document.
        """
        assert self.pairing is not None
        pairing, most = self.pairing, self.context_size

        def size(characters: int) -> int:
            return len(self._pair(pairing, query, document[:characters]))

        above = most
        while above < len(document) and size(above) <= most:
            above *= 2
        fitting = bisect_right(range(min(above, len(document))), most, key=size) - 1
        return document[: max(fitting, 0)]

    def _pair(self, pairing: Pairing, query: str, document: str) -> tuple[int, ...]:
        if pairing.template:
            # Split at the document's place first: neither text may hold the other's marker.
            parts = [
                part.replace("{query}", query) for part in pairing.template.split("{document}")
            ]
            text = document.join(parts)
            return tuple(self.tokenizer.tokenize(text, add_special=False, parse_special=True))
        return (
            *pairing.first,
            *self._tokens(query, bare=True),
            *pairing.between,
            *self._tokens(document, bare=True),
            *pairing.last,
        )

    def _checked(self, tokens: tuple[int, ...], name: str, index: int) -> tuple[int, ...]:
        if not tokens:
            raise RunnerError(Kind.INVALID_REQUEST, f"{name} has no tokens", param=name)
        if len(tokens) > self.context_size:
            raise self._too_long(len(tokens), name, index)
        for token in tokens:
            if not 0 <= token < self.vocabulary:
                raise RunnerError(
                    Kind.INVALID_REQUEST,
                    f"{name}: token {token} is outside the vocabulary of {self.vocabulary}",
                    param=name,
                )
        return tokens

    def _too_long(
        self, count: int, name: str, index: int, *, is_least: bool = False
    ) -> RunnerError:
        told = f"at least {count}" if is_least else str(count)
        hint = "split it into shorter texts"
        if count <= self.context_train:
            hint = f"raise the limit: python -m runner serve --context-size {count}"
        return RunnerError(
            Kind.CONTEXT_LENGTH_EXCEEDED,
            f"{name} has {told} tokens, and the model takes {self.context_size}",
            hint=hint,
            param=name,
            details={"index": index, "n_prompt_tokens": count, "n_ctx": self.context_size},
        )

    def _check_result(self, count: int, name: str) -> None:
        most = MAX_RESULT_BYTES // (4 * self.width)
        if count > most:
            raise RunnerError(
                Kind.INVALID_REQUEST,
                f"{name}: expected at most {most} at a time from this model, got {count}",
                param=name,
            )
