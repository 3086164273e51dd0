"""Run a new library on a tiny model and compare its numbers with those of the same weights as F32.

    python native/builder/selftest.py LIBRARY

build_native.py starts it as a process of its own, since a library built for the wrong CPU kills its
process. It prints "stage cpu", and "stage gpu" where there is one, as it gets there; at the end a
JSON report on one line. Exit 0: the numbers agree; 3: they do not; 1: the library cannot be used.

Quantised kernels round activations to 8 bits, so logits that spread over about +-10 come out some
tenths apart: 0.12 where this was written. Scales mixed up in one block of eight of a single matrix
made that 0.2 to 70, for nearly every matrix above 0.6; a wrong instruction does more.
"""

from __future__ import annotations

import ctypes as c
import importlib
import json
import os
import sys
import tempfile
import time
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STEPS = (64, 9, 1, 1, 1, 1)  # rows: a prompt (AMX, tiled kernels), a short one, single tokens
CONTEXT = 128
TOP = 20  # likeliest tokens that are compared
TOLERANCE = 0.4  # root mean square
WRONG = 3


def main(library: Path) -> int:
    """Run both models and compare."""
    started = time.monotonic()
    # Else a GPU would take the long prompts of the CPU stage.
    os.environ["GGML_OP_OFFLOAD_MIN_BATCH"] = str(CONTEXT + 1)
    tiny_model, prototypes, native = load(library)
    print("stage cpu", flush=True)
    with tempfile.TemporaryDirectory(prefix="runner-self-test-") as folder:
        quantised, plain = Path(folder, "quantised.gguf"), Path(folder, "plain.gguf")
        tiny_model.write_models(quantised, plain)
        run = Run(native, prototypes)
        wanted = run.logprobs(plain, flash_attention=False, gpu_layers=0)
        worst = {
            f"cpu, flash attention {flash}": difference(
                wanted, run.logprobs(quantised, flash_attention=flash == "on", gpu_layers=0)
            )
            for flash in ("off", "on")
        }
        system = native.system()
        gpus = [device["name"] for device in system["devices"] if device["type"] == "gpu"]
        if gpus:
            print("stage gpu", flush=True)
            on_gpu = run.logprobs(quantised, flash_attention=True, gpu_layers=99)
            worst[gpus[0]] = difference(wanted, on_gpu)
    for what, units in worst.items():
        if not units <= TOLERANCE:  # also when it is no number
            print(f"{what}: log-probabilities are {units:.3f} from those of F32", file=sys.stderr)
            return WRONG
    report = {
        "summary": f"agrees with F32 within {max(worst.values()):.3f} ({TOLERANCE} is allowed)",
        "cpu_features": features(system["system_info"]),
        "gpus": gpus,
        "self_test": {
            "differences": {what: round(units, 4) for what, units in worst.items()},
            "allowed": TOLERANCE,
            "seconds": round(time.monotonic() - started, 2),
        },
    }
    print(json.dumps(report))
    return 0


def load(library: Path) -> tuple[Any, Any, Any]:
    """Load the library through the package's own table, without what the package itself imports.

    Nothing is installed yet: numpy, which other parts of the package need, may not be here.
    """
    sys.path.insert(0, str(ROOT))
    spec = ModuleSpec("binding", None, is_package=True)
    spec.submodule_search_locations = [str(ROOT / "runner" / "binding")]
    sys.modules["binding"] = module_from_spec(spec)
    native = importlib.import_module("binding.library").load(library)
    native.init(log_level=2)
    tiny_model = importlib.import_module("native.builder.tiny_model")
    return tiny_model, importlib.import_module("binding.prototypes"), native


class Run:
    """Feeds one fixed text to a model and notes the likeliest tokens after each step."""

    def __init__(self, native: Any, prototypes: Any) -> None:
        self.native, self.prototypes = native, prototypes

    def logprobs(
        self, path: Path, *, flash_attention: bool, gpu_layers: int
    ) -> list[dict[int, float]]:
        """Give the log-probabilities of the TOP likeliest tokens after each step."""
        native, progress, cancel = self.native, c.c_float(), c.c_int32()
        load = {"path": str(path), "gpu_layers": gpu_layers}
        settings = {
            "n_ctx": CONTEXT, "n_batch": CONTEXT, "n_ubatch": CONTEXT, "n_seq_max": 1,
            "n_threads": 2, "flash_attn": flash_attention,
        }  # fmt: skip
        model = native.check_handle(
            native.rn_model_load(as_json(load), c.byref(progress), c.byref(cancel))
        )
        try:
            context = native.check_handle(native.rn_ctx_new(model, as_json(settings)))
            try:
                ends = [sum(STEPS[: i + 1]) for i in range(len(STEPS))]
                return [
                    self.step(context, end - rows, end)
                    for end, rows in zip(ends, STEPS, strict=True)
                ]
            finally:
                native.rn_ctx_free(context)
        finally:
            native.rn_model_free(model)

    def step(self, context: int, start: int, end: int) -> dict[int, float]:
        """Feed the tokens of these positions; read the row of the last one."""
        native, rows = self.native, end - start
        wish = {"temperature": 0.0, "top_logprobs": TOP}
        generator = native.check(native.rn_gen_new(context, as_json(wish)))
        native.check(native.rn_gen_bind(context, generator, 0, end, None, 0))
        tokens = integers(3 + (position * 89 + 7) % 256 for position in range(start, end))
        arrays = tokens, integers(range(start, end)), integers([0] * rows)
        outputs = integers([-1] * (rows - 1) + [generator])
        tok, pos, seq, out_gen = (c.addressof(array) for array in (*arrays, outputs))
        given = self.prototypes.StepIn(
            c.sizeof(self.prototypes.StepIn),
            n_rows=rows,
            tok=tok,
            pos=pos,
            seq=seq,
            out_gen=out_gen,
        )
        top_tok, top_logprob, n_top = (c.c_int32 * TOP)(), (c.c_float * TOP)(), c.c_int32()
        room = {name: c.c_int32() for name in ("gen", "tok", "flags", "stop_index")}
        offsets, text, logprob = (c.c_int64 * 2)(), c.create_string_buffer(4096), c.c_float()
        got = self.prototypes.StepOut(
            c.sizeof(self.prototypes.StepOut), cap_out=1, cap_text=4096, cap_top=TOP,
            text_off=c.addressof(offsets), text=c.addressof(text), logprob=c.addressof(logprob),
            n_top=c.addressof(n_top), top_tok=c.addressof(top_tok),
            top_logprob=c.addressof(top_logprob),
            **{name: c.addressof(place) for name, place in room.items()},
        )  # fmt: skip
        native.check(native.rn_step(context, c.byref(given), c.byref(got)))
        if got.rc:
            raise RuntimeError(f"the step failed: {got.rc}")
        native.check(native.rn_gen_free(context, generator))
        return dict(zip(top_tok[: n_top.value], top_logprob[: n_top.value], strict=True))


def difference(wanted: list[dict[int, float]], got: list[dict[int, float]]) -> float:
    """Give the root mean square difference; infinite where the lists of tokens hardly meet."""
    squares = []
    for want, have in zip(wanted, got, strict=True):
        shared = want.keys() & have.keys()
        if len(shared) < TOP // 2:
            return float("inf")
        squares += [(want[token] - have[token]) ** 2 for token in shared]
    return float((sum(squares) / len(squares)) ** 0.5)


def features(system_info: str) -> list[str]:
    """Take the CPU features that are on out of llama.cpp's line: "CPU : SSE3 = 1 | AVX = 1"."""
    cpu = system_info.partition("CPU :")[2].partition(" : ")[0]
    pairs = (item.split("=") for item in cpu.split("|") if "=" in item)
    return [name.strip() for name, value in pairs if value.strip() == "1"]


def integers(values: Any) -> Any:
    """Make an int32 array."""
    listed = list(values)
    return (c.c_int32 * len(listed))(*listed)


def as_json(value: dict[str, Any]) -> bytes:
    """Make the JSON that the library takes."""
    return json.dumps(value).encode()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
