"""
structlog without the packages that only its pretty printer wants.

`structlog.dev` imports rich, colorama and better_exceptions where they are installed:
4 MB and 0.1 s (measured), for tracebacks with locals that must never be printed here.
Anybody else may still import them.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

_UNWANTED: Final = ("rich", "colorama", "better_exceptions")

__all__ = ["structlog"]


def _without(names: tuple[str, ...], module: str) -> Any:
    """Import a module as if these others were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    # None in sys.modules makes an import raise ModuleNotFoundError.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # typeshed knows no None here
    try:
        return importlib.import_module(module)
    finally:
        for name in hidden:
            del sys.modules[name]


if TYPE_CHECKING:
    import structlog
else:
    structlog = _without(_UNWANTED, "structlog")
