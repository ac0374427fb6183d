"""Fits the small net that proposes where the formants' roots are.

Rules it upholds: the net only says where to start (Newton's method decides), so what it was
fitted on can shift no descriptor by more than the reach of its gate; the same recordings give
the same weights.

Run as `python -m edge_models.training.formant_guess RECORDINGS`: about two minutes. The shipped
weights come from LibriSpeech train-clean-100, one clip each of 126 speakers (CC BY 4.0), so
that the code's licence stays free of the acted corpora's terms.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edge_models.recordings import read_recording
from edge_models.training.formants import (
    GUESS_FILE,
    HIDDEN,
    HIGHEST_HZ,
    LOWEST_HZ,
    ORDER,
    RATE_HZ,
    Prediction,
    proposer,
)

SECONDS_A_FILE: Final = 8
EPOCHS: Final = 100
HELD_OUT: Final = 8_000
MOST_FRAMES: Final = 120_000
Floats = npt.NDArray[np.float64]


def coefficients(sounds: Iterable[npt.NDArray[np.float32]], seed: int) -> Floats:
    """Predictor polynomials of speech, tilted and noised at random: (N, 11)."""
    random = np.random.default_rng(seed)
    prediction = Prediction()
    rows = []
    for sound in sounds:
        heard = _roughened(sound, random)
        energy, taps = prediction(torch.from_numpy(heard))
        loud = (energy[0] > 1e-12).numpy()
        rows.append(taps.numpy().T[loud].astype(np.float64))
    every = np.concatenate(rows)
    chosen: Floats = every[random.permutation(len(every))[:MOST_FRAMES]]
    return chosen


def _roughened(
    sound: npt.NDArray[np.float32], random: np.random.Generator
) -> npt.NDArray[np.float32]:
    if random.random() < 0.5:
        sound = sound + np.float32(random.uniform(-0.95, 0.6)) * np.concatenate(
            [np.zeros(1, np.float32), sound[:-1]]
        )
    if random.random() < 0.5:
        level = np.abs(sound).std() * 10 ** random.uniform(-3.0, -0.3)
        sound = sound + random.standard_normal(len(sound)) * level
    return sound.astype(np.float32)


def lowest_roots(polynomials: Floats) -> tuple[Floats, Floats]:
    """The three lowest formants' roots by eigenvalues: real (N, 3), imaginary (N, 3)."""
    companion = np.zeros((len(polynomials), ORDER, ORDER))
    companion[:, 1:, :-1] = np.eye(ORDER - 1)
    companion[:, 0] = -polynomials
    roots = np.linalg.eigvals(companion)
    hertz = np.abs(np.angle(roots)) * RATE_HZ / (2 * math.pi)
    formant = (roots.imag > 1e-3) & (hertz >= LOWEST_HZ) & (hertz <= HIGHEST_HZ)
    order = np.argsort(np.where(formant, hertz, np.inf), axis=1)[:, :3]
    chosen = np.take_along_axis(roots, order, axis=1)
    chosen = np.where(np.take_along_axis(formant, order, axis=1), chosen, 0.0)
    return chosen.real.astype(np.float64), chosen.imag.astype(np.float64)


def fit(polynomials: Floats, seed: int) -> nn.Sequential:
    """A net from 11 coefficients to three roots, by the mean absolute difference."""
    torch.manual_seed(seed)
    real, imaginary = lowest_roots(polynomials)
    inputs = torch.from_numpy(polynomials).float()
    wanted = torch.from_numpy(np.concatenate([real, imaginary], axis=1)).float()
    net = proposer()
    with torch.no_grad():
        scale, shift = inputs.std(0), inputs.mean(0)
    scaled = (inputs - shift) / scale
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    steps = EPOCHS * -(-len(scaled) // 512)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(scaled)).split(512):
            loss = (net(scaled[batch]) - wanted[batch]).abs().clamp(max=1.0).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():  # the scaling becomes part of the first layer
        net[0].weight /= scale
        net[0].bias -= net[0].weight @ shift
    return net


def sounds_in(folder: Path) -> Iterator[npt.NDArray[np.float32]]:
    """The first seconds of every recording under `folder`, in the order of their names."""
    for path in sorted(folder.rglob("*.flac")):
        blocks = [next(iter(read_recording(path, block_s=SECONDS_A_FILE))).samples]
        yield blocks[0].copy()


def main(folder: Path) -> None:
    """Fit on the recordings of `folder` and write the weights beside this module."""
    polynomials = coefficients(sounds_in(folder), seed=7)
    net = fit(polynomials[HELD_OUT:], seed=7)
    weights = {name: value.detach().half().numpy() for name, value in net.state_dict().items()}
    np.savez_compressed(GUESS_FILE, **weights)
    real, imaginary = lowest_roots(polynomials[:HELD_OUT])
    with torch.no_grad():
        guess = net(torch.from_numpy(polynomials[:HELD_OUT]).float()).numpy()
    turn = RATE_HZ / (2 * math.pi)
    told = np.sort(np.arctan2(np.abs(guess[:, 3:]), guess[:, :3]) * turn, axis=1)
    true = np.arctan2(imaginary, real) * turn
    print(f"{HIDDEN} hidden, mean distance {np.abs(told - true).mean(axis=0).round(1)} Hz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
