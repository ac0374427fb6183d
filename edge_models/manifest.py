"""The manifest of a bundle: what it is, what may be done with it, and what each file must be.

Rules it upholds: nothing of a bundle is parsed before its size and hash are those written here;
an unknown key, a name that could leave the folder, or a bundle larger than allowed is refused.

Place in the life of a bundle: folder → **manifest** → verified files → graphs.
"""

import hashlib
import re
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edge_models.errors import BundleError

MANIFEST_NAME: Final = "manifest.json"
LARGEST_BUNDLE_BYTES: Final = 32 * 1024 * 1024
LARGEST_MANIFEST_BYTES: Final = 64 * 1024

GRAPHS: Final = ("gate", "descriptors", "functionals", "body")
FRONT_END: Final = ("gate.onnx", "descriptors.onnx", "functionals.onnx")
"""What turns sound into functionals."""
BODY: Final = ("body.onnx", "body.tflite")
POPULATION: Final = "population.json"
"""What they are measured by."""
SESSIONS: Final = "sessions.json"
"""How several windows of one person become one answer."""
MOMENTS: Final = "moments.json"
"""Where everybody's embeddings lie; a bundle from before there were own moments has none."""
NEEDED: Final = frozenset(
    {
        "gate.onnx",
        "descriptors.onnx",
        "functionals.onnx",
        "body.onnx",
        "body.tflite",
        "head.json",
        "population.json",
        "policy.json",
        "golden.json",
        "CARD.md",
        "consent.md",
    }
)
EVALUATION: Final = "evaluation.md"
OPTIONAL: Final = frozenset(
    {"agreement.md", "gate.md", EVALUATION, "policy.sig", MOMENTS, SESSIONS}
)
"""Chapters of the card, kept for the next one; a study's signature over the policy; everybody's
moments; and how several windows of one person become one answer."""
LARGEST_BODY_BYTES: Final = 300_000
"""A body that is made has fewer."""

SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")

Runtime = Literal["onnx", "tflite"]
Line = Annotated[str, Field(min_length=1, max_length=1_000)]
Seconds = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)]
ConsentVersion = Annotated[int, Field(ge=1, le=9_999)]
Probability = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Frozen):
    """One file beside the manifest: its bare name, its size and its hash."""

    name: str
    bytes: Annotated[int, Field(ge=1, le=LARGEST_BUNDLE_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("name")
    @classmethod
    def _stays_in_the_folder(cls, name: str) -> str:
        if not SAFE_NAME.match(name) or name == MANIFEST_NAME:
            raise ValueError("a file of a bundle has a plain name and lies beside the manifest")
        return name


class Runtimes(_Frozen):
    """Which runtime runs which graph; only the body exists for both."""

    gate: Literal["onnx"] = "onnx"
    descriptors: Literal["onnx"] = "onnx"
    functionals: Literal["onnx"] = "onnx"
    body: Runtime = "onnx"


class Thresholds(_Frozen):
    """When a window is described at all, and where a score is called low, middle or high.

    `minimum_speech_s` is for windows of the stream, `minimum_speech_short_s` for one window
    made of a whole short recording.
    """

    minimum_speech_s: Seconds
    minimum_speech_short_s: Seconds
    middle_from: Probability
    high_from: Probability

    @model_validator(mode="after")
    def _in_order(self) -> "Thresholds":
        if self.middle_from >= self.high_from:
            raise ValueError("the high band starts above the middle band")
        return self


class Manifest(_Frozen):
    """What `manifest.json` says; the files are every file of the bundle but this one.

    `consent_version` rises whenever the meaning of `consent.md` changes: what a person agreed to.
    """

    format: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    version: Annotated[str, Field(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")]
    purpose: Line
    licence: Line
    notice: Line
    made_with: tuple[Line, ...] = Field(max_length=32)
    consent_version: ConsentVersion
    runtimes: Runtimes
    thresholds: Thresholds
    files: tuple[FileEntry, ...] = Field(max_length=32)

    @model_validator(mode="after")
    def _whole(self) -> "Manifest":
        names = [entry.name for entry in self.files]
        if len(set(names)) != len(names):
            raise ValueError("a file is listed twice")
        if missing := sorted(NEEDED - set(names)):
            raise ValueError(f"the list of files lacks {', '.join(missing)}")
        if sum(entry.bytes for entry in self.files) > LARGEST_BUNDLE_BYTES:
            raise ValueError("the bundle is larger than allowed")
        return self

    def file(self, name: str) -> FileEntry:
        """The entry of one file.

        Raises:
            BundleError: the manifest lists no such file.
        """
        for entry in self.files:
            if entry.name == name:
                return entry
        raise BundleError(f"The bundle has no file '{name}'.", "Install the bundle again.")

    def has(self, name: str) -> bool:
        """Whether it lists a file."""
        return any(entry.name == name for entry in self.files)

    def digest_of(self, *names: str) -> str:
        """Sixteen hexadecimal digits over the hashes of these files, in this order.

        Raises:
            BundleError: the manifest lists no such file.
        """
        hashes = "\n".join(self.file(name).sha256 for name in names)
        return hashlib.sha256(hashes.encode()).hexdigest()[:16]

    @property
    def order(self) -> tuple[int, ...]:
        """The version as numbers, so that 1.10.0 comes after 1.9.0."""
        return tuple(map(int, self.version.split(".")))

    def to_bytes(self) -> bytes:
        """The manifest as it lies in the folder: UTF-8 JSON."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def parse_manifest(raw: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        BundleError: the bytes are not a manifest of this format; the cause names the field.
    """
    if len(raw) > LARGEST_MANIFEST_BYTES:
        raise BundleError("The bundle's manifest is too large to be one.", _REMEDY)
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])[:80] or "its form"
        raise BundleError(
            f"The bundle's manifest is not valid ({place!a}: {first['msg']!a}).", _REMEDY
        ) from fault


_REMEDY: Final = "Install the bundle again, or a version of sottovoce that knows its format."
