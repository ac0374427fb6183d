"""The agreement table of the model card: each descriptor and functional beside openSMILE.

Run as `python -m tests.bench._agreement FILE.md`.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import opensmile
import parselmouth

from edge_models.acoustic import DESCRIPTOR_NAMES, SUMMARY_NAMES, AcousticFrontEnd
from edge_models.raw import RawAudio
from edge_models.recordings import read_recording
from edge_models.runner import OnnxGraph
from edge_models.windows import windows_of

BUNDLE = Path(__file__).resolve().parents[2] / "edge_models" / "bundles" / "affect-1"
CORPORA = {"libri_multi": 4, "libri_single": 7, "ravdess": 36, "emodb": 18}
F0 = DESCRIPTOR_NAMES.index("F0semitoneFrom27.5Hz_sma3nz")
LEAST = (
    dict.fromkeys((*DESCRIPTOR_NAMES[:10], DESCRIPTOR_NAMES[F0]), 0.95)
    | dict.fromkeys((f"F{n}frequency_sma3nz" for n in (1, 2, 3)), 0.8)
    | {"HNRdBACF_sma3nz": 0.8}
)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One descriptor: r per file (median, worst), mean absolute difference, the least wanted r."""

    name: str
    median: float
    worst: float
    difference: float
    spread: float
    least: float | None


def recordings_folder() -> Path:
    """Where the shared recordings are."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("SOTTOVOCE_DATA") or default)


def table(folder: Path) -> list[Row]:
    """Each descriptor beside openSMILE's, over a sample of every corpus of speech."""
    smile = opensmile.Smile(
        opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors
    )
    found, apart, spread = [], [], []
    for sound in _clips(folder):
        theirs = smile.process_signal(sound, 16_000).to_numpy()
        ours = _described(sound)
        end = min(len(ours), len(theirs)) - 2
        ours, theirs = ours[1:end], theirs[1:end]
        voiced = (ours[:, F0] > 0) & (theirs[:, F0] > 0)
        rows = [slice(None) if i < F0 else voiced for i in range(len(DESCRIPTOR_NAMES))]
        pairs = [(ours[row, i], theirs[row, i]) for i, row in enumerate(rows)]
        found.append([_correlation(*pair) for pair in pairs])
        apart.append([np.abs(one - other).mean() for one, other in pairs])
        spread.append([other.std() for _, other in pairs])
    return [
        Row(
            name,
            float(np.nanmedian(np.array(found)[:, i])),
            float(np.nanmin(np.array(found)[:, i])),
            float(np.nanmean(np.array(apart)[:, i])),
            float(np.nanmean(np.array(spread)[:, i])),
            LEAST.get(name),
        )
        for i, name in enumerate(DESCRIPTOR_NAMES)
    ]


def functionals(folder: Path) -> list[tuple[str, float]]:
    """Pearson r over files of each functional, every row taken as speech."""
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    front_end = _front_end()
    ours, theirs = [], []
    for sound in _clips(folder):
        rows = _described(sound)
        ours.append(front_end.summary(rows, np.ones(len(rows), bool)))
        theirs.append(smile.process_signal(sound, 16_000).to_numpy()[0])
    pairs = zip(SUMMARY_NAMES, np.array(ours).T, np.array(theirs).T, strict=True)
    return [(name, _correlation(one, other)) for name, one, other in pairs]


def voicing_and_praat(folder: Path) -> tuple[float, float, float, float]:
    """Voicing agreement with openSMILE; r, median distance and gross errors of F0 with Praat."""
    smile = opensmile.Smile(
        opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors
    )
    agreed, found, apart, gross = [], [], [], []
    for sound in _clips(folder):
        ours = _described(sound)[:, F0]
        theirs = smile.process_signal(sound, 16_000).to_numpy()[:, F0]
        size = min(len(ours), len(theirs))
        agreed.append(np.mean((ours[:size] > 0) == (theirs[:size] > 0)))
        pitch = parselmouth.Sound(sound.astype(float), 16_000).to_pitch_ac(0.01, 60.0)
        times = 0.01 * np.arange(len(ours)) + 0.03
        hertz = np.nan_to_num(np.array([pitch.get_value_at_time(at) for at in times]))
        both = (ours > 0) & (hertz > 0)
        tones = 12 * np.log2(hertz[both] / 27.5)
        found.append(_correlation(ours[both], tones))
        apart.append(np.median(np.abs(ours[both] - tones)))
        gross.append(np.mean(np.abs(ours[both] - tones) > 2.0))
    return (
        float(np.median(agreed)),
        float(np.nanmedian(found)),
        float(np.median(apart)),
        float(np.median(gross)),
    )


def _clips(folder: Path) -> Iterator[npt.NDArray[np.float32]]:
    for corpus, every in CORPORA.items():
        for path in sorted((folder / "speech" / corpus).rglob("*.flac"))[::every]:
            yield np.concatenate([block.samples for block in read_recording(path)])


_LOADED: list[AcousticFrontEnd] = []


def _front_end() -> AcousticFrontEnd:
    if not _LOADED:
        names = ("descriptors", "functionals")
        graphs = [OnnxGraph((BUNDLE / f"{name}.onnx").read_bytes()) for name in names]
        _LOADED.append(AcousticFrontEnd(*graphs))
    return _LOADED[0]


def _described(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Ten-second windows as on the device, side by side."""
    windows = windows_of(iter([RawAudio(sound.copy(), 0)]))
    return np.concatenate([_front_end().descriptors(window) for window in windows])


def _correlation(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    pair = np.array([one, other], dtype=float)
    return float(np.corrcoef(pair)[0, 1]) if pair.std(axis=1).min() > 0 else float("nan")


def markdown(folder: Path) -> str:
    """The table as it stands in the card."""
    files = sum(1 for _ in _clips(folder))
    voicing, praat, apart, gross = voicing_and_praat(folder)
    lines = [
        "# Agreement of the acoustic front end with openSMILE and Praat",
        "",
        f"{files} clips of real speech: LibriSpeech (two sets), RAVDESS and EmoDB, read and acted,",
        "English and German, 164 people in the sets; every n-th file by name. Described in 10 s",
        "windows as on the device, beside openSMILE 3 (eGeMAPSv02) on the whole file. Pearson r",
        "is taken per file; the table gives the median and the worst file. Loudness, spectral",
        "balance, flux and MFCC: all frames; the voice descriptors: frames both call voiced.",
        "Measured by `python -m tests.bench._agreement`.",
        "",
        f"Voicing decision: {100 * voicing:.1f} % of frames the same (median file). F0 beside",
        f"Praat (autocorrelation, 60 Hz floor, frames both call voiced): r {praat:.3f}, median",
        f"distance {apart:.2f} semitones, {100 * gross:.1f} % of frames over two semitones apart.",
        "",
        "| descriptor | r median | r worst | mean difference | spread | wanted |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.median:.3f} | {row.worst:.3f} | {row.difference:.3g} | "
        f"{row.spread:.3g} | {row.least or 'reported'} |"
        for row in table(folder)
    ]
    lines += [
        "",
        "Jitter and shimmer are frame-level approximations: openSMILE follows single periods",
        "through the whole recording. Voice descriptors are computed every 20 ms and interpolated;",
        "at the edges of voiced stretches a row may then be called the other way, which weighs on",
        "the amplitudes at formants (openSMILE sets them to -201 dB in unvoiced frames and smooths",
        "over the edge). Formants follow openSMILE's own reading of the band and of the",
        "polynomial, and its H1 and H2 are the second and third harmonic. The sound level is",
        "inferred from loudness and MFCC, since the descriptors carry no energy.",
        "The net that proposes where the formants' roots are was fitted on LibriSpeech",
        "train-clean-100 (libri_single); the constant of the sound level and settings such as "
        "the rule of\ninterpolation were chosen while looking at these corpora. So this table is "
        "not a blind test.",
        "",
        "Functionals over the same clips (every row taken as speech), r over files:",
        "",
        "| functional | r |",
        "|---|---|",
    ]
    lines += [f"| {name} | {r:.3f} |" for name, r in functionals(folder)]
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str]) -> None:
    """Write the table to the file named, or print it."""
    text = markdown(recordings_folder())
    if arguments:
        Path(arguments[0]).write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
