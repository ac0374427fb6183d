"""What a device has of its own: key, store, seal, bundle and study, from its settings.

Rules it upholds: the key is found once and never leaves this value but as sub-keys; whoever needs
the store opens a connection of their own, one a thread; a device that is enrolled reports to its
study and nowhere else, whatever its settings say. Unless the settings name a bundle, it is the
current slot's; where that can't be used, the one before it, down to the one that is shipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config import BrokerSettings, Settings
from agent.errors import SettingError
from agent.keys import IDENTITY_FOLDER, STORE_FILE, UPDATES_FOLDER, Purpose, load_key, sub_key
from agent.reporter import Study
from agent.store import Store
from agent.updates.slots import Slot, Slots
from edge_models.bundle import Bundle, load_bundle, shipped_bundle
from edge_models.errors import BundleError, Explained
from edge_models.head import Head
from sync.errors import PolicyError, ProtocolError
from sync.policy import Policy, parse_policy
from sync.release import Seal

if TYPE_CHECKING:
    from agent.membership import Membership
    from sync.endpoint import Tls


@dataclass(frozen=True, slots=True)
class Home:
    """One device's own things; see `open_home`. `head` is what screening scores with.

    `slot` is where the bundle comes from, None for the shipped one or the settings' own;
    `passed_by` is why the current slot's was not taken, None where it was.
    """

    settings: Settings
    bundle: Bundle
    study: Study
    seal: Seal
    head: Head
    membership: "Membership | None"
    _key: bytes = field(repr=False)
    slot: Slot | None = None
    passed_by: Explained | None = None

    @property
    def serial(self) -> int:
        """Of the update that the bundle is; 0 for the shipped one or the settings' own."""
        return self.slot.label.serial if self.slot else 0

    @property
    def slots(self) -> Slots:
        """Where bundles are switched."""
        return bundle_slots(self.settings)

    def renewed(self, *, proven_only: bool = False) -> "Home":
        """The same home with what is current now; `proven_only`: nothing that is on probation.

        Raises as `open_home`.
        """
        return _furnished(self.settings, self._key, self.membership, proven_only)

    def open_store(self) -> Store:
        """A connection to the encrypted store, for the thread that calls.

        Raises:
            KeyMismatch: the store was made with another key.
            StoreError: it can't be read or written.
        """
        settings = self.settings
        return Store(settings.state_folder / STORE_FILE, self._key, settings.anchor_folder)

    @property
    def tls(self) -> "Tls | None":
        """How the broker is known, None without a CA file (one machine, loopback)."""
        if self.membership is not None:
            return self.membership.tls
        broker = self.settings.broker
        if not broker.ca_file:
            return None
        from sync.endpoint import Tls  # loads ssl

        return Tls(
            Path(broker.ca_file),
            Path(broker.certificate_file) if broker.certificate_file else None,
            Path(broker.key_file) if broker.key_file else None,
        )

    @property
    def sums(self) -> bool:
        """Whether reports leave through secure sums, as in a study that doesn't say otherwise."""
        return self.membership is not None and self.membership.noise == "sum"

    @property
    def broker_address(self) -> str:
        """Where reports go, for a person; empty where there is no broker."""
        broker = self.settings.broker
        return f"{broker.host}:{broker.port}" if broker.host else ""


def open_home(settings: Settings, environment: Mapping[str, str]) -> Home:
    """Find or make the key, try the store with it, and read the bundle.

    `environment` may hold SOTTOVOCE_PASSPHRASE, and CREDENTIALS_DIRECTORY as systemd sets it.

    Raises:
        SettingError: the key can't be used.
        KeyMismatch: the store was made with another key.
        StoreError: the store can't be read or written.
        BundleError: the bundle can't be read.
        PolicyError: its privacy policy can't be kept.
        ProtocolError: its policy is not the one that the study has signed.
    """
    key = device_key(settings, environment)
    membership = _membership(settings.state_folder, key)
    if membership is not None:
        settings = _enrolled(settings, membership)
    return _furnished(settings, key, membership)


def bundle_slots(settings: Settings) -> Slots:
    """The slots of bundles in a device's state folder."""
    return Slots(settings.state_folder / UPDATES_FOLDER / "bundles")


def _furnished(
    settings: Settings,
    key: bytes,
    membership: "Membership | None",
    proven_only: bool = False,
) -> Home:
    bundle, policy, slot, passed_by = _bundle(settings, membership, proven_only)
    study = Study(settings.study, policy, bundle.name, bundle.thresholds)
    seal = Seal(sub_key(key, Purpose.SEAL))
    home = Home(settings, bundle, study, seal, bundle.head, membership, key, slot, passed_by)
    with home.open_store() as store:
        return home if membership is None else replace(home, head=_head(store, bundle, membership))


def _bundle(
    settings: Settings, membership: "Membership | None", proven_only: bool
) -> tuple[Bundle, Policy, Slot | None, Explained | None]:
    """What is current and can be used; nothing is changed where it can't."""
    passed_by: Explained | None = None
    if not settings.bundle:
        slots = bundle_slots(settings)
        current = slots.current()
        for slot in (current, slots.previous()):
            if slot is None:
                break
            if proven_only and not slot.committed:
                continue
            try:
                bundle = load_bundle(slot.folder)
                signature = bytes.fromhex(slot.label.policy_signature)
                return bundle, policy_of(bundle.policy, membership, signature), slot, passed_by
            except (BundleError, PolicyError, ProtocolError) as fault:
                passed_by = passed_by or fault
    named = Path(settings.bundle).expanduser() if settings.bundle else None
    bundle = load_bundle(named) if named else shipped_bundle()
    return bundle, policy_of(bundle.policy, membership), None, passed_by


def _head(store: Store, bundle: Bundle, membership: "Membership") -> Head:
    from agent.adopted import adopted_head  # signed messages: only for a member

    adopted = adopted_head(store, study=membership.study, bundle=bundle)
    return bundle.head if adopted is None else adopted.head


def device_key(settings: Settings, environment: Mapping[str, str]) -> bytes:
    """The device's key, found or made; `environment` and what it raises as in `open_home`."""
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    return load_key(
        settings.state_folder,
        passphrase=environment.get("SOTTOVOCE_PASSPHRASE"),
        credentials=Path(credentials) if credentials else None,
    )


def _membership(state_folder: Path, key: bytes) -> "Membership | None":
    if not (state_folder / IDENTITY_FOLDER).exists():
        return None
    from agent.membership import IdentityFolder  # certificates and TLS: only for a member

    return IdentityFolder(state_folder, key).membership()


def policy_of(payload: bytes, membership: "Membership | None", signature: bytes = b"") -> Policy:
    """The policy that these bytes hold, signed for this member's study.

    `signature` comes with an update; without one, the enrolment's must hold, so an update that
    leaves the policy as it was needs none of its own.

    Raises:
        PolicyError: it can't be kept.
        ProtocolError: it is not one that the study has signed.
    """
    if membership is None:
        return parse_policy(payload)
    from sync.agreement import signed_policy

    return signed_policy(
        payload,
        signature or membership.policy_signature,
        study=membership.study,
        authority=membership.authority,
    )


def _enrolled(settings: Settings, membership: "Membership") -> Settings:
    """The settings with the study and broker of the enrolment, which they must not contradict."""
    unsaid, said = Settings(), settings.broker
    if settings.study not in (unsaid.study, membership.study) or (
        said.host and (said.host, said.port) != (membership.host, membership.port)
    ):
        raise SettingError(
            f"The settings name another study or broker than '{membership.study}' at "
            f"{membership.host}:{membership.port}, in which this device is enrolled.",
            "Take study and [broker] out of them, or use another state folder.",
        )
    broker = BrokerSettings(host=membership.host, port=membership.port)
    return settings.model_copy(update={"study": membership.study, "broker": broker})
