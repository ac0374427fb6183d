"""The facial track: what a picture costs, what it holds in memory, how far it agrees.

`python -m tests.bench.facial` prints the figures. Memory is measured in a process of its own.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from agent.capture.camera import face_track, open_recording
from agent.capture.sensing import Indicator
from edge_models.blendshapes import Blendshapes, read_face_models, task_file
from edge_models.face_mesh import FaceMesh
from edge_models.quiet import native_chatter_held_back
from edge_models.raw import RawImage
from edge_models.training.recordings import recordings_folder
from tests.bench.figure import Figure

_PER_S: Final = 10.0


def measure() -> list[Figure]:
    """Every figure of the facial track, on the shared clips."""
    clips = recordings_folder() / "clips"
    talking = sorted((clips / "grid").glob("*.mpg"))[0]
    pair = clips / "intel_head_female-and-male.gif"
    stage, route = _agreement(talking)
    one_ms, two_ms = _cost_ms(talking), _cost_ms(pair)
    whole_ms = _whole_ms(talking)
    return [
        Figure("facial: one face", f"{one_ms:.1f} ms CPU", "", None, "FaceMesh.observe, 360x288"),
        Figure("facial: two faces", f"{two_ms:.1f} ms CPU", "", None, "FaceMesh.observe, 480x270"),
        Figure(
            "facial: camera at 10 fps",
            f"{whole_ms * _PER_S / 10:.1f} % of one core",
            "< 10 % (agent < 12 %)",
            whole_ms * _PER_S / 10 < 10.0,
            f"decode, look, log: {whole_ms:.1f} ms CPU a picture looked at",
        ),
        Figure(
            "facial: memory",
            f"{_memory_mb(talking):.0f} MB resident",
            "< 300 MB (whole agent)",
            None,
            "what a process grows by, importing and watching a clip of 3 s",
        ),
        Figure(
            "facial: blendshape stage",
            f"{stage:.0e} at most",
            "<= 1e-3",
            stage <= 1e-3,
            "our graph on the FaceLandmarker's landmarks, beside its own answer",
        ),
        Figure(
            "facial: whole route",
            f"{route:.3f} mean absolute difference",
            "",
            None,
            "52 blendshapes, face_mesh route beside the FaceLandmarker (another mesh)",
        ),
    ]


def _pictures(path: Path) -> list[RawImage]:
    device = open_recording(path)
    pictures = []
    while device.grab():
        picture = device.picture(device.next_time_s())
        if picture is not None:
            pictures.append(picture)
    device.close()
    return pictures


def _cost_ms(path: Path) -> float:
    pictures = _pictures(path)
    with FaceMesh() as mesh:
        mesh.observe(pictures[0])
        started = time.process_time()
        for picture in pictures:
            mesh.observe(picture)
        return 1000.0 * (time.process_time() - started) / len(pictures)


def _whole_ms(path: Path) -> float:
    with face_track(
        path, frames_per_s=_PER_S, indicator=Indicator(), clock=time.monotonic, live=False
    ) as track:
        track.between(0.0, 0.2)  # the first picture also warms the graphs
        started = time.process_time()
        looked = track.between(0.2, 10.0)
        return 1000.0 * (time.process_time() - started) / len(looked.observations)


_GROWTH: Final = """
import sys, time
from pathlib import Path
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])
before = resident()
from agent.capture.camera import face_track
from agent.capture.sensing import Indicator
with face_track(Path(sys.argv[1]), frames_per_s=10, indicator=Indicator(),
                clock=time.monotonic, live=False) as track:
    track.between(0.0, 10.0)
    print(resident() - before)
"""


def _memory_mb(path: Path) -> float:
    command = [sys.executable, "-c", _GROWTH, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(run.stdout) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _agreement(path: Path) -> tuple[float, float]:
    """Largest difference of the blendshape stage, and mean difference of the whole route."""
    pictures = _pictures(path)
    with FaceMesh() as mesh:
        ours = np.array([mesh.observe(picture).blendshapes for picture in pictures])
    graph = Blendshapes(read_face_models(task_file()).blendshapes)
    theirs, same_stage = [], []
    with native_chatter_held_back():
        for picture, answer in zip(pictures, _landmarked(pictures), strict=True):
            height, width, _ = picture.pixels.shape
            points = [(point.x * width, point.y * height) for point in answer.face_landmarks[0]]
            theirs.append([shape.score for shape in answer.face_blendshapes[0]])
            same_stage.append(graph.of(np.array(points, np.float32)))
    stage = np.abs(np.array(same_stage) - np.array(theirs)).max()
    return float(stage), float(np.abs(ours - np.array(theirs)).mean())


def _landmarked(pictures: list[RawImage]) -> list[Any]:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(task_file())),
        output_face_blendshapes=True,
    )
    with vision.FaceLandmarker.create_from_options(options) as task:
        return [
            task.detect(
                mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture.pixels)
            )
            for picture in pictures
        ]


if __name__ == "__main__":
    for figure in measure():
        print(f"{figure.name:28} {figure.value:32} {figure.target:24} {figure.how}")
