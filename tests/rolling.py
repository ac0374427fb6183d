"""Directives, identities and words about updates, for the tests of rollouts."""

from typing import Any

from sync.identity import COORDINATOR, Identity, Role, issue_credential, public_key
from sync.updates.offers import Kind, bundle_path
from sync.updates.progress import Phase, Progress, progress_of
from sync.updates.rejected import Reason
from sync.updates.rollout import Directive, State

AUTHORITY, SIGNING = bytes(range(32)), bytes(range(1, 33))
NOW = 1_795_000_000
DAY_S = 24 * 3600
STUDY = "north"


def coordinator(
    study: str = STUDY, role: Role = Role.COORDINATOR, key: bytes = SIGNING
) -> Identity:
    name = COORDINATOR if role is Role.COORDINATOR else bytes(range(16))
    credential = issue_credential(
        AUTHORITY, study=study, role=role, name=name, signing_key=public_key(key),
        expires=NOW + 300 * DAY_S,
    )  # fmt: skip
    return Identity(key, credential)


def directive(**changes: Any) -> Directive:
    fields: dict[str, Any] = {
        "version": 1, "study": STUDY, "number": 3, "kind": Kind.BUNDLE, "name": "affect-1",
        "serial": 7, "path": bundle_path("affect-1", 7), "sha256": "ab" * 32,
        "rings": (10, 100, 500, 1000), "open": 1, "key": "0c" * 32, "state": State.STARTED,
        "withdrawn": (), "signed_at": NOW,
    }  # fmt: skip
    return Directive(**(fields | changes))


def progress(
    phase: Phase = Phase.COMMITTED, reason: Reason | None = None, **changes: Any
) -> Progress:
    fields: dict[str, Any] = {
        "kind": Kind.BUNDLE, "name": "affect-1", "serial": 7, "rollout": 3, "phase": phase,
        "reason": reason, "runs": 7 if phase in (Phase.TRYING, Phase.COMMITTED) else 6,
        "runs_sha256": "cd" * 32, "moment": NOW,
    }  # fmt: skip
    return progress_of(**(fields | changes))


def pseudonym(number: int) -> str:
    return f"{number:032x}"
