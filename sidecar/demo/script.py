"""
The demo: it replaces a leaked key under load, sends webhooks, and prints the results.

The clients, `/metrics` and the emulated API count the calls independently. The demo
prints all three counts, so that the reader can compare them.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sidecar.demo.environment import (
    STORED_AS,
    DemoEnvironment,
    DemoResult,
    Ports,
    port_in_use,
)
from sidecar.demo.webhooks import ENDPOINT, DeliveryResult, format_results
from sidecar.emulator.http_calls import Overdue
from sidecar.emulator.sidecar_process import SidecarProcess
from sidecar.errors import Exit

LOG_LINES: Final = 20

Print = Callable[[str], None]


def run_demo(print_: Print, ports: Ports, *, once: bool) -> Exit:
    """Run the demo; without `once` the services stay up until the sidecar ends."""
    problem = port_in_use(ports)
    if problem:
        print_(problem)
        return Exit.USAGE
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as directory:
        print_(
            "Starting an emulated API, an emulated Secrets Manager and the sidecar ..."
        )
        try:
            with DemoEnvironment(Path(directory), ports) as environment:
                _introduce(print_, environment)
                result = environment.replace_leaked_key()
                _report(print_, result)
                results = environment.webhooks()
                _report_webhooks(print_, environment, results)
                if not result.succeeded or not all(one.as_expected for one in results):
                    _show_log(print_, environment.sidecar)
                    return Exit.UNEXPECTED
                return Exit.OK if once else _stay(print_, environment)
        except Overdue as error:
            print_(str(error))
            return Exit.UNEXPECTED


def _introduce(print_: Print, environment: DemoEnvironment) -> None:
    """Print the addresses and the commands to try."""
    proxy = f"http://{environment.sidecar.address()}"
    admin = f"http://{environment.sidecar.address('admin')}"
    print_(f"""
  emulated API               {environment.api.base_url}  (TLS)
  emulated Secrets Manager   {environment.aws.endpoint}  holds the API key as {STORED_AS}
  sidecar, proxy port        {proxy}  adds the key to each call
  sidecar, admin port        {admin}
  settings and log           {environment.sidecar.config.parent}

Try these in another terminal. None of them needs a key:
  curl {proxy}/contacts               a call to the API through the sidecar
  curl {proxy}/echo                   shows the request that the API received, key masked
  curl -N {proxy}/events              a stream of server-sent events
  curl -i {proxy}/contacts/c_unknown  404 from the API
  curl -i {proxy}/service-accounts    400 from the sidecar: the call could create keys
  curl {admin}/status                 the state of the sidecar and of its key
  curl {admin}/metrics                Prometheus metrics

Part 1: the API key has leaked and must be replaced.
4 clients call the API through the sidecar without a pause. Meanwhile a new key is
stored in Secrets Manager, and the API revokes the old key at once ...""")


def _report(print_: Print, result: DemoResult) -> None:
    """Print the counts of the clients, of the API and of `/metrics`."""
    answers = ", ".join(f"{n} x {what}" for what, n in sorted(result.statuses.items()))
    print_(f"""
  Counted by the clients
    calls                                 {result.calls:>7}   {answers}
    failed calls                          {result.failed:>7}
  Counted by the API
    calls with the new key                {result.new_key_calls:>7}
    401 responses to the revoked key      {result.old_key_401s:>7}
  Counted by the sidecar, at /metrics
    calls replayed with the new key       {result.recovered:>7.0f}   sidecar_recovered_401_total
    401 responses that reached a client   {result.seen_401s:>7.0f}   sidecar_auth_failures_total
    keys verified and put into use        {result.cutovers:>7.0f}   sidecar_credential_cutovers_total
""")
    print_(
        "No call failed."
        if result.succeeded
        else "FAILED: a call failed, or the counts do not agree."
    )


def _report_webhooks(
    print_: Print, environment: DemoEnvironment, results: Sequence[DeliveryResult]
) -> None:
    """Print the result of each delivery."""
    print_(f"""
Part 2: the sidecar verifies webhooks before the service receives them.
Deliveries to http://{environment.sidecar.address("webhooks")}/webhooks/{ENDPOINT}:

{format_results(results)}
""")
    right = all(one.as_expected for one in results)
    print_(
        "The service received each valid delivery once, and no other."
        if right
        else "FAILED: a delivery did not end as expected."
    )


def _stay(print_: Print, environment: DemoEnvironment) -> Exit:
    """Wait until the sidecar ends, by Ctrl-C here or by `sidecar quit`."""
    print_("All services stay up until Ctrl-C.")
    code = environment.sidecar.process.wait()
    if code != Exit.OK:
        _show_log(print_, environment.sidecar)
        return Exit.UNEXPECTED
    return Exit.OK


def _show_log(print_: Print, sidecar: SidecarProcess) -> None:
    """Print the end of the sidecar's log, because its directory will be deleted."""
    for line in sidecar.output().splitlines()[-LOG_LINES:]:
        print_(line)
