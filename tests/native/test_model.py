"""Loading, tokens, handles, the log, and what the library shows to the linker."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from runner.binding import Code, Context, Library, LoadWatch, Model, NativeError, Prompt, Stepper

pytestmark = [pytest.mark.native, pytest.mark.model]


@pytest.mark.parametrize(
    "text",
    ["", "Hello, world!", "  two spaces\n\n\ttab", "naïve 東京 🙂", "<|im_start|>user", "\0"],
)
def test_text_survives_tokens_and_back(model: Model, text: str) -> None:
    tokens = model.tokenize(text, add_special=False, parse_special=False)
    assert model.detokenize(tokens).decode() == text
    assert b"".join(model.piece(token) for token in tokens).decode() == text


def test_special_tokens_are_parsed_only_on_request(model: Model) -> None:
    mark = "<|im_start|>"
    parsed = model.tokenize(mark, add_special=False, parse_special=True)
    assert parsed == [1]
    assert len(model.tokenize(mark, add_special=False, parse_special=False)) > 1
    assert model.piece(1) == b""
    assert model.piece(1, special=True) == mark.encode()
    assert model.detokenize(parsed, special=True) == mark.encode()


@pytest.mark.parametrize("token", [-1, 49152, 2**31 - 1])
def test_a_token_outside_the_vocabulary_is_refused(model: Model, token: int) -> None:
    for call in (lambda: model.piece(token), lambda: model.detokenize([0, token])):
        with pytest.raises(NativeError, match="outside the vocabulary") as caught:
            call()
        assert caught.value.code == Code.ARGUMENT


def test_the_facts_of_the_model(model: Model) -> None:
    info = model.info()
    assert info["architecture"] == "llama"
    assert (info["n_layer"], info["n_vocab"], info["eos"]) == (30, 49152, 2)
    assert info["eos_piece"] == "<|im_end|>"
    assert info["eos"] in info["eog"]
    assert not info["pooling"]
    assert info["fim"] == {"prefix": -1, "suffix": -1, "middle": -1, "repo": 4, "file": -1}


def test_a_file_that_is_no_model_fails_with_the_loader_s_reason(
    library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"not a model")
    with pytest.raises(NativeError, match="invalid magic") as caught:
        Model(library, path)
    assert caught.value.code == Code.EXCEPTION
    with pytest.raises(NativeError, match=r"none\.gguf.*No such file"):
        Model(library, tmp_path / "none.gguf")


def test_a_load_can_be_cancelled(library: Library, model_path: Path) -> None:
    watch = LoadWatch()
    watch.cancel()
    with pytest.raises(NativeError) as caught:
        Model(library, model_path, watch=watch)
    assert caught.value.code == Code.CANCELLED


def test_a_load_tells_its_progress(library: Library, model_path: Path) -> None:
    watch = LoadWatch()
    with Model(library, model_path, watch=watch):
        assert watch.fraction == 1.0


def test_handles_may_be_closed_in_any_order_and_twice(library: Library, model_path: Path) -> None:
    model = Model(library, model_path)
    context = Context(model, {"n_ctx": 256, "n_threads": 1})
    stepper = Stepper(context)
    generator = context.new_generator({"temperature": 0, "json_schema": "{}"})
    model.close()
    model.close()
    context.bind(generator, 0, 1)
    assert stepper.run([], [Prompt(0, 0, [5], generator)]).rc == 0
    context.close()
    context.close()
    with pytest.raises(ValueError, match="this Context is closed"):
        context.clear()


def test_the_log_is_kept_for_us_and_nothing_is_printed(
    library: Library, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    library.drain_log()
    with pytest.raises(NativeError):
        Model(library, tmp_path / "none.gguf")
    lines = library.drain_log()
    assert any(line["level"] == "error" and "none.gguf" in line["text"] for line in lines)
    assert library.drain_log() == []
    assert capfd.readouterr() == ("", "")


def test_only_our_own_symbols_are_exported(library: Library) -> None:
    nm = shutil.which("nm")
    if nm is None or library.path.suffix != ".so":
        pytest.skip("nm is not installed (apt-get install binutils), or the library is no ELF file")
    listing = subprocess.run(
        [nm, "-D", "--defined-only", library.path], capture_output=True, text=True, check=True
    )
    names = [line.split()[-1] for line in listing.stdout.splitlines()]
    assert names
    assert [name for name in names if not name.startswith("rn_")] == []


def test_the_system_tells_cpu_features_and_devices(library: Library) -> None:
    system = library.system()
    assert "CPU" in system["system_info"]
    assert [device for device in system["devices"] if device["type"] == "cpu"]
