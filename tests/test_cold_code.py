"""Pages of code are given back, and come back."""

import subprocess
import sys

_LETS_GO = """
import resource, sys
import numpy as np
import onnxruntime
from agent.cold_code import let_cold_code_go

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6

before = resident_mb()
given_back = let_cold_code_go()
print(before - resident_mb(), given_back)
import sqlite3, ssl, decimal  # loads libraries that were not there
assert np.linalg.inv(np.eye(3)).sum() == 3.0
assert sqlite3.connect(":memory:").execute("select 6 * 7").fetchone() == (42,)
"""


def test_code_that_was_loaded_and_is_not_run_leaves_memory_and_all_still_works() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _LETS_GO], capture_output=True, text=True, check=True
    )
    less_mb, given_back = map(float, ran.stdout.split())
    assert less_mb > 10.0
    assert given_back > 20e6  # ONNX Runtime alone


def test_it_can_be_done_again_and_again_among_running_threads() -> None:
    code = """
import threading, importlib
import numpy as np
from agent.cold_code import let_cold_code_go
done = threading.Event()
def work():
    while not done.is_set():
        assert np.linalg.det(np.eye(8)) == 1.0
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for name in ("sqlite3", "ssl", "decimal", "lzma", "bz2", "readline") * 5:
    try: importlib.import_module(name)
    except ImportError: pass
    let_cold_code_go()
done.set()
for thread in threads: thread.join()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_microphone_without_a_broker_loads_neither_mqtt_nor_pictures() -> None:
    code = "import agent.run, sys; print({'paho', 'cv2', 'mediapipe'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
