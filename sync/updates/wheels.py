"""What a release of the agent is: a list of wheels for each kind of machine, signed as one file.

Rules it upholds: a release names every wheel with its size and hash, and for each platform exactly
which of them belong together, so a device installs that set and nothing besides; a wheel is a file
of its own, so one that did not change is not fetched again.

In the life of a release: written by `publishing`, read by the device once `trust` has checked it.
"""

import platform
import re
import sys
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StrictInt, ValidationError, model_validator

from sync.envelope import Message, encoded, faults
from sync.updates.offers import MOST_WHEEL_BYTES, Serial, Sha256, Short
from sync.updates.rejected import Reason, UpdateRejected

MOST_LIST_BYTES: Final = 128 * 1024
MOST_WHEELS: Final = 400

WheelName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+]*(-[A-Za-z0-9._+]+){4,5}\.whl$", max_length=128)
]
"""A file name by the wheel standard: distribution, version, perhaps a build, and three tags.

Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""
PlatformName = Annotated[str, Field(pattern=r"^cp3[0-9]{1,2}-linux-[a-z0-9_]{1,16}$")]
"""A kind of machine, such as `cp311-linux-aarch64`: CPython's version, system and processor."""
Release = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]


class Wheel(Message):
    """One file of a release, a target of its own at `offers.wheel_path(file)`."""

    file: WheelName
    sha256: Sha256
    bytes: Annotated[StrictInt, Field(ge=1, le=MOST_WHEEL_BYTES)]

    @property
    def distribution(self) -> str:
        """Its package's name in the one form that can be compared, such as `paho-mqtt`."""
        return re.sub(r"[-_.]+", "-", self.file.partition("-")[0]).lower()

    @property
    def version(self) -> str:
        """Its package's version, as the file's name has it."""
        return self.file.split("-")[1]


class Platform(Message):
    """One kind of machine, and the files that a device of this kind installs."""

    name: PlatformName
    files: Annotated[tuple[WheelName, ...], Field(min_length=1, max_length=MOST_WHEELS)]


class WheelList(Message):
    """A release: its wheels, each once, and for each platform which of them make it up.

    `serial` and `says` are those of its offer; `says` is the version of the wheel called `name`,
    which every platform has.
    """

    version: Literal[1]
    name: Short
    serial: Serial
    says: Release
    wheels: Annotated[tuple[Wheel, ...], Field(min_length=1, max_length=MOST_WHEELS)]
    platforms: Annotated[tuple[Platform, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        listed = [wheel.file for wheel in self.wheels]
        if len(set(listed)) != len(listed):
            raise ValueError("a wheel is listed twice")
        if {file for kind in self.platforms for file in kind.files} != set(listed):
            raise ValueError("the wheels are those of the platforms, all of them and no other")
        names = [kind.name for kind in self.platforms]
        if len(set(names)) != len(names):
            raise ValueError("a platform is listed twice")
        for kind in self.platforms:
            self._one_of_each(kind)
        return self

    def _one_of_each(self, kind: Platform) -> None:
        own = [wheel for wheel in self.wheels if wheel.file in set(kind.files)]
        if not len({wheel.distribution for wheel in own}) == len(own) == len(kind.files):
            raise ValueError("a platform has one wheel of each package")
        if not any(w.distribution == self.name and w.version == self.says for w in own):
            raise ValueError("a platform lacks the release's own wheel")

    def for_platform(self, name: str) -> tuple[Wheel, ...]:
        """The wheels that a device of this kind installs.

        Raises:
            UpdateRejected: NOT_ALLOWED, the release is not for such a machine.
        """
        for kind in self.platforms:
            if kind.name == name:
                return tuple(wheel for wheel in self.wheels if wheel.file in kind.files)
        raise UpdateRejected(
            Reason.NOT_ALLOWED,
            f"Release {self.says} is not made for this kind of machine ({name}).",
            f"The running release stays. The study can publish one with --platform {name}.",
        )

    def to_bytes(self) -> bytes:
        """The list as it is signed: its one encoding.

        Raises:
            UpdateRejected: TOO_LARGE, it would be refused by every device.
        """
        raw = encoded(self)
        if len(raw) > MOST_LIST_BYTES:
            raise _too_large()
        return raw


def this_platform() -> str:
    """What kind of machine this process runs on, such as `cp311-linux-x86_64`."""
    major, minor = sys.version_info[:2]
    return f"cp{major}{minor}-{platform.system().lower()}-{platform.machine().lower()}"


def parse_wheel_list(raw: bytes) -> WheelList:
    """The list that these bytes hold; call it once `trust` has checked them.

    Raises:
        UpdateRejected: TOO_LARGE or MALFORMED, they hold none.
    """
    if len(raw) > MOST_LIST_BYTES:
        raise _too_large()
    try:
        return WheelList.model_validate_json(raw)
    except ValidationError as fault:
        raise UpdateRejected(
            Reason.MALFORMED, f"A release's list of wheels is not one ({faults(fault)})."
        ) from None


def _too_large() -> UpdateRejected:
    return UpdateRejected(
        Reason.TOO_LARGE, f"A release's list of wheels is longer than {MOST_LIST_BYTES} bytes."
    )
