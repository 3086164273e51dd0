"""``runner_native.h`` in ctypes: its structs, and the result and argument types of every function.

A test reads the header and compares. Handles are ``c_void_p``: nothing here looks inside them.
"""

from __future__ import annotations

import ctypes as c
from typing import Any

ABI = 8


class Buf(c.Structure):
    """``rn_buf``: bytes that the library allocated; ``rn_buf_free`` releases them."""

    _fields_ = [("ptr", c.c_void_p), ("len", c.c_uint64)]


class StepIn(c.Structure):
    """``rn_step_in``."""

    _fields_ = [
        ("size", c.c_uint32),
        ("flags", c.c_uint32),
        ("n_gen", c.c_int32),
        ("gen", c.c_void_p),
        ("n_draft", c.c_void_p),
        ("n_rows", c.c_int32),
        ("tok", c.c_void_p),
        ("pos", c.c_void_p),
        ("seq", c.c_void_p),
        ("out_gen", c.c_void_p),
        ("n_media", c.c_int32),
        ("media", c.c_void_p),
        ("score", c.c_void_p),
        ("score_top", c.c_int32),
    ]


class Rows(c.Structure):
    """``rn_rows``: prompt rows that are no tokens."""

    _fields_ = [
        ("first", c.c_int32),
        ("n", c.c_int32),
        ("is_whole", c.c_int32),
        ("start", c.c_int32),
        ("of", c.c_int32),
        ("columns", c.c_int32),
        ("embd", c.c_void_p),
    ]


class File(c.Structure):
    """``rn_file``: an image or a sound as it was sent."""

    _fields_ = [
        ("data", c.c_void_p),
        ("len", c.c_uint64),
        ("id", c.c_void_p),
        ("is_sound", c.c_int32),
    ]


class StepOut(c.Structure):
    """``rn_step_out``."""

    _fields_ = [
        ("size", c.c_uint32),
        ("rc", c.c_int32),
        ("cap_out", c.c_int32),
        ("n_out", c.c_int32),
        ("n_drafted", c.c_void_p),
        ("gen", c.c_void_p),
        ("tok", c.c_void_p),
        ("flags", c.c_void_p),
        ("stop_index", c.c_void_p),
        ("text_off", c.c_void_p),
        ("text", c.c_void_p),
        ("cap_text", c.c_int64),
        ("logprob", c.c_void_p),
        ("cap_top", c.c_int32),
        ("n_top", c.c_void_p),
        ("top_tok", c.c_void_p),
        ("top_logprob", c.c_void_p),
        ("us_decode", c.c_int64),
        ("us_sample", c.c_int64),
    ]


_handle = c.c_void_p
_text = c.c_char_p
_out = c.POINTER(Buf)
_i32 = c.c_int32
_i64 = c.c_int64
_u64 = c.c_uint64
_i32s = c.POINTER(c.c_int32)
_f32s = c.POINTER(c.c_float)

PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "rn_abi_version": (_i32, []),
    "rn_init": (_i32, [_text]),
    "rn_last_error": (_text, []),
    "rn_last_code": (_i32, []),
    "rn_buf_free": (None, [_out]),
    "rn_log_drain": (_i32, [_out]),
    "rn_system_json": (_i32, [_out]),
    "rn_model_load": (_handle, [_text, c.POINTER(c.c_float), _i32s]),
    "rn_model_free": (None, [_handle]),
    "rn_model_info": (_i32, [_handle, _out]),
    "rn_adapter_load": (_i32, [_handle, _text, _out]),
    "rn_ctx_new": (_handle, [_handle, _text]),
    "rn_ctx_free": (None, [_handle]),
    "rn_ctx_info": (_i32, [_handle, _out]),
    "rn_ctx_set_draft": (_i32, [_handle, _handle]),
    "rn_adapters_use": (_i32, [_handle, _f32s, _i32]),
    "rn_threads_set": (_i32, [_handle, _i32, _i32]),
    "rn_tokenize": (_i64, [_handle, _text, _u64, _i32, _i32, _i32s, _i64]),
    "rn_token_piece": (_i64, [_handle, _i32, _i32, _text, _i64]),
    "rn_detokenize": (_i64, [_handle, _i32s, _i64, _i32, _text, _i64]),
    "rn_seq_rm": (_i32, [_handle, _i32, _i32]),
    "rn_seq_cp": (_i32, [_handle, _i32, _i32, _i32, _i32]),
    "rn_seq_range": (_i32, [_handle, _i32, _i32s, _i32s]),
    "rn_kv_clear": (_i32, [_handle]),
    "rn_seq_state_size": (_i64, [_handle, _i32]),
    "rn_seq_state_get": (_i64, [_handle, _i32, c.c_void_p, _i64]),
    "rn_seq_state_set": (_i32, [_handle, _i32, c.c_void_p, _i64, _i32s, _i64]),
    "rn_gen_new": (_i32, [_handle, _text]),
    "rn_gen_bind": (_i32, [_handle, _i32, _i32, _i32, _i32s, _i64]),
    "rn_gen_free": (_i32, [_handle, _i32]),
    "rn_step": (_i32, [_handle, c.POINTER(StepIn), c.POINTER(StepOut)]),
    "rn_score": (_i32, [_handle, _i32, _i32s, _i32, _f32s]),
    "rn_abort": (_i32, [_handle]),
    "rn_perf": (_i32, [_handle, _out, _i32]),
    "rn_embedder_new": (_handle, [_handle, _text]),
    "rn_embedder_free": (None, [_handle]),
    "rn_embedder_info": (_i32, [_handle, _out]),
    "rn_embedder_threads_set": (_i32, [_handle, _i32]),
    "rn_embed": (_i32, [_handle, _i32s, _i32s, _i32, _f32s, _i64]),
    "rn_embedder_abort": (_i32, [_handle]),
    "rn_tmpl_new": (_handle, [_handle, _text, _out]),
    "rn_tmpl_free": (None, [_handle]),
    "rn_tmpl_apply": (_i32, [_handle, _text, _out]),
    "rn_parser_new": (_handle, [_text]),
    "rn_parser_feed": (_i32, [_handle, _text, _u64, _i32, _out]),
    "rn_parser_work": (_u64, [_handle]),
    "rn_parser_free": (None, [_handle]),
    "rn_schema_to_grammar": (_i32, [_text, _out]),
    "rn_grammar_check": (_i32, [_handle, _text]),
    "rn_media_new": (_handle, [_handle, _text]),
    "rn_media_free": (None, [_handle]),
    "rn_media_info": (_i32, [_handle, _out]),
    "rn_media_read": (_handle, [_handle, _text, _u64, c.POINTER(File), _i32, _out]),
    "rn_parts_free": (None, [_handle]),
    "rn_media_encode": (_i32, [_handle, _handle, _i32, _f32s, _i64]),
}
