"""The gate's sounds, mixtures and figures; and the shipped gate on people it never heard."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import edge_models
from edge_models.errors import RecordingError
from edge_models.raw import RawAudio
from edge_models.runner import OnnxGraph
from edge_models.speech_gate import SpeechGate
from edge_models.training.gate import train_gate
from edge_models.training.gate_figures import (
    Condition,
    Counted,
    bare,
    conditions_of,
    counted,
    outcomes_of,
    pooled,
    through,
)
from edge_models.training.gate_mixtures import (
    Mixture,
    babble,
    captured,
    level_of,
    mixed,
    near_speech,
)
from edge_models.training.gate_sounds import (
    NoiseKind,
    Sounds,
    Split,
    Utterance,
    clean_truth,
    dealt,
    kind_of,
    sounds_of,
)
from edge_models.windows import HOP_SAMPLES, windows_of
from tests.bench.speech_gate import Silero

Sound = npt.NDArray[np.float32]

GATE = Path(edge_models.__file__).parent / "bundles" / "affect-1" / "gate.onnx"
RATE_HZ = 16_000


def tone_bursts() -> Sound:
    """Three seconds: silence, a tone from 1.0 s to 1.5 s, 50 ms of silence, a tone to 2.0 s."""
    time = np.arange(3 * RATE_HZ) / RATE_HZ
    on = ((time >= 1) & (time < 1.5)) | ((time >= 1.55) & (time < 2))
    return np.asarray(0.1 * np.sin(2 * np.pi * 200 * time) * on, np.float32)


# --- truth and mixtures ------------------------------------------------------------------------


def test_the_truth_of_a_clean_clip_is_where_it_sounds_with_short_gaps_closed() -> None:
    found = np.flatnonzero(clean_truth(tone_bursts()))
    assert abs(found[0] - 100) <= 1 and abs(found[-1] - 199) <= 1
    assert len(found) == found[-1] - found[0] + 1


def test_the_truth_does_not_depend_on_the_recordings_level_or_offset() -> None:
    sound = tone_bursts()
    assert np.array_equal(clean_truth(sound), clean_truth(sound * np.float32(0.01)))
    assert np.array_equal(clean_truth(sound), clean_truth(sound + np.float32(0.2)))


@pytest.mark.parametrize("snr_db", [20, 0, -5])
def test_a_mixture_has_the_ratio_it_was_asked_for(snr_db: int) -> None:
    clean = Mixture(tone_bursts(), clean_truth(tone_bursts()))
    hiss = np.random.default_rng(1).standard_normal(len(clean.sound)).astype(np.float32)
    added = mixed(clean, hiss, snr_db).sound - clean.sound
    ratio = level_of(clean.sound, clean.truth) / np.sqrt(np.mean(added.astype(np.float64) ** 2))
    assert 20 * np.log10(ratio) == pytest.approx(snr_db, abs=0.1)


def test_no_person_and_no_recording_is_dealt_twice_and_each_split_gets_some() -> None:
    members = {("corpus", f"person {number}") for number in range(10)}
    splits = dealt(members)
    assert set(splits) == members
    assert {split: list(splits.values()).count(split) for split in Split} == {
        Split.TRAIN: 6,
        Split.VALIDATION: 2,
        Split.TEST: 2,
    }


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("noise/music_x.flac", NoiseKind.MUSIC),
        ("noise/blanket_coffee-shop.flac", NoiseKind.BABBLE),
        ("noise/blanket_rain.flac", NoiseKind.AMBIENCE),
        ("noise/sc_pink_noise.flac", NoiseKind.AMBIENCE),
        ("noise/esc10/rain_1-2-A.flac", NoiseKind.AMBIENCE),
        ("noise/esc10/dog_bark_1-2-A.flac", NoiseKind.CLATTER),
        ("noise/sc_doing_the_dishes.flac", NoiseKind.CLATTER),
    ],
)
def test_a_noise_recording_has_the_kind_its_name_says(path: str, kind: NoiseKind) -> None:
    assert kind_of(path) is kind


def test_decisions_are_counted_row_by_row() -> None:
    heard = np.array([1, 1, 0, 0, 1], np.bool_)
    truth = np.array([1, 0, 1, 0, 1], np.bool_)
    counts = counted(heard, truth)
    assert counts == Counted(hits=2, misses=1, alarms=1, rejections=1)
    assert counts.precision == pytest.approx(2 / 3) and counts.recall == pytest.approx(2 / 3)
    assert counts.f1 == pytest.approx(2 / 3) and counts.alarm_rate == pytest.approx(1 / 2)


def test_a_perfect_and_a_deaf_detector_are_told_apart() -> None:
    clean = Mixture(tone_bursts(), clean_truth(tone_bursts()))
    condition = Condition(NoiseKind.MUSIC, 20, (clean,))
    detectors = {"perfect": clean_truth, "deaf": lambda sound: np.zeros(300, np.bool_)}
    outcomes = outcomes_of(detectors, [condition])
    assert pooled(outcomes, "perfect").f1 == 1
    assert pooled(outcomes, "deaf").f1 == 0


# --- the shipped graph, on recordings of people it never heard -----------------------------------


def window_of(sound: Sound) -> Any:
    """One window of the whole sound, silence on both sides."""
    (window,) = windows_of([RawAudio(sound.copy(), 0)], -(-len(sound) // HOP_SAMPLES) * HOP_SAMPLES)
    return window


@pytest.fixture(scope="module")
def gate() -> SpeechGate:
    return SpeechGate(OnnxGraph(GATE.read_bytes()))


@pytest.fixture(scope="module")
def held_out(recordings: Path) -> Sounds:
    """The test split: people and noise recordings that no training saw."""
    return sounds_of(recordings, (Split.TEST,))[Split.TEST]


def test_the_same_seed_mixes_the_same_speech_babble_and_capture(held_out: Sounds) -> None:
    def made() -> list[Sound]:
        rng = np.random.default_rng(4)
        speech = near_speech(held_out, 300, rng)
        return [speech.sound, babble(held_out, 300, rng), captured(speech.sound, rng)]

    for one, other in zip(made(), made(), strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == np.float32 and np.isfinite(one).all()


def test_silero_on_the_clean_speech_agrees_with_the_energy_truth(held_out: Sounds) -> None:
    silero, counts = Silero(), Counted()
    for clip in held_out.utterances[::25]:
        sound = np.pad(clip.sound.astype(np.float32) / 32768, (RATE_HZ // 2, RATE_HZ // 2))
        truth = np.pad(clip.truth, (50, 50))
        counts += counted(silero.probability(sound)[: len(truth)] >= 0.5, truth)
    assert counts.f1 > 0.9


@pytest.fixture(scope="module")
def outcomes(held_out: Sounds) -> Any:
    """The gate, bare webrtcvad in each mode and silero-vad on the same small set of mixtures."""
    silero = Silero()
    detectors = {
        "gate": through(SpeechGate(OnnxGraph(GATE.read_bytes()))),
        "silero": lambda sound: silero.probability(sound) >= 0.5,
    }
    for mode in range(4):
        detectors[f"webrtcvad {mode}"] = bare(mode)
    return outcomes_of(detectors, conditions_of(held_out, 2, seed=5))


@pytest.mark.parametrize("snr_db", [20, 10, 5, 0])
def test_it_beats_bare_webrtcvad_and_keeps_up_with_silero(outcomes: Any, snr_db: int) -> None:
    ours = pooled(outcomes, "gate", (snr_db,)).f1
    assert ours > max(pooled(outcomes, f"webrtcvad {mode}", (snr_db,)).f1 for mode in range(4))
    assert ours > pooled(outcomes, "silero", (snr_db,)).f1 - 0.03


@pytest.mark.parametrize("kind", ["music", "clatter", "ambience"])
def test_noise_without_a_speaker_is_seldom_called_speech(outcomes: Any, kind: str) -> None:
    alone = pooled(outcomes, "gate", (None,), (NoiseKind(kind),))
    bare = pooled(outcomes, "webrtcvad 3", (None,), (NoiseKind(kind),))
    assert alone.alarm_rate < 0.15
    assert alone.alarm_rate < bare.alarm_rate


def clips_of(held_out: Sounds, corpus: str, at_most: int = 40) -> list[Utterance]:
    each = [clip for clip in held_out.utterances if clip.corpus == corpus]
    return each[:: -(-len(each) // at_most)]


def kept_of(clip: Utterance, detect: Any, harmed: Any = lambda sound: sound) -> float:
    """The share of a clip's speech rows that a detector keeps, the clip being one window."""
    sound = clip.sound.astype(np.float32) / 32768
    heard = detect(np.asarray(harmed(sound / np.abs(sound).max()), np.float32))
    return float(heard[: len(clip.truth)][clip.truth].mean())


@pytest.mark.parametrize("corpus", ["ravdess", "emodb"])
def test_a_short_clean_acted_clip_is_mostly_kept(
    gate: SpeechGate, held_out: Sounds, corpus: str
) -> None:
    clips = clips_of(held_out, corpus)
    kept = np.array([kept_of(clip, lambda sound: gate.speech(window_of(sound))) for clip in clips])
    assert np.median(kept) > 0.85
    assert np.mean(kept > 0.6) > 0.9


@pytest.mark.parametrize(
    ("fault", "harmed"),
    [
        ("-20 dBFS", lambda sound: sound * 10 ** (-20 / 20)),
        ("-35 dBFS", lambda sound: sound * 10 ** (-35 / 20)),
        ("clipped", lambda sound: np.clip(sound * 6, -1, 1)),
        ("offset", lambda sound: sound * 0.5 + 0.4),
        ("eight bits", lambda sound: np.rint(sound * 0.5 * 127) / 127),
    ],
)
def test_a_quiet_or_badly_captured_voice_is_found_as_well_as_silero_finds_it(
    gate: SpeechGate, held_out: Sounds, fault: str, harmed: Any
) -> None:
    silero = Silero()
    clips = clips_of(held_out, "librispeech test-other", at_most=10)
    ours = [kept_of(clip, lambda sound: gate.speech(window_of(sound)), harmed) for clip in clips]
    theirs = [kept_of(clip, lambda x: silero.probability(x) >= 0.5, harmed) for clip in clips]
    assert np.mean(ours) > 0.7
    assert np.mean(ours) > np.mean(theirs) - 0.03


@pytest.fixture(scope="module")
def few_recordings(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fifteen people's clips and a few noises, as a smaller study would have."""
    folder = tmp_path_factory.mktemp("few")
    with (recordings / "MANIFEST.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    read = [row for row in rows if row["dataset"] == "librispeech train-clean-100"][:15]
    noises = [row for row in rows if row["path"].startswith("noise/music")]
    noises += [row for row in rows if row["path"].startswith("noise/blanket")]
    with (folder / "MANIFEST.csv").open("w", encoding="utf-8", newline="") as table:
        written = csv.DictWriter(table, fieldnames=list(rows[0]))
        written.writeheader()
        written.writerows(read + noises)
    for row in read + noises:
        (folder / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / row["path"]).symlink_to(recordings / row["path"])
    return folder


def test_one_seed_gives_one_graph_and_another_seed_another(
    few_recordings: Path, tmp_path: Path
) -> None:
    graphs = []
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        figures = train_gate(
            few_recordings, tmp_path / name, seed, examples=16, epochs=1, mixtures_each=1
        )
        graphs.append((tmp_path / name / "gate.onnx").read_bytes())
        assert figures.graph_bytes == len(graphs[-1])
        assert all(0 <= figures.of("gate", snr_db).f1 <= 1 for snr_db in (20, 10, 5, 0))
        assert figures.of("webrtcvad mode 2", 20).recall > 0
    assert graphs[0] == graphs[1]
    assert graphs[0] != graphs[2]


def test_a_folder_without_speech_says_so(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.csv").write_text("path,dataset,identity\n", encoding="utf-8")
    with pytest.raises(RecordingError, match="no speech or no noise"):
        train_gate(tmp_path, tmp_path / "out", 1)
