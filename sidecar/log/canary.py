"""
A test at every start: a fake key is logged on every path, and no line may show it.

The process does not become ready if a line shows it. A handler that other code adds to
the root logger later is not tested.
"""

import base64
import json
import logging
import urllib.parse
import warnings
from collections.abc import Callable
from typing import Final

import structlog

from sidecar.core.secrecy.redaction import Redactor
from sidecar.core.secrecy.secret import Secret
from sidecar.log.handler import CANARY, LineHandler


def canary_survives(redactor: Redactor, canary: Secret) -> tuple[str, ...]:
    """
    Log a fake key on every path, and name the paths that show it.

    Args:
        redactor: The redactor of the configured log.
        canary: A random value that is no key.

    Returns:
        Names of paths whose line shows the key or is missing; empty if all is well.
    """
    redactor.learn(canary)
    handler = next(
        (one for one in logging.getLogger().handlers if isinstance(one, LineHandler)),
        None,
    )
    if handler is None:
        return ("no handler",)
    key = canary.reveal()
    survived = []
    for name, path in _PATHS.items():
        with handler.tapped() as lines:
            path(key)
        if len(lines) != 1 or any(form in lines[0] for form in _forms(key)):
            survived.append(name)
    return tuple(survived)


def _forms(key: str) -> tuple[str, ...]:
    """Return the key as a line might show it."""
    return (
        key,
        json.dumps(key)[1:-1],
        urllib.parse.quote(key, safe=""),
        base64.b64encode(key.encode()).decode().rstrip("=")[:-1],
        key.encode().hex(),
    )


_bound: Final = structlog.stdlib.get_logger(CANARY)
_standard: Final = logging.getLogger(CANARY)


def _fail(key: str) -> None:
    """Raise with the key in the arguments, the cause and the locals."""
    try:
        dict[str, str]()[key]
    except KeyError as cause:
        raise RuntimeError({"Authorization": f"Bearer {key}"}) from cause


def _raised(key: str, *, standard: bool) -> None:
    """Log an exception that holds the key."""
    try:
        _fail(key)
    except RuntimeError:
        if standard:
            _standard.critical("canary", exc_info=True)
        else:
            _bound.critical("canary", exc_info=True)


def _warned(key: str) -> None:
    """Log the text of a captured warning."""
    text = warnings.formatwarning(key, UserWarning, "canary.py", 1)
    _standard.critical("%s", text)


_PATHS: Final[dict[str, Callable[[str], None]]] = {
    "event": lambda key: _bound.critical(f"canary {key}"),
    "field": lambda key: _bound.critical("canary", value=key),
    "field name": lambda key: _bound.critical("canary", **{key: 1}),
    "nested field": lambda key: _bound.critical("canary", value={"a": [{key: key}]}),
    "bytes": lambda key: _bound.critical("canary", value=key.encode()),
    "headers": lambda key: _bound.critical(
        "canary", value=[(b"Authorization", f"Bearer {key}".encode())]
    ),
    "long field": lambda key: _bound.critical("canary", value="-" * 2000 + key * 9),
    "base64": lambda key: _bound.critical(
        "canary", value=base64.b64encode(key.encode()).decode()
    ),
    "query": lambda key: _bound.critical(
        "canary", target=f"/a?b={urllib.parse.quote(key, safe='')}"
    ),
    "exception": lambda key: _raised(key, standard=False),
    "standard message": lambda key: _standard.critical("canary %s", key),
    "standard repr": lambda key: _standard.critical("canary %r", {"a": key.encode()}),
    "standard exception": lambda key: _raised(key, standard=True),
    "warning": _warned,
}
