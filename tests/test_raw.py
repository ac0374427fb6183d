"""Raw sound and pictures have no way to become bytes."""

import copy
import json
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from edge_models.errors import ContractError
from edge_models.raw import RawAudio, RawImage

SOUND = RawAudio(np.full(160, 0.123, np.float32), 5)
PICTURE = RawImage(np.full((4, 6, 3), 77, np.uint8), 1.5)


@pytest.mark.parametrize("raw", [SOUND, PICTURE])
@pytest.mark.parametrize("attempt", [pickle.dumps, copy.copy, copy.deepcopy, bytes, np.asarray])
def test_every_way_out_is_refused(raw: object, attempt: Callable[[object], object]) -> None:
    with pytest.raises(ContractError):
        attempt(raw)


@pytest.mark.parametrize("raw", [SOUND, PICTURE])
def test_it_cannot_be_json(raw: object) -> None:
    with pytest.raises(TypeError):
        json.dumps(raw)


def test_its_repr_shows_sizes_only() -> None:
    assert repr(SOUND) == "RawAudio(160 samples from 5)"
    assert repr(PICTURE) == "RawImage(6x4 at 1.50 s)"


def test_wiping_overwrites_the_very_memory() -> None:
    samples, pixels = np.ones(10, np.float32), np.ones((2, 2, 3), np.uint8)
    RawAudio(samples, 0).wipe()
    RawImage(pixels, 0.0).wipe()
    assert not samples.any()
    assert not pixels.any()


def test_other_shapes_and_types_are_our_bug() -> None:
    with pytest.raises(ContractError):
        RawAudio(np.zeros((2, 3), np.float32), 0)
    with pytest.raises(ContractError):
        RawAudio(np.zeros(3, np.int16), 0)  # type: ignore[arg-type]
    with pytest.raises(ContractError):
        RawImage(np.zeros((2, 3), np.uint8), 0.0)
