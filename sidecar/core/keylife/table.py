"""
Every change of state that can happen in the life of a credential.

One row for each event, one column for each state it can happen in; a cell lists the
states that may follow. Where it lists several, the facts decide (`Lifecycle._judge`).
An empty cell cannot happen. A test walks the machine at random and holds the table to
what it finds: no change is missing here, and none is listed that never happens.
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
    "X": State.EXPIRED,
}

# fmt: off
_ROWS: Final[Mapping[type[Event], tuple[str, str, str, str, str, str]]] = {
    #              M     F      S      B       R       X
    Started:      ("M",  "",    "",    "",     "",     ""),
    RefreshDue:      ("M",  "F",   "S",   "B",    "R",    "X"),
    RefreshRequested:        ("M",  "F",   "S",   "B",    "R",    "X"),
    Described:    ("M",  "FR",  "FSR", "FBR",  "FR",   "FBRX"),
    Loaded:       ("FB", "FR",  "FSR", "FBR",  "FR",   "FBRX"),
    InvalidValue:      ("M",  "FR",  "SR",  "BR",   "R",    "BRX"),
    Failed:       ("M",  "FSR", "SR",  "BR",   "R",    "X"),
    ProbeDue:     ("",   "F",   "S",   "B",    "R",    "X"),
    Probed:       ("",   "FBR", "SBR", "FSBR", "FSBR", "X"),
    Unauthorized:   ("",   "FR",  "SR",  "FSBR", "R",    "X"),
    CallAbandoned:    ("",   "F",   "S",   "B",    "R",    ""),
    OutcomeReported:        ("",   "FBR", "SBR", "FSBR", "FSBR", "X"),
    RecoveryDue:     ("",   "FR",  "SR",  "BR",   "R",    "X"),
    LimitReached: ("",   "",    "SX",  "BX",   "RX",   "X"),
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
