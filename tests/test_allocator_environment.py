"""The image's variables for glibc keep freed memory for the next large answer."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers.ours import ENVIRONMENT

DOCKERFILE = Path(__file__).parents[1] / "Dockerfile"

FAULTS = """
import resource

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(200):
        # As four connections do: read records, join them, free all of them.
        held = [b"".join([bytes(16384)] * 16) for _ in range(4)]
        held.clear()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def page_faults(variables: dict[str, str]) -> int:
    """Return the page faults of 800 pieces of 256 KiB."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        capture_output=True,
        text=True,
        check=True,
        env=inherited | variables,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_pieces_of_a_large_answer_cost_no_page_faults() -> None:
    """Without the variables each piece costs more than one page."""
    assert page_faults({}) > 10_000
    assert page_faults(ENVIRONMENT) < 100


def test_the_image_has_the_variables_of_the_benchmark() -> None:
    """So the image costs what is measured."""
    found = dict(
        re.findall(r"^ +(MALLOC_\w+_)=(\d+)", DOCKERFILE.read_text(), re.MULTILINE)
    )

    assert found == ENVIRONMENT
