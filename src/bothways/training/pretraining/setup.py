"""Everything that a run needs before its first step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bothways.batch import Batch, Losses
from bothways.corpus import Rows, Shards, Statistics
from bothways.errors import DataError, ModelError, UsageError
from bothways.machine import dtype_of, gemm_peak, precision_for
from bothways.model import Abilities, Model, ModelConfig, planned
from bothways.model.losses import plain_loss
from bothways.objectives import Objective, build, use
from bothways.terminal import command
from bothways.training.config import TrainingConfig
from bothways.training.loop import LoopInputs, loss_names
from bothways.training.optimiser import build_optimisers, rated
from bothways.training.pretraining.batches import TrainingBatches, probes, validation_batches, validation_rows
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.pretraining.flops import Cost, cost_of
from bothways.training.pretraining.replay import WithReplay
from bothways.training.pretraining.requirements import check_needs, check_segments
from bothways.training.pretraining.warm_start import check_decoder, start_weights, with_shape_of_start
from bothways.training.processes import Processes
from bothways.training.run_folder import RunFolder
from bothways.training.schedule import decay_start
from bothways.training.state import State, checkpoints, load_state, read_record, step_of
from bothways.training.weights import Replicated, Sharded, Weights, by_kind, whole
from bothways.visibility import named


@dataclass(slots=True)
class PretrainRun:
    """What a run holds while it goes on."""

    config: PretrainConfig
    shards: Shards
    objective: Objective
    model: Model
    state: State
    work: LoopInputs
    replay: Shards | None
    probes: dict[str, list[Batch]]
    general: dict[str, list[Batch]]
    validation: list[Batch]
    folder: RunFolder
    team: Processes
    precision: str
    cost: Cost
    peak: float | None = None
    seconds: float = 0.0

    def flops(self) -> float:
        """Counted over all steps so far."""
        total: int | None = self.state.notes.get("total")
        if total is None:
            return self.state.step * self.cost.at(0.0)
        return total * self.cost.upto(self.state.step / total)

    def useful_share(self, flops_per_second: float) -> float | None:
        """Of the peak; None where it is not known (a GPU's), or more was computed: the machine was slower while its
        peak was measured."""
        if self.peak is None or flops_per_second > self.peak:
            return None
        return round(flops_per_second / self.peak, 4)

    def full_weights(self) -> dict[str, Tensor]:
        """The float32 weights that are saved, whole (every process must call)."""
        own = {**self.state.weights.master, **self.state.weights.frozen}
        return {name: whole(weight).cpu() for name, weight in own.items()}


def set_up(config: PretrainConfig, team: Processes, *, resume: bool) -> PretrainRun:
    """Opens, checks and builds everything; with `resume`, puts the last checkpoint back."""
    config.training.check_split(team.count)
    folder = RunFolder(config.out, writes=team.first)
    if resume:
        _check_unchanged(config, folder)
    shards = Shards.open(config.shards)
    if config.start is not None and not resume:
        encoder_decoder = named_objective(config, shards).encoder_decoder
        config = with_shape_of_start(config, vocabulary=shards.vocabulary.size, encoder_decoder=encoder_decoder)
    training = config.training
    objective, shape = objective_of(config, shards)
    check_decoder(config, objective)
    replay = replay_shards(config, shards)
    fixed = validation_rows(shards, training)
    general = [] if replay is None else validation_rows(replay, training)
    if not resume:
        folder.create(config)
        team.wait()
    begun = folder.manifest().get("machine", {}).get("precision") if resume else None
    precision = precision_for(training.precision, device=team.device, begun=begun)
    model = Model(shape, seed=training.seed, heads=objective.heads, parts=objective.parts, rule=objective.rule)
    model = model.to(team.device)
    if config.start is not None and not (resume and checkpoints(folder.checkpoints)):
        start_weights(model, config.start, shards.tokenizer, decoder=config.start_decoder)
    rows = rows_of(config, shards, replay)
    batches = TrainingBatches(rows, objective, training, team.rank, team.count, team.device)
    asked = probes(objective, shards, fixed, training, device=team.device)
    alike = config.objective == "causal" and all(row.part is None for row in fixed)  # as its own probe: measured once
    validation = asked["next"] if alike else validation_batches(objective, fixed, training, device=team.device)
    state = _state(model, training, dtype_of(precision), team, objective.rates)
    run = PretrainRun(
        config=config,
        shards=shards,
        objective=objective,
        model=model,
        state=state,
        work=LoopInputs(
            state.weights.around(losses_of(objective, model)),
            lambda step, progress: batches(step * training.rows, progress),
            loss_names(model, objective.shares),
            tokens=training.places,
            turns=objective.turns,
        ),
        replay=replay,
        probes=asked,
        general=probes(objective, shards, general, training, device=team.device) if general else {},
        validation=validation,
        folder=folder,
        team=team,
        precision=precision,
        cost=cost_of(batches, shape),
        peak=team.total(gemm_peak(precision, seconds=0.5)) if team.device.type == "cpu" else None,
    )
    _check_kept(run)
    if resume:
        _restore(run)
    return run


def _check_kept(run: PretrainRun) -> None:
    """
    Raises:
        UsageError: a model is to be kept after the end.
    """
    total, training = total_steps(run), run.config.training
    if total is not None and max(training.kept_steps, default=0) > total:
        raise UsageError(
            f"training.keep_at: {max(training.keep_at):g} tokens are more than the {total * training.places:,} that "
            "the run reads. Leave it out, or give a larger --budget"
        )


def replay_shards(config: PretrainConfig, shards: Shards) -> Shards | None:
    """The other shards of which rows are mixed in, checked to be of the same tokenizer.

    Raises:
        DataError: they are not.
    """
    if config.replay is None:
        return None
    other = Shards.open(config.replay)
    if other.manifest.tokenizer != shards.manifest.tokenizer:
        raise DataError(
            f"{config.replay} was prepared with another tokenizer than {config.shards}. "
            f"Prepare it again: {command('prepare', '...', '--tokenizer', config.shards, '--out', config.replay)}"
        )
    return other


def rows_of(config: PretrainConfig, shards: Shards, replay: Shards | None) -> Rows | WithReplay:
    """The rows of a run, in their order."""
    length, seed = config.training.length, config.training.seed
    own = Rows(shards.train, shards.vocabulary, length=length, seed=seed)
    if replay is None:
        return own
    return WithReplay(own, Rows(replay.train, replay.vocabulary, length=length, seed=seed), config.replay_share)


def named_objective(config: PretrainConfig, shards: Shards) -> Objective:
    """What a configuration names, whatever the model.

    Raises:
        BothwaysError: it cannot be read.
    """
    use(config.code)
    return build(config.objective, shards.vocabulary, corpus=Statistics(shards.train, shards.vocabulary))


def objective_of(config: PretrainConfig, shards: Shards) -> tuple[Objective, ModelConfig]:
    """The objective and the model's shape, checked against the shards.

    Raises:
        BothwaysError: the objective cannot be read, the shards cannot serve it, or the model could not be saved.
    """
    objective = named_objective(config, shards)
    shape = config.model_config_for(shards.vocabulary.size)
    check_needs(objective, shards, shape)
    named(objective.rule.name)  # a rule that cannot be read back is refused before it is trained
    if shape.segments:
        check_segments(objective, rows_of(config, shards, None), shape)
    # What cannot be saved is refused before it is trained; with weights where they are made into something else.
    weights = Model(shape, heads=objective.heads, parts=objective.parts).state_dict() if objective.networks else {}
    for _, own, own_shape, trained in networks_of(objective, weights, shape):
        planned(own, config=own_shape, vocabulary=shards.vocabulary, trained=trained)
    return objective, shape


def networks_of(
    objective: Objective, weights: Mapping[str, Tensor], shape: ModelConfig
) -> Iterator[tuple[str, Mapping[str, Tensor], ModelConfig, Abilities]]:
    """(name, weights, shape, what it was taught) of all that is saved: the model under "", others by their names."""
    networks = objective.networks(weights, shape) if objective.networks else {"": (weights, shape)}
    rule = objective.rule.name
    for name, (own, own_shape) in networks.items():
        other = Abilities(f"{name} of {objective.name}", ("encoder",), "in place", rule=rule)  # a masked language model
        yield name, own, own_shape, other if name else objective.abilities


def losses_of(objective: Objective, model: Model) -> Callable[[Batch, torch.Generator], Losses]:
    """The objective's own loss, or the plain one."""
    own = objective.loss
    return lambda batch, generator: own(model, batch, generator) if own else plain_loss(model, batch)


def _state(
    model: Model, training: TrainingConfig, dtype: torch.dtype, team: Processes, rates: Mapping[str, float]
) -> State:
    """The weights and what changes them; `rates` of the model's parts, times that of the model."""
    weights: Weights
    if training.sharded:
        if not dist.is_initialized():
            raise UsageError(
                "training.sharded splits the weights over several processes, and this is a single one. Start them with "
                "torchrun --nproc-per-node 2 -m bothways pretrain ..., or leave training.sharded out."
            )
        weights = Sharded(model, dtype, model.blocks, team.device)
    else:
        weights = Replicated(model, dtype)
    optimiser = rated(training.optimiser, width=model.config.width)
    paces = [
        ([weight for name, weight in weights.master.items() if name.startswith(f"parts.{part}.")], times)
        for part, times in rates.items()
        if times != 1
    ]
    return State(weights, build_optimisers(optimiser, by_kind(weights, model), dtype=dtype, paces=paces))


def total_steps(run: PretrainRun) -> int | None:
    """The budget in steps; None for seconds, which only the clock can turn into steps."""
    budget = run.config.training.budget
    if budget.steps is not None:
        return budget.steps
    if budget.tokens is not None:
        return math.ceil(budget.tokens / run.config.training.places)
    if budget.flops is not None:
        return math.ceil(budget.flops / run.cost.upto(1.0))
    return None


MAY_CHANGE: dict[str, Any] = {
    "shards": True,  # they may have moved: their fingerprint is compared
    "out": True,
    "start": True,  # what it was is in the weights
    "start_decoder": True,
    "replay": True,  # it may have moved, too
    "code": True,  # moved with them; the objective's name is compared
    "training": {
        **dict.fromkeys(("budget", "save_every", "validate_every", "validation_rows"), True),
        **dict.fromkeys(("micro_tokens", "sharded"), True),  # the same rows, dealt out in another way
        **dict.fromkeys(("spike_sigma", "keep_at"), True),
        "optimiser": {"learning_rate": True, "adam_learning_rate": True},  # to go on after it diverged
    },
}


def _check_unchanged(config: PretrainConfig, folder: RunFolder) -> None:
    """A resumed run is the same run, but for what may change without making it another.

    Raises:
        UsageError: something else changed; it is named.
    """

    def flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in values.items():
            found |= flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
        return found

    old, new = (
        flat(given.model_dump(mode="json", exclude=MAY_CHANGE)) for given in (folder.config(PretrainConfig), config)
    )
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            raise UsageError(
                f"a resumed run must be the same run: {key} was {old.get(key)!r}, now {new.get(key)!r}. "
                "Leave it as it was, or start another run with another --out."
            )


def _restore(run: PretrainRun) -> None:
    """Puts the right checkpoint back and forgets what came after it; a run killed before its first starts anew.

    Raises:
        DataError: the shards are not those of the run.
        ModelError: the checkpoint is damaged, or another model's.
        UsageError: the budget is smaller than what was done.
    """
    noted = run.folder.manifest().get("data", {})
    for key, shards in (("fingerprint", run.shards), ("replay", run.replay)):
        if shards is not None and (data := noted.get(key) or shards.fingerprint) != shards.fingerprint:
            raise DataError(
                f"{shards.path} is not what this run was trained on: its fingerprint is {shards.fingerprint[:12]}, the "
                f"run's {data[:12]}. Prepare the same corpus again."
            )
    found = checkpoints(run.folder.checkpoints)
    if found:
        chosen, total = _choose(run, found)
        load_state(run.state, chosen)
        if total is not None:
            run.state.notes["total"] = total
        if run.state.notes["names"] != list(run.work.names):
            raise ModelError(f"{run.config.out}: the checkpoint was trained for other losses")
        if run.folder.config(PretrainConfig).training.micro_tokens != run.config.training.micro_tokens:
            run.state.pieces = 1  # of others than these
        run.seconds = float(run.state.notes["seconds"])
    run.team.wait()  # all have read what is forgotten now
    run.folder.keep(run.config)
    run.folder.cut(run.state.step if found else -1, run.state.notes.get("metrics"))


def _choose(run: PretrainRun, found: Sequence[Path]) -> tuple[Path, int | None]:
    """The checkpoint to go on from, and the run's steps if the budget changed.

    It is the last; under another budget with WSD, the last from before the learning rate fell.
    """
    training, last, record = run.config.training, found[-1], read_record(found[-1])
    notes, total = record["notes"], total_steps(run)
    old: int | None = notes.get("total")
    if old is None or notes["budget"] == training.budget.model_dump():
        return last, old
    if total is None:
        assert training.budget.seconds is not None
        total = round(training.budget.seconds * record["step"] / max(notes["seconds"], 1e-9))
    if total < record["step"]:
        raise UsageError(
            f"the run has done {record['step']} steps already; the budget is {total}. Give it at least as many."
        )
    before = [checkpoint for checkpoint in found if step_of(checkpoint) <= decay_start(training.schedule, old)]
    return before[-1] if before and total != old and training.schedule.shape == "wsd" else last, total
