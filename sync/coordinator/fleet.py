"""A study in one process: thousands of devices that speak the protocol's exact bytes, and no wire.

Each device is `sync.participation` over a notebook in memory, with keys, ledger, seal and outbox of
its own; the coordinator is the real `rounds` over a real `round_book`. What is simulated is time,
and who dies when. For tests, benches and `sottovoce rounds simulate`; it never touches a network.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sync.budget import Ledger
from sync.coordinator.drafts import Draft
from sync.coordinator.round_book import RoundBook
from sync.coordinator.rounds import Letter, Rounds
from sync.errors import ProtocolError
from sync.identity import (
    COORDINATOR,
    Acquaintances,
    Identity,
    Role,
    issue_credential,
    public_key,
)
from sync.inbox import Inbox
from sync.parcels import Kind, Parcel, frames_of
from sync.participation import Contributor, Enrolled, Participation
from sync.policy import Policy
from sync.release import Seal
from sync.secure_sum.masks import keystream
from sync.secure_sum.server import Failed, Opened
from sync.secure_sum.wire import Step

_YEARS: Final = 10 * 366 * 24 * 3600
Dies = Callable[[bytes, Step], bool]
"""Whether the device of this name is gone from this step on."""


class MemoryNotebook:
    """A device's store in memory: parts, ledger, outbox."""

    def __init__(self) -> None:
        self.paid = Ledger()
        self.kept: dict[str, bytes] = {}
        self.outbox: list[bytes] = []

    def ledger(self) -> Ledger:
        """What has been spent."""
        return self.paid

    def part(self, round_id: str) -> bytes | None:
        """What was kept of a round."""
        return self.kept.get(round_id)

    def parts(self) -> Iterable[tuple[str, bytes]]:
        """Everything that was kept."""
        return tuple(self.kept.items())

    def keep_part(
        self,
        round_id: str,
        part: bytes | None,
        *,
        sealed: Sequence[bytes] = (),
        charged: Ledger | None = None,
    ) -> None:
        """All at once, as a transaction would."""
        if part is None:
            self.kept.pop(round_id, None)
        else:
            self.kept[round_id] = part
        self.outbox.extend(sealed)
        if charged is not None:
            self.paid = charged


@dataclass(slots=True)
class Device:
    """One simulated device; `cpu_s` is what its own code took, bytes are what it heard and said."""

    participation: Participation
    notebook: MemoryNotebook
    inbox: Inbox
    seal: Seal
    cpu_s: float = 0.0
    heard_bytes: int = 0
    said_bytes: int = 0
    refusals: list[str] = field(default_factory=list)

    @property
    def name(self) -> bytes:
        """Its pseudonym, 16 bytes."""
        return self.participation.enrolled.identity.credential.name

    def hear(self, frames: Iterable[bytes], now: int) -> list[bytes]:
        """Frames in, frames out."""
        began = time.process_time()
        for frame in frames:
            self.heard_bytes += len(frame)
            heard = self.inbox.receive("coordinator", frame, now)
            if heard.parcel is None:
                continue
            try:
                self.participation.hear(heard.parcel, now)
            except ProtocolError as fault:
                self.refusals.append(fault.cause)
            self.inbox.finish("coordinator", heard.digest, now)
        said = [self.seal.reopen(sealed).payload for sealed in self.notebook.outbox]
        self.notebook.outbox.clear()
        self.said_bytes += sum(map(len, said))
        self.cpu_s += time.process_time() - began
        return said


class Fleet:
    """A coordinator and its devices; `contributor` gives the one of each device's number.

    `seed` makes keys and deaths the same in each run; noise and masks are always fresh.
    """

    def __init__(
        self,
        size: int,
        book: RoundBook,
        *,
        study: str,
        policy: Policy,
        policy_digest: str,
        contributor: Callable[[int], Contributor],
        now: int,
        seed: int = 0,
    ) -> None:
        self.now = now
        keys = _keys(seed, 2 + 3 * size)
        self._authority = next(keys)
        self.authority = public_key(self._authority)
        self.study = study
        self.coordinator = self._identity(next(keys), Role.COORDINATOR, COORDINATOR)
        self.ended: dict[str, Opened | Failed] = {}
        self.rounds = Rounds(
            book,
            self.coordinator,
            self.authority,
            random_bytes=secrets.token_bytes,
            everybody=lambda: size,
            on_end=lambda terms, result: self.ended.update({terms.round: result}),
        )
        self._inbox = Inbox()
        self.cpu_s = 0.0
        self.devices: dict[bytes, Device] = {}
        for number in range(size):
            identity = self._identity(next(keys), Role.DEVICE, next(keys)[:16])
            notebook, seal = MemoryNotebook(), Seal(next(keys))
            participation = Participation(
                Enrolled(study, identity, self.authority, policy, policy_digest),
                Acquaintances(study, self.authority),
                notebook,
                seal,
                contributor(number),
                secrets.token_bytes,
                secrets.randbelow,
            )
            device = Device(participation, notebook, Inbox(), seal)
            self.devices[device.name] = device

    def _identity(self, private_key: bytes, role: Role, name: bytes) -> Identity:
        credential = issue_credential(
            self._authority,
            study=self.study,
            role=role,
            name=name,
            signing_key=public_key(private_key),
            expires=self.now + _YEARS,
        )
        return Identity(private_key, credential)

    def run(self, draft: Draft, dies: Dies = lambda _name, _step: False) -> Opened | Failed:
        """One whole round, to its end; time passes only when nothing else can happen."""
        terms = self.rounds.start(draft, self.now)
        while terms.round not in self.ended:
            self.go_on(dies)
        return self.ended[terms.round]

    def go_on(self, dies: Dies = lambda _name, _step: False) -> None:
        """Deliver all that is due in any round; time passes only when nothing is."""
        began = time.process_time()
        letters = list(self.rounds.due(self.now))
        self.cpu_s += time.process_time() - began
        if not letters:
            self.now += 1
        for letter in letters:
            self._deliver(letter, dies)

    def _deliver(self, letter: Letter, dies: Dies) -> None:
        kind = Kind.SIGNED_TERMS if letter.is_terms else Kind.ROUND
        frames = frames_of(Parcel(kind, letter.payload))
        names = self.devices if letter.name is None else (letter.name,)
        for name in names:
            for frame in self.devices[name].hear(frames, self.now):
                began = time.process_time()
                self._receive(name, frame, dies)
                self.cpu_s += time.process_time() - began

    def _receive(self, name: bytes, frame: bytes, dies: Dies) -> None:
        heard = self._inbox.receive(name.hex(), frame, self.now)
        if heard.parcel is None:
            return
        self._inbox.finish(name.hex(), heard.digest, self.now)
        if not dies(name, Step(heard.parcel.content[32])):
            self.rounds.receive(name, heard.parcel.content, self.now)


def dying(share: float, step: Step, seed: int = 0) -> Dies:
    """About this share of the devices die at this step: their words from then on are lost."""

    def dies(name: bytes, said: Step) -> bool:
        drawn = hashlib.sha256(seed.to_bytes(8, "big") + name).digest()
        return said >= step and int.from_bytes(drawn[:4], "big") < share * 2**32

    return dies


def _keys(seed: int, count: int) -> Iterator[bytes]:
    """Keys of 32 bytes that are the same in each run."""
    stream = keystream(hashlib.sha256(seed.to_bytes(8, "big", signed=True)).digest(), 32 * count)
    return (stream[at : at + 32] for at in range(0, len(stream), 32))
