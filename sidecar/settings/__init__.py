"""
The settings: models, loading, and the reference that is made from them.

Both names are imported when they are used: pydantic, which they need, costs 12 MB, and a
running sidecar gets its settings from a process beside it (`apart.py`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sidecar.settings.loading import load
    from sidecar.settings.models import Settings

__all__ = ["Settings", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from sidecar.settings.loading import load  # noqa: PLC0415  (see above)

        return load
    if name == "Settings":
        from sidecar.settings.models import Settings  # noqa: PLC0415  (see above)

        return Settings
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
