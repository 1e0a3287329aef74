"""What files answer on the processor this runs on.

    python answers.py OUT.npz INPUTS.npy COUNT FILE…

The first COUNT inputs, ``[N, 3, H, W]`` and float32, go one by one through each file, in its own layout, on one thread.
OUT holds the first output of each file, by the file's name; of a file that its runtime refuses, a line with the reason
is printed. One process runs them all, because an emulator takes longer to import a runtime than to run a small file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import RuntimeFailedError
from edgecvx.runtimes import open_session

RUNTIMES = {".onnx": "onnxruntime", ".xml": "openvino", ".tflite": "tflite"}


def answers(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output for each image; a child process would run on the real processor, so there is none."""
    session = open_session(RUNTIMES[path.suffix], path, threads=1, isolated=False)
    rows: list[NDArray[np.float32]] = []
    try:
        for image in images[:, None]:
            fed = image.transpose(0, 2, 3, 1) if session.inputs[0].layout == "NHWC" else image
            rows.append(next(iter(session.run(np.ascontiguousarray(fed)).values())))
    finally:
        session.close()
    return np.asarray(np.concatenate(rows), np.float32)


def main(out: str, inputs: str, count: str, *files: str) -> None:
    """Writes the answers of all files."""
    images = np.load(inputs, mmap_mode="r")[: int(count)]
    found: dict[str, NDArray[np.float32]] = {}

    def keep(path: Path) -> None:
        try:
            found[path.name] = answers(path, images)
        except RuntimeFailedError as error:
            print(f"{path.name}: {error}")

    for file in files:
        keep(Path(file))
    np.savez(out, **found)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
