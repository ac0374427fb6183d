"""The errors of this room, split by who must act.

    Explained                       one sentence of cause, one of remedy
    └── ModelError
        ├── ContractError           our bug: a caller broke a shape or an order
        ├── RecordingError          the user's input: a file that can't be heard or seen
        │   └── NoFaces             and none of its faces can be judged by
        ├── ScoresError             the user's input: a table of scores that can't be read
        ├── TooFewPeople            the user's input: so few people promise nothing
        ├── BundleError             the other side: a bundle that is damaged or not ours
        └── RuntimeMissing          the world: a runtime or package that this machine lacks

Messages never carry sensed data: no samples, pixels, features or scores.
"""


class Explained(Exception):
    """A failure told to a person: what happened, and what to do about it.

    The command line prints exactly these two sentences and exits with `exit_code`.
    """

    exit_code = 1

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause} {self.remedy}".strip()


class ModelError(Explained):
    """Root of this package's errors."""


class ContractError(ModelError):
    """Our bug: a shape, a range or an order that the caller had promised."""


class RecordingError(ModelError):
    """A recording that can't be decoded or used."""


class NoFaces(RecordingError):
    """Recordings that list no faces, or too few people's: whatever needs no faces can go on."""


class ScoresError(ModelError):
    """A table of scores and truths that can't be read or used."""


class TooFewPeople(ModelError):
    """Fewer people than a stated error rate or a split over people needs."""


class BundleError(ModelError):
    """A bundle whose files, hashes or manifest do not hold together."""


class RuntimeMissing(ModelError):
    """A runtime or package that this machine does not have."""
