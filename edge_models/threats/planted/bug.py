"""A bug that is put into the production code for a while, and the attack that must notice.

Rules it upholds: what is replaced is the production code's own function, by the name under which
it is called, so an attack that tests a copy notices nothing; it is put back whatever happens.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """`plant()` is a context in which the bug is in; `caught_by` names the attack."""

    name: str
    what: str
    caught_by: str
    plant: Callable[[], AbstractContextManager[object]]
