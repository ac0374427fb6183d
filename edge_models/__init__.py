"""What a model is and what it eats; how it is made; how it is attacked.

The one thing that happens at import: ONNX Runtime (1.29 and newer) makes a device number and
reports its use to its maker, unless it is told not to before it is loaded (DECISIONS.md, 21).
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
