"""
The status document as a page, with every value in it: it needs no script to be read.

Rule 1: all text goes through `_text` or an attribute through `_attr`; nothing else
makes markup. Names and errors may hold anything.
Rule 2: what changes carries `data-path` (where its value is in `/status`) and `data-as`
(how to show it); page.js renews it by these, with the same words.
"""

import html
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sidecar.admin import texts
from sidecar.admin.history import MINUTES

Document = Mapping[str, Any]

BAR_WIDTH: Final = 5
BAR_HEIGHT: Final = 28


def body(document: Document) -> str:
    """Everything inside `<body>` but the script."""
    now = float(document.get("now") or 0.0)
    job = document.get("job") or {}
    upstreams = document.get("upstreams") or {}
    webhooks = document.get("webhooks") or {}
    about = document.get("sidecar") or {}
    who = " · ".join(str(job[key]) for key in ("environment", "owner") if job.get(key))
    sections = [
        _upstream(number, name, status, now)
        for number, (name, status) in enumerate(upstreams.items())
    ]
    if webhooks:
        sections.append(_webhooks(webhooks))
    names = _attr([list(upstreams), list(webhooks)])
    level, headline = overall(document)
    return (
        f'<header><p class="job"><b>{_text(job.get("name", "sidecar"))}</b>'
        f" {_text(who)}</p>"
        f'<div role="status"><h1 id="overall" class="{level}">{_text(headline)}</h1></div>'
        '<p id="lost" role="alert" hidden></p></header>'
        f'<main data-names="{names}">{"".join(sections)}</main>'
        f"<footer><p>sidecar {_text(about.get('version', ''))}, Python"
        f" {_text(about.get('python', ''))}, started"
        f" {_moment(['started'], document.get('started'), now)}. As of"
        f' <time id="asof" datetime="{_iso(now)}">{_iso(now)}</time>.'
        ' <button id="pause" type="button" hidden>Pause</button></p></footer>'
    )


def overall(document: Document) -> tuple[str, str]:
    """How bad it is, and the headline: that of the worst upstream."""
    if document.get("draining"):
        return texts.WARN, texts.OVERALL["draining"]
    levels = {
        texts.STATES.get(str(status.get("state")), texts.UNKNOWN)[0]
        for status in (document.get("upstreams") or {}).values()
    }
    for level in (texts.BAD, texts.WARN):
        if level in levels:
            return level, texts.OVERALL[level]
    return texts.GOOD, texts.OVERALL[texts.GOOD]


def _upstream(number: int, name: str, status: Document, now: float) -> str:
    at = ["upstreams", name]
    level, word, sentence = texts.STATES.get(str(status.get("state")), texts.UNKNOWN)
    return (
        f'<section aria-labelledby="u{number}"><h2 id="u{number}">{_text(name)}</h2>'
        f'<p class="state {level}" data-path="{_attr(at)}" data-as="state"'
        f' role="status"><b>{_text(word)}</b> <span>{_text(sentence)}</span></p>'
        f"{_trouble(at, status)}"
        f"<dl>{''.join(_facts(at, status, now))}</dl>"
        f"{_answers(number, at, status)}"
        f'<h3 id="e{number}">What happened</h3>'
        f'<ol tabindex="0" aria-labelledby="e{number}" data-path="{_attr([*at, "events"])}"'
        f' data-as="events">{_events(status.get("events") or [], now)}</ol></section>'
    )


def _trouble(at: list[str], status: Document) -> str:
    """The last error and its remedy; there, but hidden, while all is well."""
    said = [str(status[key]) for key in ("last_error", "remedy") if status.get(key)]
    hidden = "" if said else " hidden"
    return (
        f'<p class="trouble" data-path="{_attr(at)}" data-as="trouble"{hidden}>'
        f"{_text('. '.join(said))}</p>"
    )


def _facts(at: list[str], status: Document, now: float) -> list[str]:
    """What is known of the key."""
    source = str(status.get("source") or texts.NEVER).replace("_", " ")
    key = _value([*at, "fingerprint"], "text", status.get("fingerprint"))
    facts = [
        ("Key", f"<code>{key}</code> from {_text(source)}"),
        ("In use since", _moment([*at, "since"], status.get("since"), now)),
        ("Made", _moment([*at, "created"], status.get("created"), now)),
    ]
    if status.get("rotate_before") is not None:
        facts.append(("Rotation due", _schedule(at, status, now)))
    facts += [
        ("Last look", _moment([*at, "refreshed"], status.get("refreshed"), now)),
        ("Next look", _moment([*at, "next_refresh"], status.get("next_refresh"), now)),
        ("New key", _value([*at, "candidate"], "text", status.get("candidate"))),
        ("Calls in flight", _value([*at, "inflight"], "count", status.get("inflight"))),
        ("401s recovered", _total("span", at, "recovered", status, texts.RECOVERED)),
    ]
    return [f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts]


def _schedule(at: list[str], status: Document, now: float) -> str:
    """When the key is due, and how much of its time is over."""
    due = float(status["rotate_before"])
    share = used(status.get("created"), due, now)
    return (
        f"{_moment([*at, 'rotate_before'], due, now)}"
        f' <meter min="0" max="1" high="0.9" value="{share:.3f}"'
        f' data-path="{_attr(at)}" data-as="used" aria-label="Age against the schedule">'
        f"{share:.0%}</meter>"
    )


def used(created: float | None, due: float, now: float) -> float:
    """The share of a key's scheduled life that is over, from 0 to 1."""
    if created is None or due <= created:
        return 1.0 if now >= due else 0.0
    return min(1.0, max(0.0, (now - created) / (due - created)))


def _answers(number: int, at: list[str], status: Document) -> str:
    """The last hour: one row per class, each with a scale of its own."""
    minutes = status.get("minutes") or {}
    rows = []
    for key, name in texts.ANSWERS.items():
        counts = [int(count) for count in minutes.get(key) or [0] * MINUTES]
        path = _attr([*at, "minutes", key])
        rows.append(
            f'<tr class="c{key}"><th scope="row">{_text(name)}</th>'
            f'<td class="chart">{_bars(path, counts)}</td>'
            f'<td data-path="{path}" data-as="sum">{sum(counts):,}</td></tr>'
        )
    return (
        f'<table class="answers" aria-labelledby="a{number}">'
        f'<caption id="a{number}">Answers of the API, last hour, each on its own scale</caption>'
        '<thead class="away"><tr><th scope="col">Answer</th>'
        '<th scope="col">Per minute</th><th scope="col">In the hour</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _bars(path: str, counts: Sequence[int]) -> str:
    width = BAR_WIDTH * MINUTES
    most = max(counts, default=0)
    rects = []
    for index, count in enumerate(counts):
        height = bar(count, most)
        rects.append(
            f'<rect x="{index * BAR_WIDTH}" y="{BAR_HEIGHT - height}"'
            f' width="{BAR_WIDTH - 1}" height="{height}"/>'
        )
    return (
        f'<svg viewBox="0 0 {width} {BAR_HEIGHT}" preserveAspectRatio="none"'
        f' aria-hidden="true" data-path="{path}" data-as="bars">{"".join(rects)}</svg>'
    )


def bar(count: int, most: int) -> int:
    """The height of a bar: one call in thousands can still be seen."""
    return max(3, round(BAR_HEIGHT * count / most)) if count > 0 else 0


def _events(events: Sequence[Document], now: float) -> str:
    items = []
    for one in events:
        sentence = texts.event(
            str(one.get("kind", "")),
            str(one.get("detail", "")),
            str(one.get("before", "")),
            int(one.get("count", 1)),
        )
        at = float(one.get("at", now))
        when = f'<time datetime="{_iso(at)}">{_text(texts.moment(at, now))}</time>'
        items.append(f"<li>{when} {_text(sentence)}</li>")
    return "".join(items) or f"<li>{texts.NOTHING}</li>"


def _webhooks(webhooks: Mapping[str, Document]) -> str:
    heads = "".join(f'<th scope="col">{name}</th>' for name in texts.DELIVERIES)
    rows = []
    for endpoint, results in webhooks.items():
        cells = [
            _total("td", ["webhooks"], endpoint, {endpoint: results}, kinds)
            for kinds in texts.DELIVERIES.values()
        ]
        rows.append(f'<tr><th scope="row">{_text(endpoint)}</th>{"".join(cells)}</tr>')
    return (
        '<section aria-labelledby="w"><h2 id="w">Webhooks</h2>'
        '<div class="wide" tabindex="0" role="region" aria-labelledby="d">'
        '<table><caption id="d">Deliveries since the start</caption><thead><tr>'
        f'<th scope="col">endpoint</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _total(
    tag: str, at: list[str], name: str, parent: Document, kinds: Sequence[str]
) -> str:
    """The sum of some counts of one table."""
    counts = parent.get(name) or {}
    paths = _attr([[*at, name, kind] for kind in kinds])
    total = sum(int(counts.get(kind) or 0) for kind in kinds)
    return f'<{tag} data-paths="{paths}">{total:,}</{tag}>'


def _value(path: list[str], how: str, value: object) -> str:
    shown = texts.NEVER if value is None else value
    text = f"{shown:,}" if isinstance(shown, int) else str(shown)
    return f'<span data-path="{_attr(path)}" data-as="{how}">{_text(text)}</span>'


def _moment(path: list[str], at: float | None, now: float) -> str:
    stamp = f' datetime="{_iso(at)}" title="{_iso(at)}"' if at is not None else ""
    text = _text(texts.moment(at, now))
    return f'<time data-path="{_attr(path)}" data-as="moment"{stamp}>{text}</time>'


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _attr(value: object) -> str:
    """A value as JSON in an attribute: any name survives it, none can leave it."""
    return html.escape(json.dumps(value), quote=True)
