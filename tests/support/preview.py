"""
Makes the pictures of the README: `python -m tests.support.preview [FOLDER]`.

A real sidecar has a rotation, a series of 403s and a refused key, while a real Prometheus
scrapes it. The panels are drawn from the results of the dashboard's own queries, without
Grafana; Chromium shows the status page.
"""

import asyncio
import html
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import EmulatedAws
from sidecar.emulator.http_calls import call, wait_until
from sidecar.emulator.sidecar_process import UPSTREAM, Settings, SidecarProcess
from tests.support.browser import browser, new_tab
from tests.support.monitoring import Prometheus, monitored
from tests.support.ops_tools import ROOT
from tests.support.promql import Query, panels
from tests.support.traffic import traffic

SECRET_ID: Final = "prod/flownally/crm-sync"
SHOWN: Final = (
    "401 by operation: the key is not accepted",
    "403 by operation: the key is valid, the operation is not allowed",
    "State of every key",
    "401s recovered",
    "Responses by code and origin",
    "Overhead of the sidecar, p50 and p99",
)
COLOURS: Final = ("#7eb26d", "#e24d42", "#ef843c", "#6ed0e0", "#eab839", "#ba43a9")
STATES: Final = {
    1: ("fresh", "#3f9d5d"),
    2: ("stale", "#d9b72b"),
    3: ("rolled back", "#e0752d"),
    4: ("rejected", "#d44a3a"),
    5: ("refused", "#8b1a1a"),
    6: ("missing", "#8f3bb8"),
    7: ("expired", "#5b1f78"),
}
WIDTH, HEIGHT = 540, 150


def draw(
    title: str, series: Sequence[dict[str, Any]], span: tuple[float, float]
) -> str:
    """One panel as HTML."""
    begin, end = span
    most = max((float(v) for s in series for _, v in s["values"]), default=0) or 1
    shapes, legend = [], []
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        points = [
            ((float(t) - begin) / (end - begin) * WIDTH, float(v))
            for t, v in one["values"]
            if v != "NaN"
        ]
        if title == "State of every key":
            shapes += [
                f'<rect x="{x:.1f}" y="40" width="{WIDTH / 60:.1f}" height="70"'
                f' fill="{STATES[int(v)][1]}"/>'
                for x, v in points
                if int(v) in STATES
            ]
            seen = sorted({int(v) for _, v in points} & STATES.keys())
            legend += [
                f'<i style="color:{STATES[n][1]}">■</i> {STATES[n][0]}' for n in seen
            ]
            continue
        path = " ".join(
            f"{x:.1f},{HEIGHT - v / most * (HEIGHT - 8):.1f}" for x, v in points
        )
        shapes.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        name = one["legend"]
        for label, value in one["metric"].items():
            name = name.replace(f"{{{{{label}}}}}", value)
        legend.append(f'<i style="color:{colour}">■</i> {html.escape(name)}')
    top = "" if title.startswith("State") else f"<u>{most:.3g}</u>"
    return (
        f"<section><h2>{html.escape(title)}</h2>{top}"
        f'<svg width="{WIDTH}" height="{HEIGHT}" shape-rendering="crispEdges">{"".join(shapes)}</svg>'
        f"<p>{' &nbsp; '.join(legend)}</p></section>"
    )


def drawn(prometheus: Prometheus, span: tuple[float, float]) -> str:
    """The panels that are shown, on a page."""
    parts = []
    for panel in panels():
        if panel["title"] not in SHOWN:
            continue
        series = []
        for target in panel["targets"]:
            query = Query(panel["title"], target["expr"], panel["type"])
            expr = query.filled(__rate_interval="5s", __range="1m")
            series += [
                one | {"legend": target["legendFormat"]}
                for one in prometheus.range(expr, *span, step=1.0)
            ]
        parts.append(draw(panel["title"], series, span))
    style = (
        "body{margin:12px;background:#111217;color:#ccccdc;font:13px system-ui;width:1130px;"
        "display:grid;grid-template-columns:1fr 1fr;gap:8px}"
        "section{background:#181b1f;border:1px solid #2c3235;padding:8px 10px}"
        "h2{font-size:13px;margin:0 0 6px}p{margin:6px 0 0;font-size:11px}"
        "u{font-size:10px;text-decoration:none;color:#8e8e99}svg{display:block}i{font-style:normal}"
    )
    return (
        f'<!doctype html><meta charset="utf-8"><style>{style}</style>{"".join(parts)}'
    )


def live(folder: Path) -> None:
    """Two minutes in the life of a sidecar, and its pictures."""
    with (
        tempfile.TemporaryDirectory() as name,
        EmulatedApi(Path(name) / "api") as api,
        EmulatedAws() as aws,
    ):
        first = api.issue()
        aws.put_secret(SECRET_ID, first.key)
        settings: Settings = {
            "job": {
                "name": "production-crm-sync",
                "environment": "production",
                "owner": "crm-platform",
                "rotate_every_days": 90,
            },
            "upstreams": {
                UPSTREAM: {
                    "listen": "127.0.0.1:0",
                    "base_url": api.base_url,
                    "ca_file": str(api.certificate.ca_file),
                    "allow": ["GET /contacts", "GET /status/**"],
                    "credential": {"secret_id": SECRET_ID, "refresh_seconds": 2},
                }
            },
            "admin": {"listen": "127.0.0.1:0"},
            "aws": {"region": "eu-west-1", "endpoint_url": aws.endpoint},
        }
        running = SidecarProcess(Path(name) / "sidecar", settings)
        try:
            running.wait_ready()
            address = running.address()
            with monitored(Path(name), running.address("admin")) as prometheus:
                begin = time.time()
                with traffic(address) as answers:
                    more(answers.total, 400)
                    second = api.issue()
                    aws.rotate(SECRET_ID, second.key)
                    api.revoke(first.id)
                    more(answers.total, 300)
                    with traffic(address, ("/status/403",), pause=0.05):
                        more(answers.total, 300)
                    for target in ("/a/../b", "/deals", "/deals"):
                        call(address, target)
                    more(answers.total, 300)
                    asyncio.run(shoot(f"http://{running.address('admin')}/", folder))
                    api.revoke(second.id)
                    more(answers.total, 300)
                    aws.rotate(SECRET_ID, api.issue().key)
                    more(answers.total, 600)
                page = Path(name) / "panels.html"
                page.write_text(drawn(prometheus, (begin, time.time())))
            asyncio.run(shoot_panels(page.as_uri(), folder))
        finally:
            running.close()


def more(total: Callable[[], int], calls: int) -> None:
    """Wait for so many more calls."""
    goal = total() + calls
    wait_until(lambda: total() >= goal, "traffic", 60)


async def shoot(url: str, folder: Path) -> None:
    """Picture the status page, on a desk by day and on a phone by night."""
    async with browser() as socket, new_tab(socket) as tab:
        await tab.look_like(width=900, height=600)
        await tab.go(url)
        await tab.screenshot(folder / "status-page.png")
        await tab.look_like(width=390, height=700, scheme="dark")
        await tab.screenshot(folder / "status-page-phone.png")


async def shoot_panels(url: str, folder: Path) -> None:
    """Picture the panels."""
    async with browser() as socket, new_tab(socket) as tab:
        await tab.look_like(width=1170, height=700)
        await tab.go(url)
        await tab.screenshot(folder / "panels.png")


if __name__ == "__main__":
    live(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "config/grafana")
