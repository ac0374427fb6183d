"""Whether a licence forbids commercial use, and that nothing learned under one forgets it.

Rules it upholds: a model carries the terms of what it learned from; what was called non-commercial
anywhere (by a card, an earlier manifest, the bundle that is replaced) stays so by name and by
notice.
"""

import re
from collections.abc import Mapping
from typing import Final

from edge_models.errors import BundleError

AS_ITS_DATA: Final = "As its training data"
"""The licence of a model whose notice names the terms of each set that it learned from."""

_RESTRICTED: Final = re.compile(r"\bBY-NC\b|\bnon-?\s?commercial\b", re.IGNORECASE)


def is_restricted(text: str) -> bool:
    """Whether a licence, a notice or a card says that it is for non-commercial use."""
    return _RESTRICTED.search(text) is not None


def must_stay_restricted(new: tuple[str, str], others: Mapping[str, str]) -> None:
    """See that `new`, a licence and its notice, keeps what `others` say, by who says it.

    Raises:
        BundleError: one of them, or one half of the new, says non-commercial, and the other not.
    """
    licence, notice = new
    said = {"its licence": licence, "its notice": notice, **others}
    who = next((name for name, text in said.items() if is_restricted(text)), None)
    if who is None:
        return
    for half, text in (("licence", licence), ("notice", notice)):
        if not is_restricted(text) and (half, text) != ("licence", AS_ITS_DATA):
            raise BundleError(
                f"The bundle's {half} does not say NonCommercial, and {who} does.",
                "A model keeps the terms of what it learned from: give a licence such as "
                "'CC BY-NC-SA 4.0' and a notice that says non-commercial.",
            )
