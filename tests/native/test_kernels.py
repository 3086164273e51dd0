"""Our own matrix kernels against llama.cpp's: hardly other log-probabilities of a text.

Each in a process of its own, for the first model that is loaded fixes the kernels. What a kernel
computes, to the bit, is tested in C++ (native/tests/kernels.cpp).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = [pytest.mark.native, pytest.mark.model]

TEXT = (
    "The sea was calm that morning, and the fishermen went out early. By noon the wind had turned;"
    " clouds stood over the hills, and the oldest of them said that it was time to go home. 17 + 4"
    " is 21, and def square(x): return x * x is a function."
)

SCORE = """
import json, sys
from runner.binding import Context, Model, load

library = load()
library.init(log_level=2, kernels=sys.argv[2] == "own")
with Model(library, sys.argv[1]) as model:
    tokens = model.tokenize(sys.argv[3], add_special=True, parse_special=False)
    settings = {"n_ctx": 256, "n_batch": 128, "n_seq_max": 1, "n_threads": 1, "n_outputs_max": 128}
    with Context(model, settings) as context:
        scores = context.score(0, tokens)
print(json.dumps([library.system()["kernels"], [float(score) for score in scores]]))
"""


def score(model: Path, kind: str) -> tuple[list[str], NDArray[np.float64]]:
    command = [sys.executable, "-c", SCORE, str(model), kind, TEXT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    kernels, scores = json.loads(done.stdout)
    return kernels, np.array(scores)


def test_own_kernels_agree_with_llama_cpps_and_can_be_switched_off(model_path: Path) -> None:
    own, ours = score(model_path, "own")
    none, theirs = score(model_path, "upstream")
    assert none == []
    if not own:
        pytest.skip("no kernels of our own for this CPU")
    assert len(ours) > 60
    difference = np.abs(ours - theirs)
    assert difference.max() > 0, "both ran the same kernels"
    # Both round activations to 8 bits, and a code rounded the other way in one layer moves those of
    # the next: either is about 0.07 a token from the same weights in F32.
    assert difference.mean() < 0.2
    assert abs(ours.mean() - theirs.mean()) < 0.05
