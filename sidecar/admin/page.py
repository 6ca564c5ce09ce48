"""
The status page: `GET /` on the admin port shows people what `/status` shows programs.

The page loads nothing, and its policy (Content Security Policy level 3) allows nothing but
its own style and script, both by hash, and requests to its own origin. So an error in the
rendering could neither run a script, nor load, nor send anything.
"""

import base64
import hashlib
from pathlib import Path
from typing import Final

from sidecar.admin.render import StatusDocument, body, overall

_FOLDER: Final = Path(__file__).parent
_STYLE: Final = (_FOLDER / "page.css").read_text(encoding="utf-8")
_SCRIPT: Final = (_FOLDER / "page.js").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash of an inline block as a policy names it (CSP level 3, 2.3.1)."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(_STYLE)}",
        f"script-src {_hash(_SCRIPT)}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""These join the headers of every response of the admin port."""


def page(document: StatusDocument) -> str:
    """Render a status document as a whole HTML page."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{overall(document)[1]} - sidecar</title>"
        '<noscript><meta http-equiv="refresh" content="15"></noscript>'
        f"<style>{_STYLE}</style></head><body>{body(document)}"
        f"<script>{_SCRIPT}</script></body></html>"
    )
