"""
Lean botocore clients with the standard chain of AWS credentials.

boto3 is a layer over botocore that costs 3 MB and is not used here. Most of the memory
of botocore (7 MB of 9) is the table of the endpoints of all services. The rules of each
service (`endpoint-rule-set`) hold the same facts, so a short table replaces it. A test
compares the addresses of both.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds of a client, for its service and for STS."""

    connect_seconds: float
    read_seconds: float
    attempts: int
    """Of a call, the first one included."""
    connections: int = 1


SOURCE: Final = ClientLimits(connect_seconds=2.0, read_seconds=5.0, attempts=1)
"""Secrets Manager answers in tens of milliseconds; the caller repeats a refresh."""
ROTATION: Final = ClientLimits(connect_seconds=5.0, read_seconds=10.0, attempts=4)
"""A person or a CronJob waits; every write of a rotation may be sent twice."""


def secrets_manager_client(
    region: str | None, endpoint_url: str | None, limits: ClientLimits
) -> "SecretsManagerClient":
    """Make a client for Secrets Manager; see `make_client`."""
    client = make_client("secretsmanager", region, endpoint_url, limits)
    return cast("SecretsManagerClient", client)


def dynamodb_client(
    region: str | None, endpoint_url: str | None, limits: ClientLimits
) -> "DynamoDBClient":
    """Make a client for DynamoDB; see `make_client`."""
    return cast("DynamoDBClient", make_client("dynamodb", region, endpoint_url, limits))


def make_client(
    service: str, region: str | None, endpoint_url: str | None, limits: ClientLimits
) -> Any:
    """
    Make a client; proxies of the environment never apply to a loopback endpoint.

    Blocks: it imports botocore, reads files, and may fetch credentials over the network.

    Raises:
        BotoCoreError: for example, no region is set.
    """
    # Late: 20 MB and 0.2 s that a process with keys from files never needs.
    import botocore.session  # noqa: PLC0415 - only for processes that use AWS
    from botocore.config import Config  # noqa: PLC0415 - only for processes that use AWS

    host = urlsplit(endpoint_url or "").hostname
    config = Config(
        connect_timeout=limits.connect_seconds,
        read_timeout=limits.read_seconds,
        retries={"total_max_attempts": limits.attempts, "mode": "standard"},
        max_pool_connections=limits.connections,
        tcp_keepalive=True,
        proxies={} if host in LOOPBACK else None,
    )
    session = botocore.session.get_session()
    session.register_component("data_loader", _lean_loader())
    # The default also applies to STS, which provides the credentials.
    session.set_default_client_config(config)
    return session.create_client(service, region_name=region, endpoint_url=endpoint_url)


def _lean_loader() -> Any:
    """Return the data loader of botocore without the table of all endpoints."""
    from botocore.loaders import Loader  # noqa: PLC0415 - as above

    class LeanLoader(Loader):
        """Derives the table of endpoints from the short list of partitions."""

        def load_data_with_path(self, name: str) -> tuple[Any, str]:
            """Return the data of this name and their path."""
            if name != "endpoints":
                loaded: tuple[Any, str] = super().load_data_with_path(name)
                return loaded
            partitions, path = super().load_data_with_path("partitions")
            return _endpoints(partitions), path

    return LeanLoader()


def _endpoints(partitions: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults of each partition, which hold for every service."""
    return {
        "version": 3,
        "partitions": [
            {
                "partition": partition["id"],
                "dnsSuffix": partition["outputs"]["dnsSuffix"],
                "regionRegex": partition["regionRegex"],
                "regions": partition["regions"],
                "services": {},
                "defaults": {
                    "hostname": "{service}.{region}.{dnsSuffix}",
                    "protocols": ["https"],
                    "signatureVersions": ["v4"],
                },
            }
            for partition in partitions["partitions"]
        ],
    }
