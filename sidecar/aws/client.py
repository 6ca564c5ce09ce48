"""
A lean client for Secrets Manager, with the standard chain of AWS credentials.

boto3 is a layer over botocore that this needs nothing of, and costs 3 MB. Most of
what botocore costs is its table of the endpoints of all services (7 MB of 9): the
rules of each service (`endpoint-rule-set`) say the same, and a stand-in of a few lines
fills its place. A test compares the addresses that both give.
"""

from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 5.0
"""Secrets Manager answers in tens of milliseconds; the keeper tries again itself."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def secrets_manager_client(
    region: str | None, endpoint_url: str | None
) -> "SecretsManagerClient":
    """
    Return a client that tries each call once, for a few seconds.

    Blocks: it imports botocore, reads files, and may ask for credentials over the
    network. Raises what botocore raises.
    """
    # Late: 20 MB and 0.2 s that a process with keys from files never needs.
    import botocore.session  # noqa: PLC0415 - botocore: only for who needs AWS
    from botocore.config import Config  # noqa: PLC0415 - botocore: only for who needs AWS

    host = urlsplit(endpoint_url or "").hostname
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=1,
        # Proxies of the environment never apply to an emulator on this machine.
        proxies={} if host in LOOPBACK else None,
    )
    session = botocore.session.get_session()
    session.register_component("data_loader", _lean_loader())
    # For the credentials too: STS has the same limits as Secrets Manager.
    session.set_default_client_config(config)
    client = session.create_client(
        "secretsmanager", region_name=region, endpoint_url=endpoint_url
    )
    return cast("SecretsManagerClient", client)


def _lean_loader() -> Any:
    """Return botocore's loader of data, but for the table of all endpoints."""
    from botocore.loaders import Loader  # noqa: PLC0415 - botocore: only for who needs AWS

    class LeanLoader(Loader):
        """Makes the table of endpoints out of the short list of partitions."""

        def load_data_with_path(self, name: str) -> tuple[Any, str]:
            """Return the data of this name, and where they are from."""
            if name != "endpoints":
                loaded: tuple[Any, str] = super().load_data_with_path(name)
                return loaded
            partitions, path = super().load_data_with_path("partitions")
            return _endpoints(partitions), path

    return LeanLoader()


def _endpoints(partitions: dict[str, Any]) -> dict[str, Any]:
    """Say of each partition what holds for every service in it."""
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
