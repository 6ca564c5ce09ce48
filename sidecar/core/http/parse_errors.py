"""
Why llhttp refused a request head: the error code and the message for the answer.

llhttp refuses some requests that deserve a better answer than 400: an unknown transfer
coding, another version, an unknown method. This file reads the head again, slowly and
strictly, to find that answer. It never accepts a head: it always returns a refusal.
"""

import re
from typing import Final

from sidecar.core.http.fields import TOKEN, Field
from sidecar.core.http.request_head import RequestRules
from sidecar.core.http.target import check_target
from sidecar.errors import Code, Refused

# RFC 9112, 3: request-line = method SP request-target SP HTTP-version.
_REQUEST_LINE: Final = re.compile(
    rb"(?P<method>%b) (?P<target>[^ ]+)(?: HTTP/(?P<version>[0-9]\.[0-9]))?"
    % TOKEN.pattern
)
# RFC 9112, 5: field-line, without the folding that 5.2 forbids.
_FIELD_LINE: Final = re.compile(
    rb"(?P<name>%b):[ \t]*(?P<value>[^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*" % TOKEN.pattern
)
# llhttp knows these methods; methods are case-sensitive (RFC 9110, 9.1).
_USUAL: Final = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"}
)


def explain(head: bytes, rules: RequestRules) -> Refused:
    """
    Return the refusal for a request head that llhttp did not accept.

    Args:
        head: The bytes of the head, complete or not.
        rules: The rules of the upstream for request heads.
    """
    line, _, rest = head.partition(b"\r\n")
    parts = _REQUEST_LINE.fullmatch(line)
    if not parts:
        return Refused(Code.BAD_REQUEST, "The request line is malformed")
    method, target = parts["method"], parts["target"]
    if parts["version"] not in (b"1.0", b"1.1"):
        return Refused(
            Code.VERSION_UNSUPPORTED, "Only HTTP/1.1 and HTTP/1.0 are supported"
        )
    fields: list[Field] = []
    for field_line in rest.removesuffix(b"\r\n\r\n").split(b"\r\n"):
        field = _FIELD_LINE.fullmatch(field_line)
        if field_line and not field:
            return Refused(Code.BAD_HEADER, "A field is malformed")
        if field:
            fields.append((field["name"], field["value"]))
    try:
        rules.read(head, method, target, fields)
        check_target(target)
    except Refused as refused:
        return refused
    if method in _USUAL or method != method.upper():
        return Refused(Code.BAD_REQUEST, "The head is malformed")
    return Refused(Code.METHOD_REFUSED, "This method is not forwarded")
