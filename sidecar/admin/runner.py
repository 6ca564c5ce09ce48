"""The admin listener: in a pod it is open to the cluster, so it has bounds."""

from typing import Final

from aiohttp import web

from sidecar.limited_server import ConnectionLimitedServer

MAX_CONNECTIONS: Final = 256
"""Some people, kubelet and a few Prometheus servers."""
IDLE_SECONDS: Final = 10.0
"""For a head, and between two. A scrape that comes later connects again."""
SHUTDOWN_SECONDS: Final = 1.0


class AdminRunner(web.AppRunner):
    """Serves the application of the admin port."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(app, shutdown_timeout=SHUTDOWN_SECONDS)

    async def _make_server(self) -> web.Server:
        started = await super()._make_server()
        return ConnectionLimitedServer(
            started, MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS
        )
