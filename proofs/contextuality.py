"""How contextual do states become under three objectives, on the same text with the same compute?

    python proofs/contextuality.py [--shards SHARDS] [--texts FILE] [--also NAME=MODEL ...] [--tokens 2e7]

Pretrains `tiny` three times, from left to right, from all sides, and both in turns, and measures every layer over the
same texts as `bothways contextuality` does; --also names models of others.
--texts has a text a line; left out, they are the held-out documents of the shards, and the shards those of the
documentation that Python carries. Prints a table and draws WORK/contextuality.svg (`pip install matplotlib`).

Fails unless what must be so is so: before the first block the states of our models know no context (self-similarity 1),
behind the last they do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from bothways import load
from bothways.evaluation.held_out import HeldOut
from bothways.evaluation.inspection.contextuality import Contextuality, contextuality, read_texts

OBJECTIVES = {"left to right": "causal", "all sides": "mlm", "both": "hybrid"}
PICTURES = {
    "self_similarity_adjusted": "self-similarity, adjusted",
    "intra_sentence_adjusted": "similarity within a text, adjusted",
    "explained_adjusted": "explained by one vector, adjusted",
    "anisotropy": "anisotropy",
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#555555", "#cc79a7")
MARKS = "osd^vP*"


def bothways(*told: str) -> None:
    subprocess.run([sys.executable, "-m", "bothways", *told], check=True, stdout=subprocess.DEVNULL)


def models(given: argparse.Namespace, shards: Path) -> dict[str, Path]:
    """{name: a run or a folder of others}; ours are trained, or gone on with, where they are not done."""
    found = {}
    for name, objective in OBJECTIVES.items():
        run = given.work / objective
        begun = ["--resume"] if run.exists() else [str(shards), "--size", "tiny", "--objective", objective]
        bothways("pretrain", *begun, "--out", str(run), "--json", "--budget", f"{given.tokens:g}tokens")
        found[name] = run
    return found | {name: Path(folder) for name, _, folder in (one.partition("=") for one in given.also)}


def draw(found: Sequence[Contextuality], place: Path) -> None:
    """A panel a measure; from the embeddings (0) to the last layer (1), so that deep and flat models share an axis."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams |= {
        "svg.hashsalt": "contextuality",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    figure, panels = pyplot.subplots(1, len(PICTURES), figsize=(11, 3), layout="constrained")
    for panel, (key, title) in zip(panels, PICTURES.items(), strict=True):
        for one, colour, mark in zip(found, cycle(COLOURS), cycle(MARKS), strict=False):
            values = [layer.figures()[key] for layer in one.layers]
            depth = [i / (len(values) - 1) for i in range(len(values))]
            panel.plot(depth, values, color=colour, marker=mark, markersize=4, linewidth=1.5, label=one.name)
        panel.set_title(title, fontsize=9)
        panel.set(xlabel="depth", ylim=(min(0, panel.get_ylim()[0]), None))
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(place, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--also", nargs="*", default=[])
    parser.add_argument("--tokens", type=float, default=2e7)
    parser.add_argument("--work", type=Path, default=Path("runs/contextuality"))
    given = parser.parse_args()
    shards = given.shards or given.work / "shards"
    if given.shards is None and not shards.exists():
        bothways("prepare", "python-docs", "--out", str(shards))
    ours = models(given, shards)
    texts = read_texts(given.texts) if given.texts else HeldOut.read(shards).texts
    found = [
        one
        for name, folder in ours.items()
        for one in contextuality(load(folder, device="cpu").engine, texts, name=name)
    ]
    print("| model | layer | self-similarity | within a text | explained | anisotropy |")
    print("|---|---|---|---|---|---|")
    for one in found:
        for i, layer in enumerate(one.layers):
            said = layer.figures()
            cells = (f"{said[key]:.3f}" for key in PICTURES)
            print(f"| {one.name} | {i} | {' | '.join(cells)} |")
    draw(found, given.work / "contextuality.svg")
    first, last = ([one.layers[i].figures()["self_similarity"] for one in found] for i in (0, -1))
    mine = [one.name.partition(",")[0] in OBJECTIVES for one in found]
    sys.exit(not all(before > 0.999 > after for before, after, ours in zip(first, last, mine, strict=True) if ours))


if __name__ == "__main__":
    main()
