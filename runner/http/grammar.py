r"""The grammar of RFC 9110 and RFC 9112 as patterns, over heads decoded as Latin-1.

Every repetition of characters is possessive (``++``): it never gives back what it took, so that no
input makes matching more than linear. Groups are repeated greedily, where each step back fails at
once: before Python 3.11.5 a possessive group kept what its last, failed round had taken
(python/cpython#106052). None of these accepts a bare CR, a bare LF or a NUL.
"""

from __future__ import annotations

import re

# token = 1*tchar (RFC 9110 §5.6.2)
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
IS_TOKEN = re.compile(TOKEN)

# field-vchar = VCHAR / obs-text (RFC 9110 §5.5)
_VCHARS = r"[!-~\x80-\xff]++"

# field-line = field-name ":" OWS field-value OWS CRLF (RFC 9112 §5). No space before the colon,
# no line folding. ``findall`` gives pairs; the first thing that is no field line takes all the
# rest with it and gives a pair without a name, which can only be the last one.
FIELD = re.compile(
    rf"({TOKEN}):[ \t]*+((?:{_VCHARS}(?:[ \t]++{_VCHARS})*)?)[ \t]*+\r\n|.++",
    re.DOTALL,
)

# request-line = method SP request-target SP HTTP-version CRLF (RFC 9112 §3). One empty line
# before it is ignored (§2.2): old clients send a CRLF after a body.
REQUEST_LINE = re.compile(rf"(?:\r\n)?({TOKEN}) ([!-~]++) HTTP/([0-9])\.([0-9])\r\n")

# status-line = HTTP-version SP status-code SP [ reason-phrase ] CRLF (RFC 9112 §4). The space
# before an empty reason is left out by some servers, and every client takes that.
STATUS_LINE = re.compile(r"HTTP/([0-9])\.([0-9]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*+))?\r\n")

# chunk = chunk-size [ chunk-ext ] CRLF (RFC 9112 §7.1). Sixteen digits are 2^64 and enough.
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*+;[\t -~\x80-\xff]*+)?\r\n")

# Content-Length = 1*DIGIT (RFC 9110 §8.6); eighteen digits are an exabyte.
CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")

# The Host field: uri-host [ ":" port ] (RFC 9110 §7.2), narrowed to names that exist: no percent
# encoding, no userinfo, no sub-delims.
HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z_.-]{1,255})(?::([0-9]{0,5}))?")

# absolute-form (RFC 9112 §3.2.2) of the only schemes that can reach us.
ABSOLUTE_TARGET = re.compile(r"https?://([^/?#]*+)([^#]*+)", re.IGNORECASE)

BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# What HTTP/0.9 sent: a method and a target and nothing else.
HTTP_0_9_LINE = re.compile(rf"{TOKEN} [!-~]++\r?\n")
