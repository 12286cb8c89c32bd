"""What starts ELECTRA's detector: short runs of one body on one text, each with its own way of beginning.

python proofs/electra_start.py SHARDS --work FOLDER [--only NAME ...] [--tokens 6e5] [--seeds 1] [--size tiny]
    [--set training.step_tokens=2048] [--probe sst2=TRAIN,TEST ...]

A detector that says "original" everywhere has the entropy of the share of replaced tokens as its loss. Ten times in a
run, held-out rows are filled by the run's own generator, and of every token is asked whether it was replaced: how much
of that entropy is gone (`explained`), and the area under the ROC curve. A run has started where a twentieth is gone;
the table says after how many tokens, counted FLOPs and seconds of the processor. The probes are linear classifiers over
the body's mean states at the end.

What is done is kept in FOLDER and not done again: the same command prints the table of all rows there, each the mean of
its seeds. The comparison of what starts first with MLM, at equal FLOPs and at equal time, is a `bothways compare`:

python proofs/electra_start.py --final DATA --work FOLDER [--budgets 6e13flops 20min] [--languages en zh]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bothways
from bothways.batch import Batch
from bothways.config import read, with_settings
from bothways.evaluation.comparison.metrics import probed
from bothways.evaluation.linear_probe import read_sides
from bothways.inference.engine import Engine
from bothways.inference.language_model import LanguageModel
from bothways.model import Abilities, Model
from bothways.training.loop import train
from bothways.training.pretraining import PretrainConfig
from bothways.training.pretraining.setup import PretrainRun, networks_of, set_up, total_steps
from bothways.training.processes import processes

LOOKS = 10  # in a run
STARTED = 0.05  # of the entropy of the share that was replaced
ELECTRA = "electra{}"
ARMS: dict[str, str] = {
    "mlm": "mlm",
    "electra": "electra",
    "weight 10": "electra(weight=10)",
    "rate .25": "electra(rate=0.25)",
    "generator 1/2": "electra(generator=0.5)",
    "pace 1/4": "electra(pace=0.25)",
    "pace 4": "electra(pace=4)",
    "temperature 2->1": "electra(temperature=2->1)",
    "uniform first": "1/10 electra(temperature=1000) -> 9/10 electra",
    "ahead": "1/4 electra(predict=nothing) -> 3/4 electra",
    "mlm first": "1/4 mlm -> 3/4 electra",
    "mlm first, 1/10": "1/10 mlm -> 9/10 electra",
    "mlm along": "1/4 electra(predict=masked) -> 3/4 electra",
    "mlm, then ahead": "1/4 mlm -> 1/10 electra(predict=nothing) -> 13/20 electra",
    "replace": "electra(predict=words)",
    "deberta-v3": "deberta-v3",
    "mlm, then deberta-v3": "1/4 mlm -> 3/4 deberta-v3",
}
"""{name of a row: its objective}"""


def detector(run: PretrainRun) -> dict[str, float]:
    """On held-out rows that the run's own generator filled: the share replaced, the loss, the area under the curve."""
    head: Any = run.model.heads["replaced"] if "replaced" in run.model.heads else None
    if head is None:
        return {}
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    own = head.loss
    head.loss = lambda logits, target: seen.append((logits, target.labels)) or own(logits, target)
    run.model.eval()
    with torch.no_grad():
        drawn = torch.Generator().manual_seed(0)
        losses = [run.work.losses(batch, drawn) for batch in run.validation]
    run.model.train()
    del head.loss
    suspicion, replaced = (torch.cat(column).numpy() for column in zip(*seen, strict=True))
    share = float(replaced.mean())
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    means = {name: sum(float(one[name][0]) for one in losses) / sum(float(one[name][1]) for one in losses)
             for name in losses[0]}  # fmt: skip
    return {
        "replaced": share,
        "explained": 1 - means["discriminator"] / float(entropy),
        "area": area(suspicion, replaced),
        **means,
    }


def area(suspicion: np.ndarray, replaced: np.ndarray) -> float:
    """Under the ROC curve: the mean rank of what was replaced (Mann & Whitney 1947); ties are as they come."""
    ranks = np.empty(len(suspicion))
    ranks[np.argsort(suspicion)] = np.arange(1, len(suspicion) + 1)
    many, few = int(replaced.sum()), int((~replaced).sum())
    return float((ranks[replaced].sum() - many * (many + 1) / 2) / max(1, many * few))


def looked_at(run: PretrainRun) -> Iterator[dict[str, float]]:
    """Trains; a line after each tenth of the steps, and before the first."""
    total = total_steps(run)
    assert total is not None
    spent, since = 0.0, time.process_time()
    run.state.notes["total"] = total
    for report in train(run.work, state=run.state, config=run.config.training, total=total):
        if report.step * LOOKS // total > (report.step - 1) * LOOKS // total:
            spent += time.process_time() - since
            place = {"tokens": report.tokens, "flops": run.flops(), "seconds": spent}
            yield {**place, "fill": report.losses.get("mlm", float("nan")), **detector(run)}
            since = time.process_time()


def probes_of(run: PretrainRun, probes: Mapping[str, Sequence[Path]]) -> dict[str, float]:
    """{name: accuracy of a linear classifier over the body's mean states}."""
    (_, weights, shape, _), *_ = networks_of(run.objective, run.full_weights(), run.model.config)
    body = Model(shape)
    body.load_state_dict({name: weights[name] for name in body.state_dict()})
    model = LanguageModel(Engine(body.eval(), run.shards.tokenizer, Abilities("", ("encoder",), "in place")))
    return {name: probed(model, read_sides("classify", *sides)).figure for name, sides in probes.items()}


def row(given: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """A run, made once and kept in a file."""
    place = given.work / f"{name.replace('/', '-').replace(' ', '_')}-{given.size}-{given.tokens:g}-{seed}.json"
    if not place.exists():
        with tempfile.TemporaryDirectory() as aside, processes(device="cpu") as team:
            values = {"shards": given.shards, "out": Path(aside) / "run", "objective": ARMS[name], "size": given.size}
            values["training"] = {"budget": {"tokens": given.tokens}, "seed": seed, "validation_rows": given.rows}
            run = set_up(read(PretrainConfig, with_settings(values, given.set)), team, resume=False)
            points = list(looked_at(run))
            found = {"arm": name, "objective": ARMS[name], "seed": seed, "set": given.set, "points": points}
            found["probes"] = probes_of(run, dict(given.probe))
        place.write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(f"done: {name}, seed {seed}", flush=True)
    return dict(json.loads(place.read_text(encoding="utf-8")))


def started(one: Mapping[str, Any], unit: str) -> float:
    """Tokens, FLOPs or seconds at the first look that found a twentieth of the entropy gone; infinite: none did."""
    return next((point[unit] for point in one["points"] if point.get("explained", 0) > STARTED), float("inf"))


def table(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """One line a row, the mean of its seeds."""
    names = sorted({name for some in rows.values() for one in some for name in one["probes"]})
    print("| | seeds | starts: tokens | TFLOPs | CPU s | in all: TFLOPs | CPU s | replaced | explained | area | " + " | ".join(names) + " |")  # fmt: skip
    print("|---" * (10 + len(names)) + "|")
    for name, some in rows.items():
        last = [one["points"][-1] for one in some]

        def mean(values: Sequence[float], form: str) -> str:
            found = float(np.mean(values))
            return f"{found:{form}}" if np.isfinite(found) else "-"

        cells = [
            mean([started(one, "tokens") for one in some], ",.0f"),
            mean([started(one, "flops") / 1e12 for one in some], ".2f"),
            mean([started(one, "seconds") for one in some], ".0f"),
            mean([point["flops"] / 1e12 for point in last], ".2f"),
            mean([point["seconds"] for point in last], ".0f"),
            *(mean([point.get(key, np.nan) for point in last], ".3f") for key in ("replaced", "explained", "area")),
            *(mean([one["probes"][probe] for one in some], ".3f") for probe in names),
        ]
        print(f"| {name} | {len(some)} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--tokens", type=float, default=6e5)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--rows", type=int, default=64, help="held out, to look at")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--probe", action="append", default=[], type=lambda text: (
        text.partition("=")[0], tuple(Path(part) for part in text.partition("=")[2].split(","))))  # fmt: skip
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    table({name: [row(given, name, seed) for seed in given.seeds] for name in given.only})


if __name__ == "__main__":
    main()
