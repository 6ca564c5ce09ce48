"""
What a verified delivery costs: the sidecar in front of an app, and the app alone.

    .venv/bin/python benchmarks/webhooks.py [--deliveries 4000] [--connections 16]

- `app alone`: an aiohttp handler that verifies with the `standardwebhooks` package
  (installed into a temporary directory) and remembers ids in a dict. No rotation, no
  lease, no bound; the secret is in the app.
- `memory`: `sidecar run` with `dedupe = "memory"` before an aiohttp handler that does
  nothing. What the app costs is on the line, too: it is one hop more.
- `dynamodb`: the same with a table, on moto in a process of its own: each delivery is
  two conditional writes. Its rate is moto's, its CPU is ours.

Deliveries are signed before the clock starts, each with an id of its own. CPU is user
and system time of the process by /proc, divided by the deliveries.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.core.webhooks.signing_keys import parse_signing_key
from sidecar.core.webhooks.verification import sign
from sidecar.emulator.aws import AwsClient, environment
from sidecar.emulator.http_calls import wait_until
from sidecar.emulator.sidecar_process import SidecarProcess

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type":"contact.updated","data":{"id":"c_1","text":"%b"}}' % (b"x" * 960)
TICKS = os.sysconf("SC_CLK_TCK")
TABLE = "benchmark-ids"

APP = """
import sys
from aiohttp import web
import uvloop

seen = {}

async def bare(request):
    await request.read()
    return web.Response(status=204)

async def verifying(request):
    body = await request.read()
    try:
        webhook.verify(body, request.headers)
    except WebhookVerificationError:
        return web.Response(status=401)
    if request.headers["webhook-id"] in seen:
        return web.Response(status=200)
    seen[request.headers["webhook-id"]] = True
    return web.Response(status=204)

if sys.argv[1] == "verifying":
    from standardwebhooks import Webhook, WebhookVerificationError
    webhook = Webhook(sys.argv[2])

async def main():
    app = web.Application()
    app.router.add_post("/{any:.*}", verifying if sys.argv[1] == "verifying" else bare)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    import asyncio
    await asyncio.Event().wait()

uvloop.run(main())
"""


@dataclass(frozen=True)
class Figures:
    """What one run measured."""

    rate: float
    milliseconds: float
    """Median, from a delivery's last byte to its answer."""
    cpu: dict[str, float]
    """Microseconds per delivery, by process."""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def app_process(kind: str, packages: str = "") -> Iterator[tuple[int, int]]:
    """Run an app; yields its pid and port."""
    process = subprocess.Popen(
        [sys.executable, "-c", APP, kind, SECRET],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": packages},
    )
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def deliveries(count: int, path: str) -> list[bytes]:
    """Sign deliveries, each with an id of its own."""
    signer, at, run = parse_signing_key(SECRET), int(time.time()), time.monotonic_ns()
    found = []
    for number in range(count):
        id_ = f"msg_{run}_{number}"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: sidecar\r\nwebhook-id: {id_}\r\n"
            f"webhook-timestamp: {at}\r\n"
            f"webhook-signature: {sign(signer, id_, at, BODY)}\r\n"
            f"Content-Type: application/json\r\nUser-Agent: bench\r\n"
            f"Content-Length: {len(BODY)}\r\n\r\n"
        )
        found.append(head.encode() + BODY)
    return found


async def send_all(port: int, requests: list[bytes], connections: int) -> list[float]:
    """Send everything over some connections; returns how long each took."""
    waiting, took = iter(requests), []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for data in waiting:
            began = time.perf_counter()
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            took.append(time.perf_counter() - began)
            assert head.startswith(b"HTTP/1.1 204 "), head
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return took


def measure(
    port: int, path: str, pids: dict[str, int], count: int, connections: int
) -> Figures:
    """Warm up, then time `count` deliveries."""
    asyncio.run(send_all(port, deliveries(count // 10, path), connections))
    requests = deliveries(count, path)
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    began = time.perf_counter()
    took = asyncio.run(send_all(port, requests, connections))
    seconds = time.perf_counter() - began
    cpu = {n: (cpu_seconds(pid) - before[n]) / count * 1e6 for n, pid in pids.items()}
    return Figures(count / seconds, statistics.median(took) * 1e3, cpu)


def alone(count: int, connections: int) -> Figures:
    """Measure the app that verifies for itself."""
    with tempfile.TemporaryDirectory() as packages:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--target"]
        subprocess.run([*install, packages, "standardwebhooks"], check=True)
        with app_process("verifying", packages) as (pid, port):
            return measure(port, "/hooks", {"app": pid}, count, connections)


def behind(dedupe: str, count: int, connections: int) -> Figures:
    """Measure the sidecar before an app that does nothing."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (directory / "secret").write_text(SECRET)
        app, app_port = stack.enter_context(app_process("bare"))
        settings = {
            "job": {"name": "development-bench", "environment": "development"},
            "webhooks": {
                "inbox": {
                    "file": str(directory / "secret"),
                    "forward_to": f"http://127.0.0.1:{app_port}/hooks",
                    "dedupe": dedupe,
                }
            },
            "webhook_listener": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
        }
        if dedupe != "memory":
            endpoint_url = stack.enter_context(dynamodb_process())
            make_table(AwsClient(endpoint_url))
            settings["aws"] = {"region": "eu-west-1", "endpoint_url": endpoint_url}
        sidecar = SidecarProcess(directory / "run", settings)
        stack.callback(sidecar.close)
        wait_until(lambda: sidecar.logs("webhook_secrets_changed"), "a secret", 20)
        port = int(sidecar.address("webhooks").rpartition(":")[2])
        pids = {"sidecar": sidecar.pid, "app": app}
        return measure(port, "/webhooks/inbox", pids, count, connections)


@contextmanager
def dynamodb_process() -> Iterator[str]:
    """Run moto in a process of its own; yields its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sidecar.emulator.aws"],
        stdout=subprocess.PIPE,
        env=environment(os.environ),
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().split('"')[3]
    finally:
        process.terminate()
        process.wait()


def make_table(aws: AwsClient) -> None:
    """Make the table of ids."""
    aws.dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=16)
    args = parser.parse_args()
    count, connections = args.deliveries, args.connections
    runs: dict[str, Callable[[], Figures]] = {
        "app alone": lambda: alone(count, connections),
        "memory": lambda: behind("memory", count, connections),
        "dynamodb": lambda: behind(f"dynamodb:{TABLE}", count // 4, connections),
    }
    print(f"{connections} connections, {len(BODY)}-byte bodies, verified and new each")
    for name, run in runs.items():
        figures = run()
        cpu = ", ".join(f"{who} {us:.0f} us" for who, us in figures.cpu.items())
        print(
            f"{name:10} {figures.rate:7.0f}/s   median {figures.milliseconds:6.2f} ms"
            f"   CPU per delivery: {cpu}"
        )


if __name__ == "__main__":
    main()
