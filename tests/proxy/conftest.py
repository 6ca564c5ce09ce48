"""The hot path is tested on the event loop that the product runs on."""

from collections.abc import Callable, Mapping
from typing import Any

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    """Run on uvloop."""
    return {"uvloop": uvloop.new_event_loop}
