"""What files answer on the processor this runs on.

    python answers.py OUT.npz INPUTS.npy COUNT FILE…

The first COUNT inputs, ``[N, 3, H, W]`` and float32, go one by one through each file, in its own layout, on one thread.
OUT holds the first output of each file, by the file's name. One process runs them all, because an emulator takes longer
to import a runtime than to run a small file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecvx.runtimes import open_session

RUNTIMES = {".onnx": "onnxruntime", ".xml": "openvino", ".tflite": "tflite"}


def answers(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output for each image; a child process would run on the real processor, so there is none."""
    session = open_session(RUNTIMES[path.suffix], path, threads=1, isolated=False)
    try:
        if session.inputs[0].layout == "NHWC":
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        rows = [next(iter(session.run(images[i : i + 1]).values())) for i in range(len(images))]
    finally:
        session.close()
    return np.asarray(np.concatenate(rows), np.float32)


if __name__ == "__main__":
    out, inputs, count, *files = sys.argv[1:]
    found = {Path(file).name: answers(Path(file), np.load(inputs, mmap_mode="r")[: int(count)]) for file in files}
    np.savez(out, **found)  # type: ignore[arg-type]
