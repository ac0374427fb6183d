"""The trial of a new release: it runs, on this device, before anything leads to it.

Rules it upholds: a new release speaks for itself in a process of its own, as whoever runs the
agent, within a time limit, and nothing that it prints is believed but for what it is compared with;
its version is the one that was signed for; it reads the form in which the person's store is kept,
and what it will write can be read by the release that runs now, so there is a way back.

In the life of a release: wheelhouse → idle slot → **trial** → `current` → probation.
"""

from pathlib import Path
from typing import Final

from agent import rows
from agent.updates.child import Ended, Owner, run_child
from agent.updates.self_test import SelfTest
from sync.envelope import decoded
from sync.errors import ProtocolError
from sync.updates.rejected import Reason, UpdateRejected

LIMIT_S: Final = 180.0
"""A small board loads everything, and runs the golden vectors, in half a minute."""


def try_release(
    slot: Path, says: str, *, owner: Owner | None = None, limit_s: float = LIMIT_S
) -> SelfTest:
    """Try the release in `slot`, which must call itself `says`; `owner` is whom it runs as.

    Raises:
        UpdateRejected: INCOMPLETE, it does not run; GOLDEN, its self-test fails or takes too long;
            CONTRACT, it is another version, or can't share the store with the one that runs.
    """
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "ORT_DISABLE_TELEMETRY": "1"}
    environment |= {"HOME": "/nonexistent"}
    named = run_child([str(slot / "bin/sottovoce"), "--version"], limit_s, environment, owner=owner)
    if named.code != 0:
        raise UpdateRejected(Reason.INCOMPLETE, f"The new version does not start: {_why(named)}.")
    if named.said.strip() != f"sottovoce {says}":
        raise _other_version(says)
    command = [str(slot / "bin/python"), "-I", "-B", "-m", "agent.updates.self_test"]
    tested = run_child(command, limit_s, environment, owner=owner)
    if tested.code != 0:
        raise UpdateRejected(
            Reason.GOLDEN, f"The new version does not pass its self-test here: {_why(tested)}."
        )
    try:
        found = decoded(tested.said.strip().rpartition("\n")[2].encode(), SelfTest)
    except ProtocolError:
        raise UpdateRejected(
            Reason.GOLDEN, "The new version's self-test gives no answer that can be read."
        ) from None
    if found.says != says:
        raise _other_version(says)
    if rows.SCHEMA not in found.store_reads:
        raise UpdateRejected(
            Reason.CONTRACT,
            f"The new version can't read what this device has recorded (form {rows.SCHEMA}).",
        )
    if found.store_writes not in rows.KNOWN:
        raise UpdateRejected(
            Reason.CONTRACT,
            f"The new version would write a form of the store (form {found.store_writes}) that the "
            "one which runs now can't read: there would be no way back.",
            "What runs now stays. The study can publish one in between that reads it.",
        )
    return found


def _why(ended: Ended) -> str:
    if ended.was_late:
        return "it took too long"
    if ended.code < 0:
        return f"it was ended by signal {-ended.code}"
    lines = [line for line in ended.said.splitlines() if line.strip()]
    return lines[-1].strip()[:300].rstrip(".") if lines else f"it ends with code {ended.code}"


def _other_version(says: str) -> UpdateRejected:
    return UpdateRejected(
        Reason.CONTRACT, f"The new version does not call itself {says}, as was signed for."
    )
