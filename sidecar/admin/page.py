"""
`GET /` on the admin port: the status for people, as one page of its own.

The page asks for nothing from outside and is allowed nothing but its own style, its own
script (both by hash) and `/status` of the same origin. So even a hole in the rendering
could not run a script, load anything or send anything away.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from sidecar.admin import texts
from sidecar.admin.render import Document, body, overall

_FOLDER: Final = Path(__file__).parent
_STYLE: Final = (_FOLDER / "page.css").read_text(encoding="utf-8")
_SCRIPT: Final = (_FOLDER / "page.js").read_text(encoding="utf-8")
# "<" never ends the block early, whatever the words become.
_WORDS: Final = json.dumps(texts.TABLES).replace("<", "\\u003c")


def _hash(text: str) -> str:
    """The source of an inline block as a policy names it (CSP level 3, 2.3.1)."""
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
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(document: Document) -> str:
    """The whole page for a status document."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{overall(document)[1]} - sidecar</title>"
        '<noscript><meta http-equiv="refresh" content="15"></noscript>'
        f"<style>{_STYLE}</style></head><body>{body(document)}"
        f'<script type="application/json" id="words">{_WORDS}</script>'
        f"<script>{_SCRIPT}</script></body></html>"
    )


class StatusPage:
    """The handler; `document` makes what `/status` answers."""

    def __init__(self, document: Callable[[], Document]) -> None:
        self._document = document

    async def handle(self, request: web.Request) -> web.Response:
        """Answer with the page as it is at this moment."""
        del request
        return web.Response(
            text=page(self._document()), content_type="text/html", headers=HEADERS
        )
