"""`sottovoce ota` for this device: what runs, what waits, take it, take it back.

Rules it upholds: a person at the device may take what the study's keys have signed for without a
rollout, and never anything else; a running agent is not disturbed: it turns to what was switched to
between two windows; what is asked is shown whole before a yes counts.

In the life of a bundle: the person's own hand.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent.courier import Courier
from agent.errors import SettingError, SlotError
from agent.home import Home
from agent.updates.bundles import PARTS_FOLDER, Bundles, Question, Taken
from agent.updates.history import History, Line, Step, history_file
from agent.updates.locks import RUNNING, alone, held, updates_folder
from agent.updates.slots import Slot
from agent.updates.trusting import trust_folder, trust_of, trusts_anything
from edge_models.bundle import shipped_bundle
from sync.updates.mirrors import FolderMirror, mirror_at
from sync.updates.offers import Kind
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import Source
from sync.updates.trust import Trust
from sync.updates.tuf_client import MOST_ROOT_BYTES

_TIMESTAMP: Final = "metadata/timestamp.json"
_STEPS: Final = {
    Step.OFFERED: "offered",
    Step.REJECTED: "not taken",
    Step.STAGED: "fetched and checked",
    Step.ASKED: "waits for your yes",
    Step.AGREED: "you said yes",
    Step.ACTIVATED: "switched to, on probation",
    Step.COMMITTED: "has proven itself",
    Step.ROLLED_BACK: "gone back from",
}


def now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


def pin(home: Home, root: Path) -> str:
    """Pin a repository's first root by hand, on a device that is in no study; says so.

    Raises:
        SettingError: a member's root comes from its study, or the file can't be read.
        UpdateRejected: it is no root, or another one is pinned.
    """
    if home.membership is not None:
        raise SettingError(
            "This device trusts the update keys that its study has signed for.",
            "Leave `init` out; sottovoce ota status shows how it stands.",
        )
    try:
        with root.open("rb") as file:
            content = file.read(MOST_ROOT_BYTES + 1)
    except OSError as fault:
        raise SettingError(
            f"'{root}' can't be read: {fault.strerror}.", "Name the repository's 1.root.json."
        ) from fault
    folder = updates_folder(home)
    nowhere = mirror_at(folder.absolute().as_uri())
    with alone(folder):
        try:
            Trust(trust_folder(home), nowhere, nowhere, now=now, study=None).init(content)
        except UpdateRejected as refused:
            if refused.reason is not Reason.MALFORMED:
                raise
            raise SettingError(
                f"'{root}' is not a repository's root.", "Name the repository's 1.root.json."
            ) from refused
    return "Updates are trusted from that root on. Next: sottovoce ota apply --from ADDRESS"


def refresh(home: Home, address: str | None) -> str:
    """Take in what the repository lists now; says what is new for this device."""
    with _trusting(home, address) as trust:
        target = trust.newest(Kind.BUNDLE, home.bundle.name)
    if target is None or target.offer is None:
        return f"Nothing is offered for the bundle '{home.bundle.name}'."
    offer = target.offer
    if offer.serial <= home.serial:
        return f"What runs is the newest: {_called(home)}."
    return f"Offered: {offer.name} {offer.says}, update {offer.serial}, {target.length} bytes."


def apply(
    home: Home, address: str | None, *, answer: bool | None, ask: Callable[[str], bool]
) -> str:
    """Take the newest bundle, or answer for the one that waits; says what came of it.

    `answer` is what the command line says to a question; None: `ask` the person, once.

    Raises:
        SettingError: the settings name a bundle, which its owner looks after.
        UpdateRejected: with the reason; what runs stays.
        SlotError: an update is on probation, or another process is at it.
    """
    if home.settings.bundle:
        raise SettingError(
            "The settings name a folder for the bundle: updates of bundles are not taken.",
            "Take `bundle` out of them first.",
        )
    bundles = bundles_of(home)
    bundles.ask_again()
    if bundles.question(home) is None:
        with _trusting(home, address) as trust:
            target = trust.newest(Kind.BUNDLE, home.bundle.name)
            if target is None or target.offer is None or target.offer.serial <= home.serial:
                return f"What runs is the newest: {_called(home)}."
            if bundles.take(home, trust, target.path) is Taken.SWITCHED:
                return _switched(home)
    question = bundles.question(home)
    if question is None:
        raise SlotError("No update waits for your answer.")
    said = ask(_in_words(question)) if answer is None else answer
    bundles.answer(home, yes=said, of=question.label)
    if not said:
        return "The update is not taken, and you won't be asked again about this one."
    return _switched(home)


def roll_back(home: Home) -> str:
    """Go back to what ran before, for good; says what runs then.

    Raises:
        SlotError: there is nothing before it.
    """
    left = bundles_of(home).go_back(
        UpdateRejected(Reason.WITHDRAWN, "The person at the device went back.")
    )
    return f"Update {left.serial} is gone back from. {_called(home.renewed())} runs now."


def status(home: Home) -> list[str]:
    """How it stands, a line each."""
    bundles, slots = bundles_of(home), home.slots
    current = slots.current()
    lines = [f"Runs:    {_called(home)}{_standing(current)}"]
    if home.settings.bundle:
        lines.append("The settings name a folder for the bundle: updates of bundles are not taken.")
    if current is not None:
        before = slots.previous()
        shipped = shipped_bundle().manifest
        was = (
            f"{shipped.name} {shipped.version}, as shipped"
            if before is None
            else f"{before.label.name} {before.label.says}, update {before.label.serial}"
        )
        lines.append(f"Before:  {was}")
    question = bundles.question(home)
    if question is not None:
        lines.append(f"Waits:   {question.label.name} {question.label.says} for your yes:")
        lines += [f"         - {sentence}" for sentence in question.questions]
        lines.append("         sottovoce ota apply shows it and asks.")
    whose = f"the study '{home.membership.study}'" if home.membership else "a root pinned by hand"
    lines.append(f"Trusts:  {f'the keys of {whose}' if trusts_anything(home) else 'no keys yet'}")
    newest = next((line for line in reversed(bundles.history.lines())), None)
    if newest is not None:
        lines.append(f"Newest:  {_line(newest)}")
    return lines


def history(home: Home) -> list[str]:
    """What became of updates, oldest first, a line each."""
    return [_line(line) for line in bundles_of(home).history.lines()] or [
        "No update has come to this device yet."
    ]


def bundles_of(home: Home) -> Bundles:
    """The bundles of this device."""
    return Bundles(
        home.slots,
        History(history_file(home.settings.state_folder)),
        updates_folder(home) / PARTS_FOLDER,
        now,
    )


@contextmanager
def _trusting(home: Home, address: str | None) -> Iterator[Trust]:
    """A trust that was refreshed from a mirror, or over the device's line while no agent runs."""
    if address is not None:
        with alone(updates_folder(home)):
            yield _refreshed(home, _mirror(address))
        return
    if home.membership is None:
        raise SettingError(
            "This device is in no study, so it has to be told where updates lie.",
            "Name an address or a folder: --from https://… or --from /media/stick/updates",
        )
    running = SlotError(
        "The agent runs, and the line to the study is its own.",
        "To take one by hand meanwhile, name a mirror or a folder with --from.",
    )
    with held(updates_folder(home) / RUNNING, running), Courier(home) as courier:
        assert courier.files is not None  # a member has a line
        with alone(updates_folder(home)):
            yield _refreshed(home, courier.files)


def _mirror(address: str) -> Source:
    if "://" in address:
        return mirror_at(address)
    folder = Path(address).expanduser()
    if not (folder / _TIMESTAMP).is_file():
        raise SettingError(
            f"'{address}' holds no updates: there is no {_TIMESTAMP} in it.",
            "Name the folder of a repository, in which metadata and targets lie.",
        )
    return FolderMirror(folder)


def _refreshed(home: Home, source: Source) -> Trust:
    trust = trust_of(home, source, now)
    trust.refresh()
    return trust


def _called(home: Home) -> str:
    manifest = home.bundle.manifest
    called = f"{manifest.name} {manifest.version}"
    return f"{called}, update {home.serial}" if home.serial else f"{called}, as shipped"


def _standing(current: Slot | None) -> str:
    return "" if current is None or current.committed else " (on probation)"


def _switched(home: Home) -> str:
    return (
        f"Switched to {_called(home.renewed())}. A running agent turns to it within a window; "
        "it is kept once it has proven itself, and gone back from if it fails."
    )


def _in_words(question: Question) -> str:
    lines = [f"Update {question.label.says} of '{question.label.name}' asks for your yes:"]
    lines += [f"- {sentence}" for sentence in (*question.questions, *question.notes)]
    return "\n".join([*lines, "", question.consent.strip(), ""])


def _line(line: Line) -> str:
    moment = datetime.fromtimestamp(line.at, UTC).astimezone()
    what = f"{moment:%Y-%m-%d %H:%M}  {line.kind} {line.name} {line.says}, update {line.serial}"
    why = f": {line.sentence}" if line.sentence else ""
    return f"{what}: {_STEPS[line.step]}{why}"
