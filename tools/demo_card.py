"""Writes the demo weights' figures into their model card, from the files themselves, and puts the card beside them.

python tools/demo_card.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "demo_weights"
CARD = ROOT / "docs" / "demo-weights.md"
BEGIN, END = "<!-- figures: tools/demo_card.py -->\n", "<!-- end of figures -->\n"


def figures(file: Path) -> Mapping[str, str]:
    """What there is to say about one weights file, row by row."""
    with safe_open(file, "pt") as content:
        facts = content.metadata()
        parameters = sum(math.prod(content.get_slice(name).get_shape()) for name in content.keys())  # noqa: SIM118
    right, count = float(facts["top1"]), int(facts["top1_pictures"])
    margin = 1.96 * math.sqrt(right * (1 - right) / count)
    return {
        "file": f"`{file.name}`",
        "classes": str(len(json.loads(facts["classes"]))),
        "parameters": f"{parameters:,}",
        "size, float16": f"{file.stat().st_size / 1e6:.1f} MB",
        "top-1 on fresh pictures at 224 px": f"{right:.1%} ± {margin:.1%} ({count:,} pictures)",
        "GRN, mean of abs(gamma)": facts["grn_mean_abs_gamma"],
        "seed": facts["seed"],
        "recipe": f"`{facts['recipe'][:12]}`",
    }


def table(columns: Mapping[str, Mapping[str, str]]) -> str:
    """A Markdown table with one column per network."""
    rows = next(iter(columns.values()))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {row} | {' | '.join(column[row] for column in columns.values())} |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command line."""
    files = sorted(WEIGHTS.glob("*/*.demo.safetensors"))
    columns = {file.name.split(".")[0].removeprefix("convnextv2_"): figures(file) for file in files}
    before, rest = CARD.read_text(encoding="utf-8").split(BEGIN)
    card = before + BEGIN + table(columns) + END + rest.split(END)[1]
    for path in (CARD, WEIGHTS / "README.md"):
        path.write_text(card, encoding="utf-8")
    print(table(columns))


if __name__ == "__main__":
    main()
