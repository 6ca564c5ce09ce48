"""Waiting, calling and reading metrics, as tests and the demo do it."""

from collections.abc import Iterator

import pytest

from sidecar.emulator.api import EmulatedApi
from sidecar.emulator.http_calls import Overdue, ScrapedMetrics, call, wait_until

EXPOSITION = """\
# TYPE sidecar_requests counter
sidecar_requests_total{upstream="flownally",code="200"} 3.0
sidecar_requests_total{upstream="flownally",code="401"} 1.0
sidecar_requests_total{upstream="other",code="200"} 5.0
# TYPE sidecar_inflight_requests gauge
sidecar_inflight_requests{upstream="flownally"} 2.0
"""


def test_waiting_returns_what_came_true() -> None:
    """The first answer that is true is the answer."""
    answers: Iterator[int] = iter([0, 0, 7])

    assert wait_until(lambda: next(answers)) == 7


def test_waiting_ends() -> None:
    """What never comes true is an error that says what it was."""
    with pytest.raises(Overdue, match=r"the moon did not become true within 0\.01 s"):
        wait_until(lambda: None, "the moon", 0.01)


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        pytest.param("sidecar_requests_total", {}, 9, id="all"),
        pytest.param(
            "sidecar_requests_total", {"upstream": "flownally"}, 4, id="one-upstream"
        ),
        pytest.param("sidecar_requests_total", {"code": "200"}, 8, id="one-code"),
        pytest.param("sidecar_requests_total", {"code": "500"}, 0, id="none"),
        pytest.param("sidecar_inflight_requests", {}, 2, id="gauge"),
    ],
)
def test_samples_add_up(name: str, labels: dict[str, str], value: float) -> None:
    """A part of the labels picks the samples that have it."""
    assert ScrapedMetrics(EXPOSITION).value(name, **labels) == value


def test_label_sets_can_be_listed() -> None:
    """For metrics whose labels are the information."""
    assert ScrapedMetrics(EXPOSITION).labels("sidecar_inflight_requests") == [
        {"upstream": "flownally"}
    ]


def test_a_call_gives_the_answer_whole(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Status, fields in lower case, body."""
    with EmulatedApi(tmp_path_factory.mktemp("api"), tls=False) as api:
        headers = {"Authorization": f"Bearer {api.issue().key}"}
        answer = call(f"127.0.0.1:{api.port}", "/v1/contacts?limit=1", headers=headers)

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert len(answer.json()["data"]) == 1
