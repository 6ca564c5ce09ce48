"""A real process on its defaults: a key from Secrets Manager, an API over TLS."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.aws import EmulatedAws
from sidecar.emulator.ca import Certificate
from sidecar.emulator.key_ring import Issued
from tests.support.bad_input import no_bug
from tests.support.faulty_aws import FaultyAws
from tests.support.processes import SECRET_ID, UPSTREAM, SidecarProcess


@dataclass
class DefaultSidecar:
    """The process, what is behind it, and every key that it was given."""

    api: EmulatedApi
    moto: EmulatedAws
    faulty_aws: FaultyAws
    process: SidecarProcess
    keys: list[Issued]


@contextmanager
def default_sidecar(
    moto: EmulatedAws, certificate: Certificate, directory: Path, **log: str
) -> Iterator[DefaultSidecar]:
    """Run it, with these settings of the log; at the end nothing was shown or broken."""
    moto.reset()
    with (
        EmulatedApi(directory / "api", certificate=certificate) as api,
        FaultyAws(moto.endpoint) as faulty_aws,
    ):
        key = api.issue()
        moto.put_secret(SECRET_ID, key.key)
        settings = {
            "job": {"name": "staging-crm-sync", "environment": "staging"},
            "upstreams": {
                UPSTREAM: {
                    "listen": "127.0.0.1:0",
                    "base_url": api.base_url,
                    "ca_file": str(certificate.ca_file),
                    "credential": {"secret_id": SECRET_ID},
                }
            },
            "admin": {"listen": "127.0.0.1:0"},
            "aws": {"region": "eu-west-1", "endpoint_url": faulty_aws.endpoint},
            "log": log,
        }
        process = SidecarProcess(directory / "sidecar", settings)
        try:
            process.wait_ready()
            parts = DefaultSidecar(api, moto, faulty_aws, process, [key])
            yield parts
            process.assert_never_shown(*(one.key for one in parts.keys))
            no_bug(process)
            assert process.stop() == 0
        finally:
            process.close()
    moto.reset()
