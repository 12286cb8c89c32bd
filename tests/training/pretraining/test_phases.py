"""A run whose phases train different networks: what a phase does not bring rests, to the bit, and a stop in any of them
changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bothways.corpus import Shards
from bothways.objectives import build
from bothways.training.pretraining import pretrain, run
from bothways.training.run_folder import RunFolder
from tests.training.pretraining.small import assert_same_run, clocked, configuration, run_until, tensors, train_lines

pytestmark = pytest.mark.usefixtures("quick")

PHASES = "1/4 mlm -> 1/4 electra(predict=nothing) -> 1/2 electra"
OFTEN = ("training.save_every=1", "training.optimiser.weight_decay=0.5")


def weights_after(shards: Path, out: Path, step: int) -> dict[str, torch.Tensor]:
    """Of the first `step` of twelve steps."""
    config = configuration(shards, out, *OFTEN, objective=PHASES)
    run_until(config, step)
    found = tensors(out, step=step)
    return {name.removeprefix("weights/"): one for name, one in found.items() if name.startswith("weights/")}


def test_what_a_phase_does_not_bring_rests(shards: Path, tmp_path: Path) -> None:
    """Though the optimiser decays and remembers: three steps of mlm, three of the generator alone, then both."""
    begun, mlm, alone, both = (weights_after(shards, tmp_path / str(step), step) for step in (1, 3, 6, 8))

    def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
        return {name for name in before if not torch.equal(before[name], after[name])}

    small = {name for name in begun if name.startswith("parts.generator.")}
    body = {name for name in begun if name.startswith(("backbone.blocks.", "backbone.norm."))}
    table, head = "backbone.embeddings.tokens.weight", "heads.replaced.logit.weight"
    assert moved(begun, mlm) == body | {table}
    assert moved(mlm, alone) == small | {table}
    assert moved(alone, both) == small | body | {table, head} == begun.keys()


def test_optimisers_begin_anew_with_another_loss(shards: Path, tmp_path: Path) -> None:
    """Gradients of electra are a fiftieth of those of mlm: moments of the one say nothing of the other."""
    steps = {}
    for step in (3, 4, 5, 7):
        config = configuration(
            shards, tmp_path / str(step), *OFTEN, "training.optimiser.name=adamw", objective="1/3 mlm -> 2/3 electra"
        )
        run_until(config, step)
        steps[step] = float(tensors(config.out, step=step)["optimiser/backbone.embeddings.tokens.weight#step"])
    assert steps == {3: 3.0, 4: 4.0, 5: 1.0, 7: 3.0}
    turns = {text: build(text, Shards.open(shards).vocabulary).turns for text in ("causal -> mlm", "electra", PHASES)}
    assert turns == {"causal -> mlm": (), "electra": (), PHASES: (0.25, 0.5)}


@pytest.mark.parametrize("step", [2, 3, 5, 6, 9])
def test_a_stop_in_any_phase_changes_nothing(step: int, shards: Path, tmp_path: Path) -> None:
    whole, parts = (configuration(shards, tmp_path / name, objective=PHASES) for name in ("whole", "parts"))
    pretrain(whole)
    run_until(parts, step)
    pretrain(parts, resume=True)
    assert_same_run(parts.out, whole.out)
    assert [sorted(line["losses"]) for line in train_lines(whole.out)] == [
        *[["mlm"]] * 3,
        *[["generator"]] * 3,
        *[["discriminator", "generator"]] * 6,
    ]


def test_flops_are_those_of_the_phases(shards: Path, tmp_path: Path) -> None:
    """A step of the generator alone costs what electra costs beyond the model's own pass."""
    made = {}
    for name, objective in {
        "phases": PHASES,
        "mlm": "mlm",
        "alone": "electra(predict=nothing)",
        "both": "electra",
    }.items():
        config = configuration(shards, tmp_path / name, objective=objective)
        run_until(config, 11)
        made[name] = [line["flops"] for line in train_lines(config.out)]
    each = {name: flops[0] for name, flops in made.items()}
    assert made["phases"][10] == pytest.approx(3 * each["mlm"] + 3 * each["alone"] + 5 * each["both"])
    assert each["alone"] < each["both"] - each["mlm"] / 2


def test_seconds_count_what_later_phases_cost(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace is measured in the first phase; one with cheap steps first has no more of them than its share."""
    monkeypatch.setattr(run, "MEASURED_STEPS", 3)
    steps = {}
    for objective in ("electra", "1/2 electra(predict=nothing) -> 1/2 electra"):
        clocked(monkeypatch, lambda step: 0.05)
        config = configuration(shards, tmp_path / f"{len(objective)}", "training.budget.seconds=3", objective=objective)
        run_until(config, 4)
        steps[objective] = RunFolder(config.out).manifest()["steps"]
    plain, cheap_first = steps.values()
    assert cheap_first < plain  # a step takes as long either way: the steps to come are dearer than those measured
