"""Tiny folders laid out as each corpus is given out, of a sound that is nobody's voice."""

import csv
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from edge_models.golden_sound import golden_window
from edge_models.raw import SAMPLE_RATE_HZ
from edge_models.windows import CONTEXT_SAMPLES

_SPOKEN = golden_window().sound.samples[CONTEXT_SAMPLES:-CONTEXT_SAMPLES]
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def a_sound(path: Path, times: int = 1, level: float = 1.0) -> Path:
    """A file of three seconds times `times`, half of which the gate takes for speech."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, level * np.tile(_SPOKEN, times), SAMPLE_RATE_HZ, subtype="PCM_16")
    return path


def a_file(path: Path) -> Path:
    """A sound that nobody will hear: loaders look at names only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(160, np.float32), SAMPLE_RATE_HZ, subtype="PCM_16")
    return path


def a_table(path: Path, rows: Iterable[Sequence[object]], apart: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8-sig") as lines:
        csv.writer(lines, delimiter=apart).writerows(rows)
    return path


def a_sheet(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """An Excel workbook: words shared, numbers plain, empty cells left out."""
    words = sorted({str(cell) for row in rows for cell in row if isinstance(cell, str) and cell})
    lines = []
    for number, row in enumerate(rows, 1):
        cells = []
        for place, cell in enumerate(row):
            where = f'r="{chr(ord("A") + place)}{number}"'
            if isinstance(cell, str) and cell:
                cells.append(f'<c {where} t="s"><v>{words.index(cell)}</v></c>')
            elif cell != "":
                cells.append(f"<c {where}><v>{cell}</v></c>")
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    strings = "".join(f"<si><t>{word}</t></si>" for word in words)
    sheet = f'<worksheet xmlns="{_SHEET}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("xl/sharedStrings.xml", f'<sst xmlns="{_SHEET}">{strings}</sst>')
        book.writestr("xl/worksheets/sheet1.xml", sheet)
    return path


def ravdess_folder(folder: Path) -> Path:
    for actor in ("01", "02"):
        for emotion in ("01", "04", "06"):
            a_file(folder / f"Actor_{actor}" / f"03-01-{emotion}-01-02-01-{actor}.wav")
    a_file(folder / "Actor_01" / "03-02-04-01-02-01-01.wav")  # a song
    return folder


def emodb_folder(folder: Path) -> Path:
    for name in ("03a01Fa", "03b10Tb", "08a01Na", "08a02Ac"):
        a_file(folder / "wav" / f"{name}.wav")
    return folder


TRANSCRIPT = (
    ("start_time", "stop_time", "speaker", "value"),
    (0.0, 1.0, "Ellie", "hi i'm ellie"),
    (1.0, 2.5, "Participant", "hello"),
    (2.5, 4.0, "Ellie", "how are you"),
    (4.0, 9.0, "Participant", "well"),
    (8.0, 9.5, "Participant", "and so on"),
    (9.5, 9.6, "Participant", "<sync>"),
)


def daic_woz_folder(folder: Path) -> Path:
    header = ("Participant_ID", "PHQ8_Binary", "PHQ8_Score", "Gender", "PHQ8_Sleep")
    test = ("Participant_ID", "PHQ_Binary", "PHQ_Score", "Gender")
    train = folder / "train_split_Depression_AVEC2017.csv"
    a_table(train, [header, (303, 0, 0, 0, 0), (318, 1, 14, 1, ""), (320, 1, 99, 1, "")])
    a_table(folder / "dev_split_Depression_AVEC2017.csv", [header, (302, 0, 4, 1, 0)])
    a_table(folder / "full_test_split.csv", [test, (300, 0, 2, 1), (301, 1, 11, 0)])
    for number in (300, 302, 303, 318, 320, 373):
        home = folder / f"{number}_P"
        a_file(home / f"{number}_AUDIO.wav")
        a_table(home / f"{number}_TRANSCRIPT.csv", TRANSCRIPT, apart="\t")
    return folder


def e_daic_folder(folder: Path) -> Path:
    header = ("Participant_ID", "Gender", "PHQ_Binary", "PHQ_Score", "PCL-C (PTSD)")
    labels = folder / "labels"
    a_table(labels / "train_split.csv", [header, (302, "male", 0, 4, 0)])
    a_table(labels / "dev_split.csv", [header, (303, "female", 1, 15, 1)])
    whole = ("Participant_ID", "Gender", "PHQ_8Total")
    a_table(labels / "test_split.csv", [whole, (600, "female", 12)])
    lines = (("Start_Time", "End_Time", "Text", "Confidence"), (14.3, 15.1, "so", 0.93))
    for number in (302, 303, 600):
        home = folder / "data" / f"{number}_P"
        a_file(home / f"{number}_AUDIO.wav")
        a_table(home / f"{number}_Transcript.csv", lines)
    return folder


def androids_folder(folder: Path) -> Path:
    readers = {"HC": ("01_CF56_1", "02_CM30_4"), "PT": ("01_PM65_X", "03_PF22_2")}
    for condition, names in readers.items():
        for name in names:
            a_file(folder / "Reading-Task" / "audio" / condition / f"{name}.wav")
    for name in ("01_CF56_1", "01_PM65_X", "09_PF40_2"):
        for turn in (1, 2):
            path = folder / "Interview-Task" / "audio_clip" / name / f"{name}_{turn}.wav"
            a_file(path)
    gap = ["", ""]
    titles = [f"fold{n}" for n in range(1, 6)]
    reading = ["'01_CF56_1'", "'02_CM30_4'", "'01_PM65_X'", "'03_PF22_2'", ""]
    interview = ["", "", "'01_CF56_1'", "", "'01_PM65_X'"]
    rows = (
        ["Read", *[""] * 6, "Interview"],
        [*titles, *gap, *titles],
        [*reading, *gap, *interview],
    )
    a_table(folder / "fold-lists.csv", rows)
    return folder


def eatd_folder(folder: Path) -> Path:
    for name, raw in (("t_1", 40), ("t_2", 48), ("t_3", 7), ("v_1", 44)):
        home = folder / name
        for answer in ("positive", "neutral", "negative"):
            a_file(home / f"{answer}.wav")
            a_file(home / f"{answer}_out.wav")
        (home / "label.txt").write_text(f"{raw}\n")
        (home / "new_label.txt").write_text(f"{1.25 * raw}\n")
    (folder / "v_1" / "new_label.txt").unlink()
    (folder / "v_1" / "neutral.wav").unlink()
    return folder


MODMA = (
    ("subject id", "type", "age", "gender", "education（years）", "PHQ-9", "CTQ-SF", "GAD-7"),
    (2010001, "MDD", 34, "F", 12, 18, 40, 11),
    (2020002, "HC", 51, "M", 16, 2, 30, 3),
    (2020003, "HC", 20, "M", 16, 28, 30, 3),
    (2020004, "HC", 20, "M", 16, 1, 30, 3),
    ("", "", "", "", "", "", "", "", "PHQ-9 is the Patient Health Questionnaire"),
)


def modma_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    a_sheet(folder / "subjects_information_audio_lanzhou_2015.xlsx", MODMA)
    for subject in ("02010001", "02020002", "02020003"):
        for number in ("01", "19", "26"):
            a_file(folder / subject / f"{number}.wav")
    return folder


def d_vlog_folder(folder: Path) -> Path:
    rows = [("index", "label", "duration", "gender", "fold")]
    rows += [("0", "depression", "420.1", "f", "train"), ("1", "normal", "300.5", "m", "valid")]
    rows += [("2", "normal", "81.0", "f", "test"), ("3", "depression", "90.0", "m", "test")]
    a_table(folder / "labels.csv", rows)
    for index in ("0", "1", "2"):
        home = folder / index
        home.mkdir()
        np.save(home / f"{index}_acoustic.npy", np.zeros((4, 25)))
        np.save(home / f"{index}_visual.npy", np.zeros((4, 136)))
    return folder
