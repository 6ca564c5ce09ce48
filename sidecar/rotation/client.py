"""The boto3 client of a rotation: patient, because a person or a CronJob waits."""

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 10.0
ATTEMPTS: Final = 4
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def secrets_manager(
    region: str | None, endpoint_url: str | None
) -> "SecretsManagerClient":
    """Make a client; every write of ours may be sent twice without harm."""
    host = urlsplit(endpoint_url or "").hostname
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        # Proxies of the environment never apply to an emulator on this machine.
        proxies={} if host in LOOPBACK else None,
    )
    return boto3.client(
        "secretsmanager",
        region_name=region,
        endpoint_url=endpoint_url,
        config=config,
    )
