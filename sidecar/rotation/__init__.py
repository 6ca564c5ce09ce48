"""Key rotation: `sidecar rotate`, `sidecar keys` and the AWS Lambda handler."""

from collections.abc import Mapping


def lambda_handler(event: Mapping[str, object], context: object) -> None:
    """
    Do one of the four steps of AWS Secrets Manager; settings come from `SIDECAR_*`.

    Set `sidecar.rotation.lambda_handler` as the handler of the function.

    Raises:
        RotationStopped: the step failed; AWS shows the message.
        SettingsInvalid: the `SIDECAR_*` variables of the function are wrong.
    """
    from sidecar.rotation.lambda_steps import handle_event  # noqa: PLC0415 - loads AWS

    handle_event(event, context)
