"""
Runs the emulated API, in a thread or as a process.

Tests and the demo use `EmulatedApi`. For load tests,
`python -m sidecar.emulator.api --port 0 --state-dir DIR` prints its addresses as one line of
JSON and is controlled through a second port (`sidecar.emulator.control`).
"""

import argparse
import asyncio
import contextlib
import json
import signal
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, Self

import uvloop
from aiohttp import web

from sidecar.emulator import control
from sidecar.emulator.ca import Certificate, ensure_certificate
from sidecar.emulator.key_ring import DEFAULT_ACCOUNT, Issued
from sidecar.emulator.service import application
from sidecar.emulator.state import NO_FAULTS, ApiState, Faults

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 10.0
SHUTDOWN_SECONDS: Final = 0.2


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, port: int, tls: ssl.SSLContext | None
) -> AsyncIterator[int]:
    """Serve on loopback while the context is open; yields the port."""
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        auto_decompress=False,
        keepalive_timeout=75,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port, ssl_context=tls, backlog=1024)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        server = runner.server
        connections = [] if server is None else server.connections
        transports = [one.transport for one in connections]
        await runner.cleanup()
        for transport in transports:
            if transport is not None:
                # A TLS close waits for the peer's close_notify, which may not arrive.
                transport.abort()
        await asyncio.sleep(0)  # lets the loop close them before it ends


class EmulatedApi:
    """
    The emulated API in a thread, with methods to control it; a context manager.

    Args:
        directory: for the CA and the certificate, which are made when missing.
        certificate: instead of the one in `directory`.
        tls: False = plain HTTP.
        now: wall clock that keys expire by.
    """

    def __init__(
        self,
        directory: Path,
        *,
        certificate: Certificate | None = None,
        tls: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.certificate = certificate or ensure_certificate(directory)
        self.state = ApiState.create(now)
        self.port = 0
        self._tls = self.certificate.server_context() if tls else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """The value for a sidecar's `base_url`."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{HOST}:{self.port}/v1"

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._started.clear()
        self._stop = asyncio.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, name="emulated-api")
        self._thread.start()
        if not self._started.wait(START_SECONDS) or self._failure is not None:
            message = "the emulated API did not start"
            raise RuntimeError(message) from self._failure

    def stop(self) -> None:
        """Stop listening and close every connection; answers in flight are cut."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = None

    def issue(
        self,
        account: str = DEFAULT_ACCOUNT,
        *,
        environment: str = "live",
        ttl_seconds: float | None = None,
        active: bool = True,
    ) -> Issued:
        """Make a key; not `active` = refused as unknown until `activate`."""
        return self.state.ring.issue(
            account, environment=environment, ttl_seconds=ttl_seconds, active=active
        )

    def revoke(self, key_id: str) -> None:
        """Refuse a key from now on."""
        self.state.ring.revoke(key_id)

    def expire(self, key_id: str) -> None:
        """Let a key expire now."""
        self.state.ring.expire(key_id)

    def activate(self, key_id: str) -> None:
        """Let a key that was issued inactive work from now on."""
        self.state.ring.activate(key_id)

    def fail(self, faults: Faults = NO_FAULTS) -> None:
        """Switch faults on; without an argument, off."""
        self.state.faults = faults

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        """Run the event loop of the thread."""
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except OSError as error:
            self._failure = error
            self._started.set()

    async def _serve(self) -> None:
        """Serve until `stop` is called."""
        self._loop = asyncio.get_running_loop()
        async with serving(application(self.state), self.port, self._tls) as port:
            self.port = port
            self._started.set()
            await self._stop.wait()


async def _serve_process(port: int, control_port: int, state_dir: Path) -> None:
    """Serve API and control port until SIGTERM or SIGINT."""
    certificate = ensure_certificate(state_dir)
    state = ApiState.create(time.time, state_dir)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    orders = control.application(state)
    async with (
        serving(application(state), port, certificate.server_context()) as api,
        serving(orders, control_port, None) as orders_port,
    ):
        addresses = {
            "port": api,
            "base_url": f"https://{HOST}:{api}/v1",
            "control_port": orders_port,
            "ca_file": str(certificate.ca_file),
        }
        print(json.dumps(addresses), flush=True)
        await stop.wait()


def main() -> None:
    """Run as a process."""
    parser = argparse.ArgumentParser(prog="python -m sidecar.emulator.api")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--state-dir", type=Path, required=True)
    args = parser.parse_args()
    args.state_dir.mkdir(parents=True, exist_ok=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_process(args.port, args.control_port, args.state_dir))


if __name__ == "__main__":
    main()
