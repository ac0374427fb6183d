"""What a new release says of itself, before it is switched to: everything loads, and what it reads.

    python -I -m agent.updates.self_test

It loads every module that a device may come to need, so that a wheel which does not fit this
machine shows now and not in the middle of a window; it runs the golden vectors of its own bundle in
both runtimes; and it says which forms of the store it reads and which it writes. The last line of
what it prints is a `SelfTest`. It opens no store, no sensor and no connection.

In the life of a release: idle slot → **self-test** → `release_trial` → `current`.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated, Final

from pydantic import Field, StrictBool, StrictInt

from agent import rows
from edge_models.bundle import shipped_bundle
from sync.envelope import Message, encoded

ROOMS: Final = ("agent", "edge_models", "sync")
OFF_THE_DEVICE: Final = (
    "agent.demo",
    "edge_models.training",
    "edge_models.threats",
    "sync.broker",
    "sync.coordinator",
    "sync.publishing",
)
_LOADED_LATE: Final = ("cv2", "mediapipe.python.solutions.face_detection")
"""What our modules load only once there is a camera."""

Form = Annotated[StrictInt, Field(ge=1, le=2**31)]


class SelfTest(Message):
    """What the newly installed release found; more fields may follow in later ones."""

    says: Annotated[str, Field(max_length=64)]
    modules: StrictInt
    golden: StrictBool
    store_reads: Annotated[tuple[Form, ...], Field(max_length=64, strict=False)]
    store_writes: Form

    model_config = Message.model_config | {"extra": "ignore"}  # a newer release may say more


def main() -> None:
    """Load, compute, and say so; whatever is wrong is raised, and ends this process."""
    loaded = [importlib.import_module(name) for name in (*device_modules(), *_LOADED_LATE)]
    shipped_bundle().check()
    found = SelfTest(
        says=version("sottovoce"),
        modules=len(loaded),
        golden=True,
        store_reads=rows.KNOWN,
        store_writes=rows.SCHEMA,
    )
    print(encoded(found).decode("ascii"), flush=True)


def device_modules() -> Iterator[str]:
    """The names of all modules of ours that a device has a use for."""
    for room in ROOMS:
        path = importlib.import_module(room).__path__
        for found in pkgutil.walk_packages(path, f"{room}."):
            name = found.name
            if not any(name == off or name.startswith(f"{off}.") for off in OFF_THE_DEVICE):
                yield name


if __name__ == "__main__":
    main()
