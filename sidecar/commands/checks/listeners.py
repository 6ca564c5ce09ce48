"""Whether every address can be listened on."""

from collections.abc import Iterator
from pathlib import Path

from sidecar.commands import control
from sidecar.commands.checks.finding import Finding, failed, passed
from sidecar.errors import Exit, SettingsInvalid
from sidecar.settings.model import Settings
from sidecar.settings.values import Address
from sidecar.wiring import bound, listeners_of

LIVE_SECONDS = 1.0
OK = 200


def check_listeners(settings: Settings) -> Iterator[Finding]:
    """Bind each address and let it go again."""
    running = is_running(settings.admin.listen)
    for listener in listeners_of(settings):
        path, address = listener.path, listener.address
        try:
            bound(listener).close()
        except SettingsInvalid as exc:
            if running:
                yield passed(path, f"{address} is served by a sidecar that runs here")
                continue
            reason = exc.problems[0].reason
            remedy = f"end what listens there, or choose another {path}"
            yield failed(path, f"{address}: {reason}", remedy, Exit.USAGE)
        else:
            if address.path:
                Path(address.path).unlink(missing_ok=True)
            yield passed(path, f"{address} is free")


def is_running(admin: Address) -> bool:
    """Tell whether a sidecar answers on the admin port already."""
    if not admin.port:
        return False
    target = control.reachable(admin)
    return control.call("GET", target, "/livez", LIVE_SECONDS).status == OK
