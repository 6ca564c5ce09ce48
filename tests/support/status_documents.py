"""Status documents for tests of the page."""

import copy
from typing import Any, Final

NOW: Final = 1_800_000_000.0
DAY: Final = 86400.0

HEALTHY: Final[dict[str, Any]] = {
    "now": NOW,
    "ready": True,
    "draining": False,
    "started": NOW - 3 * DAY,
    "sidecar": {"version": "0.1.0", "python": "3.13.1"},
    "job": {
        "name": "production-crm-sync",
        "environment": "production",
        "owner": "crm-platform",
        "rotate_every_days": 90,
    },
    "upstreams": {
        "flownally": {
            "state": "fresh",
            "source": "secrets_manager",
            "fingerprint": "1f0c5a7e",
            "since": NOW - 12 * DAY,
            "created": NOW - 12 * DAY,
            "rotate_before": NOW + 78 * DAY,
            "refreshed": NOW - 40,
            "next_refresh": NOW + 260,
            "last_error": None,
            "remedy": None,
            "candidate": None,
            "candidate_rejected": False,
            "previous": "93ab0d11",
            "answers": {"2xx": 10380, "401": 0, "403": 24, "other": 12},
            "recovered": {"replay": 0, "rollback": 0},
            "refused": {},
            "inflight": 2,
            "minutes": {
                "2xx": [160 + (n * 37) % 50 for n in range(60)],
                "401": [0] * 60,
                "403": [6 if 20 <= n < 24 else 0 for n in range(60)],
                "other": [1 if n % 5 == 0 else 0 for n in range(60)],
            },
            "events": [
                {
                    "at": NOW - 2400,
                    "kind": "refused",
                    "detail": "bad_target",
                    "before": "",
                    "count": 3,
                }
            ],
        }
    },
    "webhooks": {"inbox": {"delivered": 1280, "duplicate": 9, "bad_signature": 2}},
}


def healthy() -> dict[str, Any]:
    """Return the document of a healthy sidecar, which a test may change."""
    return copy.deepcopy(HEALTHY)


def rotated(document: dict[str, Any]) -> dict[str, Any]:
    """Change a document to that of a minute later, after an emergency rotation."""
    document["now"] = NOW + 60
    status = document["upstreams"]["flownally"]
    status |= {
        "fingerprint": "c0ffee42",
        "since": NOW + 50,
        "created": NOW + 40,
        "rotate_before": NOW + 40 + 90 * DAY,
        "previous": "1f0c5a7e",
        "recovered": {"replay": 17, "rollback": 0},
    }
    status["events"] = [
        {
            "at": NOW + 50,
            "kind": "recovered",
            "detail": "replay",
            "before": "",
            "count": 17,
        },
        {
            "at": NOW + 50,
            "kind": "key",
            "detail": "c0ffee42",
            "before": "1f0c5a7e",
            "count": 1,
        },
        *status["events"],
    ]
    return document


def refused(document: dict[str, Any]) -> dict[str, Any]:
    """Change a document to that of a key that was revoked with no successor."""
    status = document["upstreams"]["flownally"]
    status |= {
        "state": "refused",
        "last_error": "the API answers 401 to this key",
        "remedy": "create a key and store it in the secret",
    }
    status["minutes"]["401"] = [0] * 50 + [40] * 10
    return document


def in_state(state: str) -> dict[str, Any]:
    """Return the part of an upstream whose key is in this state."""
    status: dict[str, Any] = healthy()["upstreams"]["flownally"]
    status["state"] = state
    if state == "refused":
        refused({"upstreams": {"flownally": status}})
    elif state in {"rejected", "rolled_back"}:
        status |= {
            "candidate": "c0ffee42",
            "candidate_rejected": True,
            "last_error": "the API answers 401 to the newest key",
            "remedy": "store a good key; do not revoke the one in use",
        }
    elif state in {"stale", "missing", "expired"}:
        status |= {
            "last_error": "Secrets Manager answered AccessDeniedException",
            "remedy": "allow secretsmanager:GetSecretValue on the secret",
        }
    if state == "missing":
        unknown = ("fingerprint", "since", "created", "rotate_before", "refreshed")
        status |= dict.fromkeys((*unknown, "previous")) | {"minutes": {}, "events": []}
    return status


def five() -> dict[str, Any]:
    """Return the document of a sidecar with five upstreams in different states."""
    document = healthy()
    states = ("fresh", "stale", "rejected", "rolled_back", "refused")
    names = ("flownally", "billing", "crm-contacts", "invoices", "shipping-labels-eu")
    document["upstreams"] = dict(zip(names, map(in_state, states), strict=True))
    return document
