"""
The demo: an emulated API and Secrets Manager, a real sidecar, and an emergency.

While clients call, a new key is stored and the old one is revoked at once. The demo
then shows, by the numbers of the clients, of `/metrics` and of the API itself, that no
call failed.
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
    taken,
)
from sidecar.demo.webhooks import ENDPOINT, DeliveryResult, table
from sidecar.emulator.http_calls import Overdue
from sidecar.emulator.sidecar_process import SidecarProcess
from sidecar.errors import Exit

LOG_LINES: Final = 20

Say = Callable[[str], None]


def play(say: Say, ports: Ports, *, once: bool) -> Exit:
    """Run the demo; without `once` it stays until the sidecar is ended."""
    problem = taken(ports)
    if problem:
        say(problem)
        return Exit.USAGE
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as directory:
        say("Starting an emulated API, Secrets Manager and the sidecar ...")
        try:
            with DemoEnvironment(Path(directory), ports) as stage:
                _introduce(say, stage)
                result = stage.emergency()
                _report(say, result)
                fates = stage.webhooks()
                _report_webhooks(say, stage, fates)
                if not result.kept or not all(fate.right for fate in fates):
                    _show_log(say, stage.sidecar)
                    return Exit.UNEXPECTED
                return Exit.OK if once else _stay(say, stage)
        except Overdue as error:
            say(str(error))
            return Exit.UNEXPECTED


def _introduce(say: Say, stage: DemoEnvironment) -> None:
    """Tell where everything is and what to try."""
    proxy = f"http://{stage.sidecar.address()}"
    admin = f"http://{stage.sidecar.address('admin')}"
    say(f"""
  API (emulated)       {stage.api.base_url}  TLS, with a CA of its own
  Secrets Manager      {stage.aws.endpoint}  (moto), secret {STORED_AS}
  sidecar              {proxy}  admin {admin}
  settings, log        {stage.sidecar.config.parent}

Try, in another terminal and without any key:
  curl {proxy}/contacts
  curl {proxy}/echo                   what the API got; the key is masked
  curl -N {proxy}/events              server-sent events
  curl -i {proxy}/contacts/c_nobody   404, from the API
  curl -i {proxy}/service-accounts    refused: this call could hand out keys
  curl {admin}/status
  curl {admin}/metrics

An emergency: the key has leaked. While 4 clients call as fast as they can, a new key
is stored in Secrets Manager and the old one is revoked at once ...""")


def _report(say: Say, result: DemoResult) -> None:
    """Show what it cost."""
    answers = ", ".join(f"{n} x {what}" for what, n in sorted(result.statuses.items()))
    say(f"""
  calls by the clients             {result.calls:>7}   {answers}
  of these failed                  {result.failed:>7}
  calls with the new key           {result.new_key_calls:>7}   counted by the API
  401 for the revoked key          {result.old_key_401s:>7}   counted by the API
  401 replayed, so nobody saw them {result.recovered:>7.0f}   sidecar_recovered_401_total
  401 that a client saw            {result.seen_401s:>7.0f}   sidecar_auth_failures_total
  keys proved and promoted         {result.cutovers:>7.0f}   sidecar_credential_cutovers_total
""")
    say("No call failed." if result.kept else "The promise was broken.")


def _report_webhooks(
    say: Say, stage: DemoEnvironment, fates: Sequence[DeliveryResult]
) -> None:
    """Show what became of each delivery."""
    say(f"""
Webhooks in: deliveries to http://{stage.sidecar.address("webhooks")}/webhooks/{ENDPOINT},
and what the service got of them ...

{table(fates)}
""")
    right = all(fate.right for fate in fates)
    say("Only true ones, each once." if right else "That is not right.")


def _stay(say: Say, stage: DemoEnvironment) -> Exit:
    """Stay until the sidecar ends, by Ctrl-C here or by `sidecar quit`."""
    say("Everything stays up until Ctrl-C.")
    code = stage.sidecar.process.wait()
    if code != Exit.OK:
        _show_log(say, stage.sidecar)
        return Exit.UNEXPECTED
    return Exit.OK


def _show_log(say: Say, sidecar: SidecarProcess) -> None:
    """Show the end of the sidecar's log: its directory is about to go."""
    for line in sidecar.output().splitlines()[-LOG_LINES:]:
        say(line)
