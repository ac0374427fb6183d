"""Raw sound and pictures: the only types that hold them, and they can't become bytes.

A raw value lives for seconds inside the capture process: it can be read as an array by the
code that turns it into features, and then it is wiped. It refuses pickling, copying, and
`bytes()`, and its `repr` shows sizes only, so no log line, exception or message can carry it.
"""

from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError

SAMPLE_RATE_HZ: Final = 16_000


class _Raw:
    """What raw sound and raw pictures have in common: they are read, then wiped."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ContractError(f"{type(self).__name__} never leaves the process: it can't be pickled.")

    def __copy__(self) -> NoReturn:
        raise ContractError(f"{type(self).__name__} can't be copied.")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise ContractError(f"{type(self).__name__} can't be copied.")

    def __bytes__(self) -> NoReturn:
        raise ContractError(f"{type(self).__name__} has no way to become bytes.")

    def __array__(self, *args: object, **kwargs: object) -> NoReturn:
        raise ContractError(f"{type(self).__name__} is read by its named attribute only.")


class RawAudio(_Raw):
    """A stretch of mono sound at 16 kHz.

    `samples` is float32 of shape (n,), in -1..1; `first_sample` is the stretch's place in
    the stream, counted from the stream's start.
    """

    __slots__ = ("_samples", "first_sample")

    def __init__(self, samples: npt.NDArray[np.float32], first_sample: int) -> None:
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise ContractError("Raw audio is one row of float32 samples.")
        self._samples = samples
        self.first_sample = first_sample

    @property
    def samples(self) -> npt.NDArray[np.float32]:
        """The samples themselves, float32 (n,); a view, never kept by the caller."""
        return self._samples

    def __len__(self) -> int:
        return len(self._samples)

    def __repr__(self) -> str:
        return f"RawAudio({len(self._samples)} samples from {self.first_sample})"

    def wipe(self) -> None:
        """Overwrite the samples with zeros."""
        self._samples.fill(0)


class RawImage(_Raw):
    """One camera frame: `pixels` is uint8 RGB (height, width, 3), taken at `time_s`.

    `time_s` counts seconds from the start of the stream, on the same clock as the sound.
    """

    __slots__ = ("_pixels", "time_s")

    def __init__(self, pixels: npt.NDArray[np.uint8], time_s: float) -> None:
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ContractError("A raw image is uint8 RGB of shape (height, width, 3).")
        self._pixels = pixels
        self.time_s = time_s

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """The pixels themselves, uint8 (height, width, 3); a view, never kept by the caller."""
        return self._pixels

    def __repr__(self) -> str:
        height, width, _ = self._pixels.shape
        return f"RawImage({width}x{height} at {self.time_s:.2f} s)"

    def wipe(self) -> None:
        """Overwrite the pixels with zeros."""
        self._pixels.fill(0)
