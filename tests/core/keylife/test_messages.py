"""What an answer says about the key it was asked with."""

import pytest

from sidecar.core.keylife.messages import (
    proof_of,
)


@pytest.mark.parametrize(
    ("status", "proof"),
    [
        pytest.param(200, True, id="ok"),
        pytest.param(204, True, id="no-content"),
        pytest.param(302, True, id="redirect"),
        pytest.param(400, True, id="bad-request"),
        pytest.param(401, False, id="unauthorized"),
        pytest.param(403, True, id="forbidden-knew-who-asked"),
        pytest.param(404, True, id="not-found-knew-who-asked"),
        pytest.param(408, None, id="timeout"),
        pytest.param(429, None, id="too-many"),
        pytest.param(0, None, id="no-answer"),
        pytest.param(100, None, id="not-yet"),
        pytest.param(500, None, id="broken"),
        pytest.param(503, None, id="gateway"),
    ],
)
def test_only_401_refuses_a_key(status: int, proof: bool | None) -> None:
    """RFC 9110, 15.5.2; a gateway may answer before the key is checked."""
    assert proof_of(status) is proof
