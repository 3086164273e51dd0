"""One type per message that crosses the pipe: frozen values, all that the two sides share.

Daemon to worker: :class:`Load` (once, first), then any number of :class:`Submit`, :class:`Ask`,
:class:`Embed`, :class:`Rank`, :class:`Cancel` and :class:`Tune`, at last :class:`Stop`.

Worker to daemon: :class:`LoadProgress` * then :class:`Ready` or :class:`LoadFailed`; after
``Ready`` one :class:`Events` per engine step that produced anything, :class:`Beat` every few
seconds, and :class:`Measured` and :class:`Tuned` of a search for better settings. Every submitted
id gets exactly one last event (:class:`Ended` or :class:`Failed`), and so does every asked one
(:class:`Answered`, :class:`Pooled` or :class:`Failed`).
"""

from __future__ import annotations

from typing import Any, Literal, assert_never

import msgspec

from runner.wire.adapters import AdapterFacts as AdapterFacts
from runner.wire.adapters import AdapterScale as AdapterScale
from runner.wire.base import Message as Message
from runner.wire.base import RequestId as RequestId
from runner.wire.chat import CallDelta as CallDelta
from runner.wire.chat import ChatPrompt as ChatPrompt
from runner.wire.pooling import Embed as Embed
from runner.wire.pooling import Pooled as Pooled
from runner.wire.pooling import Rank as Rank
from runner.wire.settings import DeviceMemory as DeviceMemory
from runner.wire.settings import EngineSettings as EngineSettings
from runner.wire.settings import EngineWishes as EngineWishes
from runner.wire.settings import MemoryNeed as MemoryNeed
from runner.wire.settings import TunedSettings as TunedSettings
from runner.wire.text import Detokenize as Detokenize
from runner.wire.text import InfillPrompt as InfillPrompt
from runner.wire.text import Snippet as Snippet
from runner.wire.text import TextPrompt as TextPrompt
from runner.wire.text import Tokenize as Tokenize
from runner.wire.text import TokenPrompt as TokenPrompt

WIRE_VERSION = 1


# ---- load ---------------------------------------------------------------------------------------


class Load(Message, frozen=True, tag="load"):
    """First message to a worker: which file to load and how."""

    version: int
    model_path: str
    library_path: str | None  # None: the library inside the package
    wishes: EngineWishes
    prefix_dir: str | None = None  # of this model's prefixes that are kept on disk
    adapter_paths: tuple[str, ...] = ()  # LoRA, all in use unless a request says otherwise
    projector_path: str | None = None  # what the model sees and hears with; None: nothing
    tuned: TunedSettings | None = None  # what was measured here for these wishes
    tune_after_s: float | None = None  # idle time after which to measure unasked; None: never


class LoadProgress(Message, frozen=True, tag="progress"):
    """Share of the model loaded, 0..1. Sent at most ten times a second."""

    fraction: float


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the loaded model is."""

    architecture: str
    description: str
    parameters: int  # count
    size_bytes: int
    context_train: int  # tokens the model was trained for
    vocabulary: int
    has_chat_template: bool
    chat_template: str  # Jinja text that is in force; empty: none is
    chat_template_caps: dict[str, bool]
    pooling: bool  # an embedding or reranking model: cannot generate
    bos_token: str
    eos_token: str
    reranks: bool = False  # of those with pooling: gives ranks of documents, not vectors
    dimensions: int = 0  # of a vector; 0: the model makes none
    adapters: tuple[AdapterFacts, ...] = ()
    vision: bool = False  # takes images
    audio: bool = False  # takes sounds


class Ready(Message, frozen=True, tag="ready"):
    """The model is loaded and warm."""

    pid: int
    model: ModelFacts
    settings: EngineSettings
    system_info: str  # llama.cpp's line of CPU features
    devices: tuple[str, ...]
    load_ms: float
    device: DeviceMemory | None = None  # None: there is no GPU
    device_bytes: int = 0  # of a GPU's memory, that the load took


class LoadFailed(Message, frozen=True, tag="load_failed"):
    """The worker could not load; it exits after this. ``kind`` is a value of errors.Kind."""

    kind: str
    message: str
    hint: str | None = None


# ---- requests -----------------------------------------------------------------------------------


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How tokens are chosen: llama.cpp's samplers, by its names.

    ``None`` lets the model's own GGUF hint rule, else llama.cpp's default. Ranges are checked by
    ``api``; here they are taken as valid.
    """

    seed: int | None = None  # None: random; 0..2**32-1
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_n_sigma: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    dynatemp_range: float | None = None
    dynatemp_exponent: float | None = None
    repeat_last_n: int | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: tuple[str, ...] | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    adaptive_target: float | None = None
    adaptive_decay: float | None = None
    min_keep: int | None = None
    samplers: tuple[str, ...] | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token, bias); -inf forbids
    ignore_eos: bool = False
    json_schema: str | None = None  # JSON text; the shim turns it into a grammar
    grammar: str | None = None  # GBNF; never taken from an unchecked client
    top_logprobs: int | None = None  # None: no logprobs; 0: of the chosen token alone


Prompt = ChatPrompt | TextPrompt | TokenPrompt | InfillPrompt


class Submit(Message, frozen=True, tag="submit"):
    """Ask for one completion.

    ``n`` choices are ``n`` submits: they share the prompt through the prefix tree.
    """

    id: RequestId
    prompt: Prompt
    sampling: Sampling
    max_tokens: int | None = None  # None: until the context is full; 0: only the prompt
    stop: tuple[str, ...] = ()
    deadline_s: float | None = None  # seconds from arrival
    cache_prompt: bool = True
    client: str = ""  # fairness key: who asks
    adapters: tuple[AdapterScale, ...] | None = None  # no others; None: all, as they are
    prompt_logprobs: bool = False  # told of the prompt, too, as ``sampling.top_logprobs`` says


class Ask(Message, frozen=True, tag="ask"):
    """Ask for what needs the model's vocabulary or template but no computing.

    A prompt asks what the model would read of it.
    """

    id: RequestId
    question: Tokenize | Detokenize | Prompt


class Cancel(Message, frozen=True, tag="cancel"):
    """Stop working for an id before the next step. Answered by ``Failed(kind="cancelled")``.

    An id that has already ended, or was never submitted, is ignored: the two messages may cross.
    """

    id: RequestId


class Tune(Message, frozen=True, tag="tune"):
    """Measure as soon as nothing else is to do; with ``stop``: not any more.

    Answered by one :class:`Measured` for each candidate and by :class:`Tuned`, once for all that
    was asked before it; after ``stop`` by nothing.
    """

    stop: bool = False


class Stop(Message, frozen=True, tag="stop"):
    """Finish what runs within ``grace_s`` seconds (new submits are refused), then exit 0."""

    grace_s: float


# ---- events -------------------------------------------------------------------------------------


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One token with its log-probability over the raw logits.

    ``piece`` may be part of a UTF-8 character.
    """

    token: int
    piece: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()


class Piece(msgspec.Struct, frozen=True, omit_defaults=True, tag="piece", gc=False):
    """New text of one id: complete UTF-8, stop strings never shown.

    May hold several tokens, or text without a token (held back before). What it has of the three
    channels comes in this order: reasoning, content, calls.
    """

    id: RequestId
    text: str  # content
    tokens: int
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()


class Timings(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Counts and milliseconds of one completion, named as llama-server's ``timings``."""

    cache_n: int
    prompt_n: int
    prompt_ms: float
    predicted_n: int
    predicted_ms: float
    draft_n: int = 0  # guessed tokens that were checked
    draft_n_accepted: int = 0


class Begun(msgspec.Struct, frozen=True, omit_defaults=True, tag="begun"):
    """Admitted: the prompt was rendered and tokenised and has a slot.

    Sent once, before the first ``Piece``. ``prompt_logprobs`` are of every token of the prompt but
    the first, whose bytes ``prompt_first`` has, where ``Submit.prompt_logprobs`` asks for them.
    """

    id: RequestId
    prompt_tokens: int
    cached_tokens: int
    prompt_first: bytes = b""
    prompt_logprobs: tuple[TokenLogprob, ...] = ()


class Ended(msgspec.Struct, frozen=True, omit_defaults=True, tag="ended"):
    """Last event of a success. ``reason`` is llama-server's ``stop_type`` in words."""

    id: RequestId
    reason: Literal["eos", "stop", "length", "context"]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    timings: Timings
    stopping_word: str | None = None
    reasoning_tokens: int = 0  # of completion_tokens; an estimate where one step changed channels


class Failed(msgspec.Struct, frozen=True, omit_defaults=True, tag="failed"):
    """Last event of a failure; ``kind`` is a value of errors.Kind."""

    id: RequestId
    kind: str
    message: str
    hint: str | None = None
    param: str | None = None
    details: dict[str, Any] = {}


class Answered(msgspec.Struct, frozen=True, omit_defaults=True, tag="answered"):
    """The one event of an :class:`Ask`: a text and its tokens; no text for ``Tokenize``."""

    id: RequestId
    text: str
    tokens: tuple[int, ...]
    pieces: tuple[bytes, ...] = ()  # when asked for; each perhaps part of a character


Event = Begun | Piece | Ended | Failed | Answered | Pooled


def is_last(event: Event) -> bool:
    """Whether nothing follows this event for its id."""
    match event:
        case Begun() | Piece():
            return False
        case Ended() | Failed() | Answered() | Pooled():
            return True
        case _:
            assert_never(event)


class Events(Message, frozen=True, tag="events"):
    """Everything one engine step (or one refusal) produced, in order."""

    events: tuple[Event, ...]


class Beat(Message, frozen=True, tag="beat"):
    """From a thread that does not run the engine: silence means a dead process.

    Once a second while there is work, at its end, and every five seconds while there is none.
    """

    step_running_s: float  # how long the current native step has run; 0 when idle
    running: int  # sequences decoding or prefilling
    waiting: int
    cells_used: int
    cells_total: int
    prompt_tokens: int  # totals since load
    cached_tokens: int
    completion_tokens: int
    steps: int
    resident_bytes: int
    threads: int = 0  # in use now, which others' work may have lowered
    draft_tokens: int = 0  # totals since load: guessed and checked
    accepted_tokens: int = 0
    prefix_ram_bytes: int = 0  # in use
    device: DeviceMemory | None = None  # None: there is no GPU


# ---- tuning ---------------------------------------------------------------------------------


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How fast settings are, in tokens a second."""

    one: float  # one answer after a short prompt
    one_deep: float  # one answer after a long one
    many: float  # all of ``Measured.rows`` answers together
    prompt: float


class Measured(Message, frozen=True, tag="measured"):
    """One candidate of a search, measured."""

    settings: TunedSettings
    rates: Rates
    rows: int  # answers computed together for ``Rates.many``
    depth: int  # tokens before the answer for ``Rates.one_deep``


class Tuned(Message, frozen=True, tag="tuned"):
    """The end of a search: what to use from now on, or why it is not known."""

    settings: TunedSettings | None = None
    gain: float = 1.0  # how many times faster than the settings in force
    duration_s: float = 0.0  # spent measuring
    is_disturbed: bool = False  # something else used the processor meanwhile
    problem: str = ""


Request = Submit | Ask | Embed | Rank
ToWorker = Load | Request | Cancel | Tune | Stop
FromWorker = LoadProgress | Ready | LoadFailed | Events | Beat | Measured | Tuned
