"""What one run did, in numbers, for whoever asked with `--account FILE` (the demo, tests).

It holds the person's own true counts, so it is written only on request and only locally.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from agent.errors import SettingError


class Account(BaseModel):
    """Totals of a run; `choices` is the true bin of each histogram of the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    windows: int
    scored: int
    abstained: dict[str, int]
    gaps: dict[str, int]
    speech_s: float
    face_s: float
    streamed_s: float
    epsilon_spent: float
    reports_sent: int
    reports_waiting: int
    bytes_out: int
    choices: dict[str, int]

    def write(self, path: Path) -> None:
        """Write as JSON.

        Raises:
            SettingError: the file can't be written.
        """
        try:
            path.write_text(self.model_dump_json(indent=1), encoding="utf-8")
        except OSError as fault:
            raise SettingError(
                f"'{path}' can't be written: {fault.strerror}.", "Name another file for --account."
            ) from fault

    @staticmethod
    def read(path: Path) -> "Account":
        """Read back what `write` wrote."""
        return Account.model_validate_json(path.read_text(encoding="utf-8"))
