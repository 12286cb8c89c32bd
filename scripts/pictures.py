"""Draw the pictures of docs/objectives.md: who sees whom, in docs/pictures/NAME.svg.

    python scripts/pictures.py

A test compares what is there with what the objectives draw today.
"""

from __future__ import annotations

from pathlib import Path

from bothways.objectives.page import picture_file

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
TEXT = "a b c d e f"
DRAWN = {
    "causal": "causal",
    "mlm": "mlm(rate=0.3, replace=all-mask)",
    "prefix": "prefix",
    "unilm2": "unilm2",
    "block-diffusion": "block-diffusion(size=3)",
    "any-order": "any-order",
    "mass": "mass",
    "bang": "bang",
}
"""{file: expression}"""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, expression in DRAWN.items():
        (FOLDER / f"{name}.svg").write_text(picture_file(expression, TEXT), encoding="utf-8")
        print(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
