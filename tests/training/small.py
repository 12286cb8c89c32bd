"""A model of one or two layers, random text, and batches of it: enough to train on in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from bothways.batch import Batch, Losses, Row, Vocabulary
from bothways.model import Model, ModelConfig
from bothways.model.losses import plain_loss
from bothways.objectives import Objective, build
from bothways.training.config import OptimiserConfig, TrainingConfig
from bothways.training.loop import LoopInputs
from bothways.training.optimiser import build_optimisers
from bothways.training.processes import Processes
from bothways.training.state import State
from bothways.training.weights import Replicated, by_kind

VOCABULARY = Vocabulary(size=200, pad=0, unk=1, cls=2, sep=3, mask=4)
LENGTH = 32
ALONE = Processes(0, 1, torch.device("cpu"))
OPTIMISERS = ("adamw", "bert-adam", "lamb", "muon")


def small_model(*, layers: int = 1, width: int = 32, seed: int = 0) -> Model:
    return Model(
        ModelConfig(vocabulary=VOCABULARY.size, layers=layers, width=width, heads=width // 16, inner=48, init=0.1),
        seed=seed,
    )


def text_row(rng: np.random.Generator, *, length: int = LENGTH, documents: int = 3) -> Row:
    """Random tokens in a few documents, each [CLS] ... [SEP]."""
    tokens = rng.integers(5, VOCABULARY.size, length).astype(np.int32)
    starts = np.arange(documents) * (length // documents)
    tokens[starts], tokens[[*(starts[1:] - 1), length - 1]] = VOCABULARY.cls, VOCABULARY.sep
    document = (np.cumsum(tokens == VOCABULARY.cls) - 1).astype(np.int32)
    return Row(tokens, document, np.ones(length, dtype=bool))


def batches(objective: Objective, *, rows: int, each: int, seed: int = 0) -> list[Batch]:
    """`rows` rows, the same for the same seed however many stand in each batch."""
    samples = [
        objective.sample(text_row(np.random.default_rng((seed, i))), np.random.default_rng((seed, i, 1)), 0.0)
        for i in range(rows)
    ]
    return [Batch.stack(samples[i : i + each]) for i in range(0, rows, each)]


def settings(name: str = "adamw", *, micro_rows: int = 2, **optimiser: object) -> TrainingConfig:
    """Ten steps of eight rows, with the optimiser of that name and these of its fields."""
    return TrainingConfig.model_validate(
        {
            "budget": {"steps": 10},
            "length": LENGTH,
            "step_tokens": 8 * LENGTH,
            "micro_tokens": micro_rows * LENGTH,
            "optimiser": {"name": name, **optimiser},
            "schedule": {"warmup_steps": 2},
        }
    )


def state_of(model: Model, config: OptimiserConfig, *, dtype: torch.dtype = torch.float32) -> State:
    weights = Replicated(model, dtype)
    return State(weights, build_optimisers(config, by_kind(weights, model)))


def work_of(
    model: Model,
    *,
    objective: str = "hybrid",
    each: int = 2,
    spoil: Callable[[int, int], float] = lambda step, batch: 1.0,
) -> LoopInputs:
    """Steps of 8 rows; every loss is multiplied by `spoil(step, number of the batch)`."""
    built, asked = build(objective, VOCABULARY), {"step": -1, "batch": 0}

    def batches_of(step: int, progress: float) -> Sequence[Batch]:
        asked.update(step=step, batch=0)
        return batches(built, rows=8, each=each, seed=step)

    def losses(batch: Batch, generator: torch.Generator) -> Losses:
        factor = spoil(asked["step"], asked["batch"])
        asked["batch"] += 1
        return {name: (loss * factor, count) for name, (loss, count) in plain_loss(model, batch).items()}

    return LoopInputs(losses, batches_of, tuple(sorted(built.shares)))


def everything(state: State) -> dict[str, torch.Tensor]:
    """Copies of all weights and optimiser tensors."""
    found = {name: weight.detach().clone() for name, weight in state.weights.master.items()}
    names = {id(weight): name for name, weight in state.weights.master.items()}
    for optimiser in state.optimisers:
        for weight, held in optimiser.state.items():
            found |= {f"{names[id(weight)]}#{key}": value.clone() for key, value in held.items()}
    return found


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype, name
        assert torch.equal(tensor, theirs[name]), name
