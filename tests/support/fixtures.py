"""
Fixtures of the whole tree: emulated API, emulated AWS, real sidecar processes.

What they give is described in `tests/support/processes.py`. Heavy imports wait until
a fixture is used: most tests are about rules and need none of this.
"""

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sidecar.emulator.api import EmulatedApi
    from sidecar.emulator.aws import AwsClient, EmulatedAws
    from sidecar.emulator.ca import Certificate
    from sidecar.emulator.key_ring import Issued
    from tests.support.faulty_aws import FaultyAws
    from tests.support.processes import Settings, SidecarProcess


@pytest.fixture(name="moto_server", scope="session")
def _moto_server() -> "Iterator[EmulatedAws]":
    """One emulated AWS for all tests."""
    from sidecar.emulator.aws import EmulatedAws  # noqa: PLC0415  # a second to import

    logging.getLogger("botocore").setLevel(logging.INFO)
    with EmulatedAws() as aws:
        yield aws


@pytest.fixture(name="moto")
def _moto(moto_server: "EmulatedAws") -> "Iterator[AwsClient]":
    """The emulated AWS, empty."""
    yield moto_server
    moto_server.reset()


@pytest.fixture(name="faulty_aws")
def _faulty_aws(moto: "AwsClient") -> "Iterator[FaultyAws]":
    """The emulated AWS behind switches for faults."""
    from tests.support.faulty_aws import FaultyAws  # noqa: PLC0415 - only for who asks for it

    with FaultyAws(moto.endpoint) as faulty_aws:
        yield faulty_aws


@pytest.fixture(name="certificate", scope="session")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> "Certificate":
    """A CA and a server certificate for loopback, shared by all tests."""
    from sidecar.emulator.ca import make_certificate  # noqa: PLC0415 - only for who asks for it

    return make_certificate(tmp_path_factory.mktemp("ca"))


@pytest.fixture(name="api")
def _api(tmp_path: Path, certificate: "Certificate") -> "Iterator[EmulatedApi]":
    """An emulated API of this test alone."""
    from sidecar.emulator.api import EmulatedApi  # noqa: PLC0415 - only for who asks for it

    with EmulatedApi(tmp_path / "api", certificate=certificate) as api:
        yield api


@pytest.fixture(name="issued")
def _issued(api: "EmulatedApi", moto: "AwsClient") -> "Issued":
    """A key that the API knows, stored in Secrets Manager."""
    from tests.support.processes import SECRET_ID  # noqa: PLC0415 - only for who asks for it

    issued = api.issue()
    moto.put_secret(SECRET_ID, issued.key)
    return issued


@pytest.fixture(name="settings")
def _settings(api: "EmulatedApi", moto: "AwsClient", issued: "Issued") -> "Settings":
    """Settings for a sidecar between the two, with every default on."""
    from tests.support.processes import SECRET_ID, UPSTREAM  # noqa: PLC0415 - only for who asks for it

    assert issued.key
    return {
        "job": {"name": "staging-crm-sync", "environment": "staging"},
        "upstreams": {
            UPSTREAM: {
                "listen": "127.0.0.1:0",
                "base_url": api.base_url,
                "ca_file": str(api.certificate.ca_file),
                "credential": {"secret_id": SECRET_ID},
            }
        },
        "admin": {"listen": "127.0.0.1:0"},
        "aws": {"region": "eu-west-1", "endpoint_url": moto.endpoint},
        "log": {"access": "all"},
    }


@pytest.fixture(name="sidecar_process")
def _sidecar_process(tmp_path: Path) -> "Iterator[Callable[..., SidecarProcess]]":
    """Start processes: `sidecar_process(settings, env=..., command=...)`."""
    from tests.support.processes import SidecarProcess  # noqa: PLC0415 - only for who asks for it

    started: list[SidecarProcess] = []
    numbers = itertools.count(1)

    def start(settings: "Settings", **options: Any) -> SidecarProcess:
        directory = tmp_path / f"sidecar-{next(numbers)}"
        process = SidecarProcess(directory, settings, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


@pytest.fixture(name="running")
def _running(
    sidecar_process: "Callable[..., SidecarProcess]", settings: "Settings"
) -> "SidecarProcess":
    """A sidecar with `settings`, ready."""
    process = sidecar_process(settings)
    process.wait_ready()
    return process
