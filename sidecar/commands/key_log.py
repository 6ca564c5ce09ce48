"""SSLKEYLOGFILE before the settings are read, which refuse it."""

import os
from typing import Final

NAME: Final = "SSLKEYLOGFILE"
"""The variable that makes Python write down what decrypts the traffic."""


def blind() -> None:
    """
    Let nobody write to the file that the variable names; the variable stays set.

    aiohttp opens the file when it is imported, and where that cannot be done it fails
    before anybody could say what is wrong.
    """
    if os.environ.get(NAME):
        os.environ[NAME] = os.devnull
