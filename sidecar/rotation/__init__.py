"""Key rotation without a person."""

import importlib
from collections.abc import Mapping


def lambda_handler(event: Mapping[str, object], context: object) -> None:
    """
    Do one of the four steps of AWS Secrets Manager; settings come from `SIDECAR_*`.

    Set `sidecar.rotation.lambda_handler` as the function's handler.
    """
    # By name and late: it reads the settings, which are above this package, and AWS
    # wants the handler to be here.
    module = importlib.import_module("sidecar.commands.rotation_lambda")
    module.handle(event, context)
