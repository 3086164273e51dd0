"""Where the computation of a prompt pauses for its state to be saved.

Only for memory that cannot be cut back: a window-sized cache, recurrent layers. There a text serves
others as a whole or not at all, so what they will want to begin with has to be saved in passing:

- The place where a prompt parts from a text that came before: two had this beginning, more will.
- A little before its end: the next turn of a conversation often renders the end in another way,
  and a repeated prompt computes its last row again.
- Now and then in between, as far as time and room allow it.
"""

from __future__ import annotations

TAIL_TOKENS = 8  # before the end: more than a template's opening of an answer
COPY_SHARE = 16  # saving takes a sixteenth of the time of computing, at most
ROOM_SHARE = 4  # and one text's saved states a quarter of the room


def choose_stride(
    length: int, *, least: int, size_bytes: int, room_bytes: int, copy_s: float, row_s: float
) -> int:
    """Say after how many tokens a prompt of ``length`` is saved again; ``length``: never.

    ``least`` tokens, or so many times two. A state of the prompt takes ``size_bytes`` and
    ``copy_s``, a row of it ``row_s`` to compute.
    """
    stride = least
    while stride < length:
        is_quick = COPY_SHARE * copy_s <= stride * row_s
        if is_quick and ROOM_SHARE * size_bytes * (length // stride) <= room_bytes:
            return stride
        stride *= 2
    return length


def place_marks(start: int, end: int, *, parting: int, stride: int, least: int) -> list[int]:
    """List the places, ascending, in a prompt of which tokens ``start``..``end`` are computed.

    ``parting`` tokens of it begin an earlier text as well. No two places are closer than
    ``least``.
    """
    marks: list[int] = []
    for mark in (parting, end - TAIL_TOKENS, *range(stride, end, stride)):
        others = (start, *marks)
        if start < mark < end and all(abs(mark - other) >= least for other in others):
            marks.append(mark)
    return sorted(marks)
