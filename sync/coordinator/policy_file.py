"""The file of a study's privacy policy, as the coordinator's commands are told it.

In the life of a report: what both sides measure it by.
"""

from pathlib import Path
from typing import Final

from sync.errors import PolicyError
from sync.policy import parse_policy

_LARGEST_POLICY_BYTES: Final = 65_536


def policy_of(path: Path | None) -> bytes:
    """The bytes of a policy file that can be kept; of the shipped bundle's where none is named.

    Raises:
        PolicyError: the file can't be read, or holds none.
        BundleError: none is named, and the shipped bundle is damaged.
    """
    if path is None:
        from edge_models.bundle import shipped_bundle  # here, for it brings the models' runtimes

        return shipped_bundle().policy
    try:
        with path.open("rb") as file:
            payload = file.read(_LARGEST_POLICY_BYTES)
    except OSError as fault:
        raise PolicyError(
            f"The policy '{path}' can't be read ({fault.strerror}).",
            "Name a readable file, or leave --policy out to use the bundle's.",
        ) from fault
    parse_policy(payload)
    return payload
