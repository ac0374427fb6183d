"""What the study's repository offers: every bundle and release that its keyholders have signed.

Rules upheld here: only devices decide what they trust, and check every signature; here it is read
as it was published. A study that has no repository yet offers nothing.

In the life of a bundle: `publishing` writes it → **offered** → `rollout start`.
"""

from pathlib import Path
from typing import Final

from sync.coordinator.rollouts import RolloutError
from sync.publishing.repository import Repository
from sync.publishing.roles import Listed
from sync.updates.offers import Kind, Offer

LATEST: Final = "latest"


def offered(repository: Path) -> tuple[tuple[Offer, Listed], ...]:
    """Every bundle and release on offer, the newest of each name first.

    Raises:
        PublishingError: the repository's files are not all there.
    """
    state = Repository(repository).state_if_any()
    if state is None:
        return ()
    found = [
        (listed.offer, listed)
        for document in (state.bundles, state.releases)
        for listed in document.listed
        if listed.offer is not None  # patches and wheels have none
    ]
    return tuple(sorted(found, key=lambda each: (each[0].kind, each[0].name, -each[0].serial)))


def must_be_of(repository: Path, study: str) -> None:
    """Check that a repository, if there is one, is this study's; devices refuse any other.

    Raises:
        RolloutError: it is another's.
        PublishingError: the repository's files are not all there.
    """
    state = Repository(repository).state_if_any()
    if state is not None and state.study != study:
        raise RolloutError(
            f"The repository '{repository}' is of the study '{state.study}', not of '{study}'.",
            "Name this study's with --repository.",
        )


def find(repository: Path, kind: Kind, name: str, serial: str) -> tuple[Offer, Listed]:
    """What is on offer under this name and serial (a number, or `latest`).

    Raises:
        RolloutError: there is no such thing.
        PublishingError: the repository's files are not all there.
    """
    of_name = [each for each in offered(repository) if (each[0].kind, each[0].name) == (kind, name)]
    for offer, listed in of_name:
        if serial in (LATEST, str(offer.serial)):
            return offer, listed
    there = ", ".join(str(offer.serial) for offer, _ in of_name[:8]) or "none"
    raise RolloutError(
        f"The repository '{repository}' offers no {kind.value} '{name}' {serial} (serials of that "
        f"name: {there}).",
        "Name the coordinator's with --repository, or publish it there: sottovoce publish "
        f"{kind.value}",
    )
