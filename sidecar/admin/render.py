"""
Renders the status document as HTML. This is the only renderer: page.js fetches the page
again and copies what changed.

Rule 1: every text that a document holds passes `_text`; names and errors may hold markup.
Rule 2: the elements of an upstream are always the same, hidden where they do not apply, so
that page.js can change them in place and keep focus and scroll position.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sidecar.admin import texts
from sidecar.admin.history import MINUTES

StatusDocument = Mapping[str, Any]

BAR_WIDTH: Final = 5
BAR_HEIGHT: Final = 28


def body(document: StatusDocument) -> str:
    """Render everything inside `<body>` except the script."""
    now = float(document.get("now") or 0.0)
    job = document.get("job") or {}
    about = document.get("sidecar") or {}
    owner = " · ".join(
        _text(job[key]) for key in ("environment", "owner") if job.get(key)
    )
    upstreams = (document.get("upstreams") or {}).items()
    sections = [
        _upstream(number, name, status, now)
        for number, (name, status) in enumerate(upstreams)
    ]
    webhooks = _webhooks(document["webhooks"]) if document.get("webhooks") else ""
    severity, headline = overall(document)
    return (
        '<p id="lost" role="alert" hidden></p>'
        f'<header><p class="job"><b>{_text(job.get("name", "sidecar"))}</b> {owner}</p>'
        f'<div role="status"><h1 class="{severity}">{_text(headline)}</h1></div></header>'
        f'<main><div class="upstreams">{"".join(sections)}</div>{webhooks}</main>'
        f'<footer><p id="about">sidecar {_text(about.get("version", ""))}, Python'
        f" {_text(about.get('python', ''))}, started"
        f" {_moment(document.get('started'), now)}. As of"
        f' <time id="asof" datetime="{_iso(now)}">{_iso(now)}</time>.'
        " As JSON: /status. For Prometheus: /metrics.</p>"
        '<button id="pause" type="button" hidden>Pause</button></footer>'
    )


def overall(document: StatusDocument) -> tuple[str, str]:
    """Return the severity of the worst upstream, and the headline."""
    if document.get("draining"):
        return texts.WARN, texts.OVERALL["draining"]
    found = {
        texts.STATES.get(state_of(status), texts.UNKNOWN)[0]
        for status in (document.get("upstreams") or {}).values()
    }
    order = (texts.BAD, texts.WARN)
    worst = next((one for one in order if one in found), texts.GOOD)
    return worst, texts.OVERALL[worst]


def state_of(status: StatusDocument) -> str:
    """Return the state of an upstream's key."""
    return str(status.get("state") or "")


def _upstream(number: int, name: str, status: StatusDocument, now: float) -> str:
    severity, word, explanation = texts.STATES.get(state_of(status), texts.UNKNOWN)
    facts = "".join(
        f"<div><dt>{term}</dt><dd>{value}</dd></div>"
        for term, value in _facts(status, now)
    )
    events = "".join(f"<li>{_event(one, now)}</li>" for one in status.get("events", ()))
    return (
        f'<section aria-labelledby="u{number}"><h2 id="u{number}">{_text(name)}</h2>'
        f'<p class="state {severity}" role="status"><b>{_text(word)}</b>'
        f" <span>{_text(explanation)}</span></p>"
        f"{_trouble(status)}<dl>{facts}</dl>{_answers(number, status)}"
        f'<h3 id="e{number}">Events</h3><ol tabindex="0" aria-labelledby="e{number}">'
        f"{events or f'<li>{texts.NO_EVENTS}</li>'}</ol></section>"
    )


def _trouble(status: StatusDocument) -> str:
    """Render the last error and its remedy; hidden when there is neither."""
    lines = [
        f"<span><b>{label}:</b> {_text(status[key])}</span>"
        for key, label in (("last_error", "Last error"), ("remedy", "Remedy"))
        if status.get(key)
    ]
    return f'<p class="trouble"{"" if lines else " hidden"}>{" ".join(lines)}</p>'


def _facts(status: StatusDocument, now: float) -> Iterable[tuple[str, str]]:
    """Give the terms and values about the key and its calls."""
    source = str(status.get("source") or texts.NO_VALUE)
    due = status.get("rotate_before")
    yield "Key", f"<code>{_value(status.get('fingerprint'))}</code>"
    yield "Source", _text(texts.SOURCES.get(source, source))
    yield "In use since", _moment(status.get("since"), now)
    yield "Created", _moment(status.get("created"), now)
    yield "Rotate before", _moment(due, now) + _life(status.get("created"), due, now)
    yield "Last refresh", _moment(status.get("refreshed"), now)
    yield "Next refresh", _moment(status.get("next_refresh"), now)
    rejected = " rejected" if status.get("candidate_rejected") else ""
    yield "Candidate", f"<code>{_value(status.get('candidate'))}</code>{rejected}"
    yield "Calls in flight", _value(status.get("inflight"))
    yield "401s recovered", _value(sum((status.get("recovered") or {}).values()))


def _life(created: float | None, due: float | None, now: float) -> str:
    """Render how much of the scheduled life of a key is over."""
    if due is None:
        return ""
    share = used(created, due, now)
    return (
        f' <meter min="0" max="1" high="0.9" value="{share:.3f}"'
        f' aria-label="Used part of the scheduled life">{share:.0%}</meter>'
    )


def used(created: float | None, due: float, now: float) -> float:
    """Return the share of a key's scheduled life that is over, from 0 to 1."""
    if created is None or due <= created:
        return 1.0 if now >= due else 0.0
    return min(1.0, max(0.0, (now - created) / (due - created)))


def _answers(number: int, status: StatusDocument) -> str:
    """Render the last hour: one row of bars for each class of responses."""
    minutes = status.get("minutes") or {}
    rows = []
    for key, name in texts.ANSWERS.items():
        counts = [int(count) for count in minutes.get(key) or [0] * MINUTES]
        rows.append(
            f'<tr class="c{key}"><th scope="row">{_text(name)}</th>'
            f'<td class="chart">{_bars(counts)}</td><td>{sum(counts):,}</td></tr>'
        )
    return (
        f'<table class="answers" aria-labelledby="a{number}">'
        f'<caption id="a{number}">Responses of the API in the last hour'
        " <small>each row has its own scale</small></caption>"
        '<thead class="away"><tr><th scope="col">Response</th>'
        '<th scope="col">Per minute</th><th scope="col">In the hour</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _bars(counts: Sequence[int]) -> str:
    """Render counts as one path with a bar for each count above 0."""
    most = max(counts, default=0)
    bars = "".join(
        f"M{index * BAR_WIDTH} {BAR_HEIGHT}v-{bar(count, most)}"
        f"h{BAR_WIDTH - 1}v{bar(count, most)}z"
        for index, count in enumerate(counts)
        if count > 0
    )
    return (
        f'<svg viewBox="0 0 {BAR_WIDTH * MINUTES} {BAR_HEIGHT}"'
        f' preserveAspectRatio="none" aria-hidden="true"><path d="{bars}"/></svg>'
    )


def bar(count: int, most: int) -> int:
    """Return the height of a bar; a single call among thousands stays visible."""
    return max(3, round(BAR_HEIGHT * count / most)) if count > 0 else 0


def _event(event: StatusDocument, now: float) -> str:
    sentence = texts.event(
        str(event.get("kind", "")),
        str(event.get("detail", "")),
        str(event.get("before", "")),
        int(event.get("count", 1)),
    )
    return f"{_moment(float(event.get('at', now)), now)} {_text(sentence)}"


def _webhooks(webhooks: Mapping[str, Mapping[str, int]]) -> str:
    heads = "".join(f'<th scope="col">{name}</th>' for name in texts.DELIVERIES)
    rows = []
    for endpoint, results in webhooks.items():
        cells = "".join(
            f"<td>{sum(results.get(kind, 0) for kind in kinds):,}</td>"
            for kinds in texts.DELIVERIES.values()
        )
        rows.append(f'<tr><th scope="row">{_text(endpoint)}</th>{cells}</tr>')
    return (
        '<section aria-labelledby="w"><h2 id="w">Webhooks</h2>'
        '<div class="wide" tabindex="0" role="region" aria-labelledby="d">'
        '<table><caption id="d">Deliveries since the start</caption><thead><tr>'
        f'<th scope="col">endpoint</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _value(value: object) -> str:
    if value is None:
        return texts.NO_VALUE
    return f"{value:,}" if isinstance(value, int) else _text(value)


def _moment(at: float | None, now: float) -> str:
    """Render a time relative to now, with the exact time in its tooltip."""
    stamp = f' datetime="{_iso(at)}" title="{_iso(at)}"' if at is not None else ""
    return f"<time{stamp}>{_text(texts.moment(at, now))}</time>"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: object) -> str:
    """Escape a value, for an element or for an attribute in double quotes."""
    return html.escape(str(value), quote=True)
