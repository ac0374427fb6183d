"""What a device has of its own: key, store, seal, bundle and study, from its settings.

Rule it upholds: the key is found once and never leaves this value but as sub-keys; whoever needs
the store opens a connection of their own, one a thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.config import Settings
from agent.keys import STORE_FILE, Purpose, load_key, sub_key
from agent.reporter import Study
from agent.store import Store
from edge_models.bundle import Bundle, load_bundle, shipped_bundle
from sync.endpoint import Tls
from sync.policy import parse_policy
from sync.release import Seal


@dataclass(frozen=True, slots=True)
class Home:
    """One device's own things; see `open_home`."""

    settings: Settings
    bundle: Bundle
    study: Study
    seal: Seal
    _key: bytes = field(repr=False)

    def open_store(self) -> Store:
        """A connection to the encrypted store, for the thread that calls.

        Raises:
            KeyMismatch: the store was made with another key.
            StoreError: it can't be read or written.
        """
        settings = self.settings
        return Store(settings.state_folder / STORE_FILE, self._key, settings.anchor_folder)

    @property
    def tls(self) -> Tls | None:
        """How the broker is known, None without a CA file (one machine, loopback)."""
        broker = self.settings.broker
        if not broker.ca_file:
            return None
        return Tls(
            Path(broker.ca_file),
            Path(broker.certificate_file) if broker.certificate_file else None,
            Path(broker.key_file) if broker.key_file else None,
        )

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
    """
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    key = load_key(
        settings.state_folder,
        passphrase=environment.get("SOTTOVOCE_PASSPHRASE"),
        credentials=Path(credentials) if credentials else None,
    )
    folder = settings.bundle
    bundle = load_bundle(Path(folder).expanduser()) if folder else shipped_bundle()
    study = Study(settings.study, parse_policy(bundle.policy), bundle.name, bundle.thresholds)
    home = Home(settings, bundle, study, Seal(sub_key(key, Purpose.SEAL)), key)
    home.open_store().close()
    return home
