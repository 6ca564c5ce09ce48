"""The settings: models, loading, and the reference that is made from them."""

from sidecar.settings.loading import load
from sidecar.settings.models import Settings

__all__ = ["Settings", "load"]
