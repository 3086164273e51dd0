"""Names what a file is that should have been a GGUF file."""

from __future__ import annotations

MAGIC = b"GGUF"

_PREFIXES: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the model itself",
        "run `git lfs pull` in that repository, or download the file from its page",
    ),
    (b"FUGG", "a big-endian GGUF file", "get the little-endian file of this model"),
    (b"PK\x03\x04", "a zip archive or PyTorch checkpoint", "convert it to GGUF first"),
    (b"\x1f\x8b", "gzip data", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd data", "unpack it first"),
    (b"\x80\x02", "a Python pickle, which is never loaded", "convert it to GGUF first"),
    (b"lmgg", "a GGML file of before GGUF", "get a current GGUF file of this model"),
    (b"tjgg", "a GGJT file of before GGUF", "get a current GGUF file of this model"),
    (b"fmgg", "a GGMF file of before GGUF", "get a current GGUF file of this model"),
)
_HTML = (b"<!doctype", b"<html", b"<head", b"<?xml")
_LEADING_BYTES = 512


def name_foreign(head: bytes) -> tuple[str, str]:
    """Say what a file that does not begin with GGUF looks like, and what to do about it.

    ``head`` is its first bytes, some hundreds.
    """
    for prefix, name, hint in _PREFIXES:
        if head.startswith(prefix):
            return f"looks like {name}", hint
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_HTML):
        return "looks like an HTML page", "the download got an error or login page; get it again"
    # safetensors: u64 length of a JSON header, then the header.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return "looks like safetensors", "convert it to GGUF first"
    if text.startswith((b"{", b"[")):
        return "looks like JSON", "this is not the model file; get the .gguf file"
    if not head.strip(b"\0"):
        return "begins with zeros", "the download was not finished; get it again"
    return f"begins with {ascii(head[:4])[2:-1]}", "get the .gguf file of this model"


def leading(view: memoryview) -> bytes:
    """Return the first bytes of a file, enough to name it."""
    return bytes(view[:_LEADING_BYTES])
