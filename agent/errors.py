"""The errors of this room, split by who must act.

    Explained (edge_models.errors)
    └── AgentError
        ├── SettingError            the user's setting: unknown key, wrong unit, missing file
        ├── DeviceError             the world: a sensor that is absent, busy or gone
        ├── StoreError              the world: a disk that is full, a store that is damaged
        │   └── DamagedRecord       the world: one record of it; the others can be read
        ├── KeyMismatch             the user's setting: a store made with another key
        └── SlotError               the world: slots of updates that can't be used now

Messages never carry sensed data: no samples, pixels, features, scores or answers.
"""

from edge_models.errors import Explained


class AgentError(Explained):
    """Root of this package's errors."""


class SettingError(AgentError):
    """A setting that can't be used; the remedy names the key and what it accepts."""

    exit_code = 2


class DeviceError(AgentError):
    """A microphone or camera that can't be used right now."""


class StoreError(AgentError):
    """The store can't be read or written; what it holds is left as it was."""


class DamagedRecord(StoreError):
    """One stored record that can't be read; the others can."""


class KeyMismatch(AgentError):
    """The store was made with another key; nothing in it was changed."""


class SlotError(AgentError):
    """The slots of updates can't do this now: in use, on probation, nothing there, a bad disk."""
