"""
Every change of state that is expected in the life of a credential.

A row is an event, a column is the state before it, and a cell lists the states that may
follow. Where it lists several, the facts decide (`Lifecycle._judge`). An empty cell is not
expected: the machine obeys the event all the same and reports it (`ReportUnexpected`).
A test drives the machine at random and compares: every move that happens is listed here,
and every move that is listed happens.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sidecar.core.keylife.messages import (
    CallAbandoned,
    Described,
    Event,
    Failed,
    InvalidValue,
    LimitReached,
    Loaded,
    OutcomeReported,
    Probed,
    ProbeDue,
    RecoveryDue,
    RefreshDue,
    RefreshRequested,
    Started,
    State,
    Unauthorized,
)

_COLUMNS: Final = {
    "M": State.MISSING,
    "F": State.FRESH,
    "S": State.STALE,
    "B": State.ROLLED_BACK,
    "R": State.REJECTED,
    "N": State.REFUSED,
    "X": State.EXPIRED,
}

# fmt: off
_ROWS: Final[Mapping[type[Event], tuple[str, str, str, str, str, str, str]]] = {
    #                  missing fresh    stale    rolled_back rejected refused  expired
    Started:          ("M",    "",      "",      "",         "",      "",      ""),
    RefreshDue:       ("M",    "F",     "S",     "B",        "R",     "N",     "X"),
    RefreshRequested: ("M",    "F",     "S",     "B",        "R",     "N",     "X"),
    Described:        ("M",    "FN",    "FSN",   "FBN",      "FRN",   "N",     "FBRNX"),
    Loaded:           ("FB",   "FN",    "FSN",   "FBN",      "FRN",   "FN",    "FBRNX"),
    InvalidValue:     ("M",    "FRN",   "SRN",   "BN",       "RN",    "N",     "BRNX"),
    Failed:           ("M",    "FSN",   "SN",    "BN",       "RN",    "N",     "X"),
    ProbeDue:         ("",     "F",     "S",     "B",        "R",     "N",     "X"),
    Probed:           ("",     "FBRN",  "SBRN",  "FSBN",     "FSBRN", "FSBRN", "X"),
    Unauthorized:     ("",     "FN",    "SN",    "FSBN",     "RN",    "FSN",   "X"),
    CallAbandoned:    ("",     "F",     "S",     "B",        "R",     "N",     ""),
    OutcomeReported:  ("",     "FBN",   "SBN",   "FSBN",     "BRN",   "FSBRN", "X"),
    RecoveryDue:      ("",     "FN",    "SN",    "BN",       "RN",    "N",     "X"),
    LimitReached:     ("",     "",      "SX",    "BX",       "RX",    "NX",    "X"),
}
# fmt: on

TRANSITIONS: Final[Mapping[tuple[State, type[Event]], frozenset[State]]] = (
    MappingProxyType(
        {
            (state, kind): frozenset(_COLUMNS[letter] for letter in cell)
            for kind, row in _ROWS.items()
            for state, cell in zip(_COLUMNS.values(), row, strict=True)
            if cell
        }
    )
)
