"""A release of the agent to publish: a folder of wheels, sorted into what each machine installs.

Rules it upholds: a release is complete for every platform that it names, or it is not made: the
same packages for all, one version of each, the agent itself among them; a wheel is a target of its
own, so one that another release has already is neither stored nor shipped again.

In the life of a release: wheelhouse → **list and wheels** → signed.

Source: the wheel standard's file names and platform tags (packaging.python.org).
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from sync.envelope import faults
from sync.errors import PublishingError
from sync.publishing.bundles import Addition, Content, checked_offer, newest_first
from sync.publishing.files import read
from sync.publishing.repository import Repository
from sync.publishing.roles import Listed
from sync.updates.offers import MOST_WHEEL_BYTES, Kind, release_path, wheel_path
from sync.updates.rejected import UpdateRejected
from sync.updates.wheels import MOST_LIST_BYTES, Platform, Wheel, WheelList, parse_wheel_list

NAME: Final = "sottovoce"
KEPT_SERIALS: Final = 3

_WHEEL: Final = re.compile(
    r"(?P<distribution>[^-]+)-(?P<version>[^-]+)(-[0-9][^-]*)?"
    r"-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl"
)
# Not musllinux: those wheels are for another C library than Raspberry Pi OS and Debian have.
_LINUX: Final = re.compile(r"(?:many)?linux(?:_?[0-9]+)*_(?P<machine>[a-z].*)")


def release_addition(
    repository: Repository, listed: Sequence[Listed], wheelhouse: Path, platforms: Sequence[str]
) -> Addition:
    """What to add to the `listed` targets so that devices can have the wheels of a folder.

    `platforms` such as `cp311-linux-aarch64`: those that the release is for.

    Raises:
        PublishingError: a file is no wheel, or a platform lacks one; it is published already.
    """
    contents = {wheel.file: content for wheel, content in _wheels(wheelhouse)}
    wheels = {file: _wheel(file, content) for file, content in contents.items()}
    older = newest_first(listed, Kind.RELEASE, NAME)
    serial = older[0].offer.serial + 1 if older and older[0].offer else 1
    chosen = [Platform(name=name, files=_for(name, wheels.values())) for name in platforms]
    _same_packages(chosen, wheels)
    used = sorted({file for kind in chosen for file in kind.files})
    own = next((wheels[file] for file in used if wheels[file].distribution == NAME), None)
    if own is None:
        raise PublishingError(
            f"'{wheelhouse}' has no wheel of {NAME} itself.", "Build it: python -m build --wheel"
        )
    made = _list(serial, own.version, [wheels[file] for file in used], chosen)
    if any(each.offer and each.offer.says == own.version for each in older):
        raise PublishingError(
            f"Release {own.version} is published already.", "A new release has a new version."
        )
    offer = checked_offer(Kind.RELEASE, NAME, serial, own.version)
    new = (
        Content.of(release_path(serial), made.to_bytes(), offer),
        *(Content.of(wheel_path(file), contents[file]) for file in used),
    )
    kept = older[:KEPT_SERIALS]
    needed = {wheel_path(wheel.file) for old in kept for wheel in _read(repository, old).wheels}
    rest = {each.path: each for each in listed if each in kept or each.path in needed}
    _unchanged(rest, new)
    return Addition(offer, new, tuple((rest | {each.listed.path: each.listed for each in new})
                                      .values()))  # fmt: skip


def platforms_of(wheelhouse: Path, python: str = "cp311") -> list[str]:
    """The platforms whose wheels lie in a folder, by the machines that their names say.

    Raises:
        PublishingError: it can't be read, or no wheel is for a certain machine.
    """
    _is_folder(wheelhouse)
    machines = set()
    for path in sorted(wheelhouse.glob("*.whl")):
        found = _WHEEL.fullmatch(path.name)
        for tag in (found["platform"] if found else "").split("."):
            if linux := _LINUX.fullmatch(tag):
                machines.add(linux["machine"])
    if not machines:
        raise PublishingError(
            f"No wheel in '{wheelhouse}' says for which machines the release is.",
            "Name them: --platform cp311-linux-aarch64",
        )
    return [f"{python}-linux-{machine}" for machine in sorted(machines)]


def _is_folder(wheelhouse: Path) -> None:
    if not wheelhouse.is_dir():
        raise PublishingError(
            f"'{wheelhouse}' is not a folder of wheels.",
            "Make one: pip wheel --wheel-dir WHEELHOUSE .",
        )


def _wheels(wheelhouse: Path) -> Iterable[tuple[Wheel, bytes]]:
    _is_folder(wheelhouse)
    for path in sorted(wheelhouse.iterdir()):
        if path.is_symlink() or not _WHEEL.fullmatch(path.name):
            raise PublishingError(f"'{path}' is not a wheel.", "A wheelhouse holds wheels only.")
        content = read(path, MOST_WHEEL_BYTES)
        yield _wheel(path.name, content), content


def _wheel(file: str, content: bytes) -> Wheel:
    try:
        digest = hashlib.sha256(content).hexdigest()
        return Wheel(file=file, sha256=digest, bytes=len(content))
    except ValidationError as fault:
        raise PublishingError(
            f"The wheel '{file}' can't be offered ({faults(fault)}).", "Rename or rebuild it."
        ) from None


def _for(platform: str, wheels: Iterable[Wheel]) -> tuple[str, ...]:
    """The wheels that run on a platform, one of each package: the most specific where it has two.

    Raises:
        PublishingError: two versions of one package run there.
    """
    chosen: dict[str, tuple[int, Wheel]] = {}
    for wheel in wheels:
        fit = _fit(wheel.file, platform)
        if not fit:
            continue
        rival = chosen.get(wheel.distribution)
        if rival is not None and (rival[1].version != wheel.version or rival[0] == fit):
            raise PublishingError(
                f"'{rival[1].file}' and '{wheel.file}' are both for {platform}.",
                "Keep one of them in the wheelhouse.",
            )
        if rival is None or fit > rival[0]:
            chosen[wheel.distribution] = (fit, wheel)
    if not chosen:
        raise PublishingError(f"The wheelhouse has nothing for {platform}.", "Check --platform.")
    return tuple(sorted(wheel.file for _, wheel in chosen.values()))


def _fit(file: str, platform: str) -> int:
    """How specifically a wheel is for a platform; 0 if it is not."""
    found = _WHEEL.fullmatch(file)
    python, _, machine = platform.split("-")
    if found is None:
        return 0
    minor = int(python.removeprefix("cp3"))
    tags = found["python"].split(".")
    exact = python in tags and found["abi"] in (python, "none", "abi3")
    stable = "abi3" in found["abi"] and any(
        tag.startswith("cp3") and tag[3:].isdigit() and int(tag[3:]) <= minor for tag in tags
    )
    pure = found["abi"] == "none" and any(tag in ("py3", f"py3{minor}") for tag in tags)
    if not (exact or stable or pure):
        return 0
    places = found["platform"].split(".")
    here = any((linux := _LINUX.fullmatch(tag)) and linux["machine"] == machine for tag in places)
    return (4 if here else 2 if "any" in places else 0) and (4 if here else 2) + int(exact)


def _same_packages(chosen: Sequence[Platform], wheels: dict[str, Wheel]) -> None:
    packages = {kind.name: {wheels[file].distribution for file in kind.files} for kind in chosen}
    every = set().union(*packages.values())
    for platform, own in packages.items():
        if missing := sorted(every - own):
            raise PublishingError(
                f"The wheelhouse has no wheel of {missing[0]} for {platform}, and for others it "
                "has.",
                "Add it, or name with --platform whom the release is for.",
            )


def _list(
    serial: int, says: str, wheels: Sequence[Wheel], platforms: Sequence[Platform]
) -> WheelList:
    try:
        return WheelList(
            version=1,
            name=NAME,
            serial=serial,
            says=says,
            wheels=tuple(wheels),
            platforms=tuple(platforms),
        )
    except (ValidationError, UpdateRejected) as fault:
        why = faults(fault) if isinstance(fault, ValidationError) else fault.cause
        raise PublishingError(f"These wheels make no release ({why}).", "Correct the folder.") \
            from None  # fmt: skip


def _read(repository: Repository, listed: Listed) -> WheelList:
    if listed.length > MOST_LIST_BYTES:
        raise PublishingError(f"'{listed.path}' is too long.", "Restore the repository's copy.")
    return parse_wheel_list(repository.content(listed))


def _unchanged(rest: dict[str, Listed], new: Iterable[Content]) -> None:
    for each in new:
        other = rest.get(each.listed.path)
        if other is not None and other.sha256 != each.listed.sha256:
            raise PublishingError(
                f"'{each.listed.path}' is published already with other content.",
                "A wheel that changed has a new version, or a build number.",
            )
