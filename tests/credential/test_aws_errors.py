"""What errors of botocore mean, where no server can be made to give them."""

from typing import Any

import pytest
from botocore import exceptions as aws
from botocore.exceptions import ClientError

from sidecar.aws.errors import CODES, EXCEPTIONS, failure_of
from sidecar.errors import RefreshResult, SourceFailed


def answer(code: str, **about: Any) -> ClientError:
    """An answer of AWS that is an error."""
    response: Any = {
        "Error": {"Code": code, "Message": "secret text"},
        "ResponseMetadata": {"HTTPStatusCode": 400, **about},
    }
    return ClientError(response, "GetSecretValue")


EXPECTED = [
    (
        aws.SSLError(endpoint_url="https://u:p@x", error=ValueError("x")),
        "TLS connection",
    ),
    (
        aws.ConnectionClosedError(endpoint_url="https://u:p@x"),
        "the connection to AWS broke",
    ),
    (aws.HTTPClientError(error="x"), "the connection to AWS broke"),
    (aws.CredentialRetrievalError(provider="x", error_msg="x"), "no AWS credentials"),
    (aws.IncompleteReadError(actual_bytes=1, expected_bytes=2), "unreadable"),
    (aws.ConfigParseError(path="/home/x"), "profile cannot be read"),
    (aws.UnknownServiceError(service_name="x", known_service_names=[]), "(Unknown"),
    (RuntimeError("secret text"), "(RuntimeError)"),
]


@pytest.mark.parametrize(
    ("error", "told"),
    [pytest.param(*row, id=type(row[0]).__name__) for row in EXPECTED],
)
def test_an_error_without_an_answer_is_judged_by_its_kind(
    error: Exception, told: str
) -> None:
    """Or by what it derives from; none of its text is told."""
    failure = failure_of(error, "GetSecretValue", 0)

    assert told in failure.reason
    assert failure.remedy
    assert "u:p" not in str(failure)
    assert "secret text" not in str(failure)


def test_an_error_whose_answer_is_none_is_no_trouble() -> None:
    """The connection was closed: botocore sets `response` to None."""
    error = aws.ConnectionClosedError(endpoint_url="https://x")
    error.response = None  # type: ignore[attr-defined]  # as botocore does

    assert failure_of(error, "x", 0).result is RefreshResult.UNREACHABLE


@pytest.mark.parametrize("date", [None, "", "yesterday", "Tue, 24 Nov 2026 03:00 GMT"])
def test_a_signature_is_refused_for_whatever_reason(date: str | None) -> None:
    """Without a date that can be read, the clock is only one of the suspects."""
    error = answer("SignatureDoesNotMatch", HTTPHeaders={"date": date})
    failure = failure_of(error, "x", 1795489200.0)

    assert failure.reason == "AWS refuses the signature"
    assert "clock" in failure.remedy


def test_an_error_without_a_code_is_unknown() -> None:
    """Some gateways answer anything."""
    error = ClientError({"Error": {}}, "x")

    assert "(unknown)" in failure_of(error, "x", 0).reason


@pytest.mark.parametrize(
    "meaning", sorted({*CODES.values(), *EXCEPTIONS.values()}), ids=str
)
def test_every_meaning_says_what_to_do(
    meaning: tuple[RefreshResult, str, str],
) -> None:
    """A result that is a failure, a reason, a remedy."""
    result, reason, remedy = meaning
    told = str(SourceFailed(result, reason.format("X"), remedy.format("X")))

    assert result not in {RefreshResult.CHANGED, RefreshResult.UNCHANGED}
    assert reason
    assert remedy
    assert "{" not in told
