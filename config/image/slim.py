# ruff: noqa: INP001 - a script that is run, never imported
"""
Take out of the image what the sidecar can never use; run once while it is built.

botocore carries the API descriptions of every service of AWS, most of its size. We
talk to three, and to `sts`, `sso` and `ssooidc` when the credential chain does.
"""

import shutil
import sysconfig
from pathlib import Path

SERVICES = {"dynamodb", "secretsmanager", "sts", "sso", "sso-oidc", "signin"}
SITE = Path(sysconfig.get_path("purelib"))


def main() -> None:
    """Remove the other services, boto3's resources, and tests of dependencies."""
    for folder in (SITE / "botocore/data").iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)
    for name in ("boto3/data", "boto3/examples", "s3transfer/crt.py"):
        path = SITE / name
        if path.is_dir():
            shutil.rmtree(path)
    for pattern in ("*/tests", "*/test", "**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.c"):
        for path in SITE.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


if __name__ == "__main__":
    main()
