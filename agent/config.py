"""The device's settings: one TOML file, every key with its unit, unknown keys refused.

One name per thing: the key here is the field in the code and the word on the command line.
"""

import difflib
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import SettingError

_Port = Annotated[int, Field(ge=0, le=65_535)]

DEFAULT_STATE: Final = Path("~/.local/share/sottovoce")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MicrophoneSettings(_Section):
    """`device`: "default", a part of a device's name, or "off" for no microphone."""

    device: str = "default"


class CameraSettings(_Section):
    """`device`: "off", or the camera's number ("0"); `frames_per_s`: at most this many."""

    device: str = "off"
    frames_per_s: Annotated[float, Field(gt=0, le=30)] = 10.0


class BrokerSettings(_Section):
    """Where reports go; no host means that they wait on the device.

    The three files turn TLS on: the study's own CA, and this device's certificate and key.
    """

    host: str = ""
    port: _Port = 8883
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""


class PageSettings(_Section):
    """The person's own page, on this machine only; port 0 takes any free one."""

    port: _Port = 8765


class KeepSettings(_Section):
    """How long the device remembers windows and gaps; what was sent is kept for good."""

    retention_days: Annotated[int, Field(ge=7, le=3_650)] = 365

    @property
    def retention(self) -> timedelta:
        """The same as a span of time."""
        return timedelta(days=self.retention_days)


class LearningSettings(_Section):
    """`take_part`: whether this person's own answers and features help to train the head."""

    take_part: bool = False


class UpdateSettings(_Section):
    """`automatic`: whether what the study rolls out is taken by itself (`sottovoce ota` if not)."""

    automatic: bool = True


class Settings(_Section):
    """Everything that can be set.

    `anchor`: the folder of the privacy ledger's anchor; empty for one in the state folder.
    """

    study: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")] = "home"
    state: str = str(DEFAULT_STATE)
    anchor: str = ""
    bundle: str = ""
    microphone: MicrophoneSettings = MicrophoneSettings()
    camera: CameraSettings = CameraSettings()
    broker: BrokerSettings = BrokerSettings()
    page: PageSettings = PageSettings()
    keep: KeepSettings = KeepSettings()
    learning: LearningSettings = LearningSettings()
    updates: UpdateSettings = UpdateSettings()

    @property
    def state_folder(self) -> Path:
        """Where key and store live, `~` resolved."""
        return Path(self.state).expanduser()

    @property
    def anchor_folder(self) -> Path | None:
        """Where the privacy ledger's anchor lives, None for the store's own choice."""
        return Path(self.anchor).expanduser() if self.anchor else None


def load_settings(path: Path | None) -> Settings:
    """Read a settings file; without one, the defaults.

    Raises:
        SettingError: the file is absent, isn't TOML, or holds a key or value that can't be used.
    """
    if path is None:
        return Settings()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise SettingError(
            f"The settings file '{path}' can't be read: {fault.strerror}.",
            "Name an existing file after --config, or leave it out for the defaults.",
        ) from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise SettingError(
            f"The settings file '{path}' is not valid TOML: {fault}.",
            "Compare it with deploy/sottovoce.toml.",
        ) from fault
    return parse_settings(found, str(path))


def settings_said(path: Path | None, said: Mapping[str, object]) -> Settings:
    """The settings file with the command line's words over it; None is a word not said.

    Keys are as in messages: `state`, `page.port`. Raises as `load_settings`.
    """
    found = load_settings(path).model_dump()
    for key, value in said.items():
        *sections, name = key.split(".")
        place = found
        for section in sections:
            place = place[section]
        if value is not None:
            place[name] = value
    return parse_settings(found, "the command line")


def parse_settings(found: dict[str, Any], origin: str) -> Settings:
    """Validate what a file (or the command line) holds; see `load_settings`."""
    try:
        return Settings.model_validate(found)
    except ValidationError as fault:
        first = fault.errors()[0]
        raise _explained(first["loc"], first["type"], first["msg"], origin) from None


def _explained(where: tuple[int | str, ...], kind: str, message: str, origin: str) -> SettingError:
    key = ".".join(str(part) for part in where)
    section: type[BaseModel] = Settings
    for part in where[:-1]:
        annotation = section.model_fields[str(part)].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    if kind == "extra_forbidden":
        known = list(section.model_fields)
        name = str(where[-1])
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or [
            other for other in known if other.split("_")[0] == name.split("_")[0]
        ]
        hint = f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(known)}."
        return SettingError(f"'{key}' in {origin} is not a setting.", hint)
    unit = next(
        (f" It is a number of {word}." for end, word in _UNITS.items() if key.endswith(end)), ""
    )
    return SettingError(f"'{key}' in {origin} can't be used: {message}.", unit.strip())


_UNITS: Final = {"_days": "days, such as 365", "_per_s": "frames a second, such as 10.0"}
