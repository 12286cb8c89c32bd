"""The settings of a search, and the candidates and runs that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from bothways.config import AsText, Frozen, put, read
from bothways.errors import UsageError
from bothways.training.config import TrainingConfig
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.pretraining.warm_start import with_shape_of_start
from bothways.training.search.candidates import RATE, SearchCandidate, combinations_of, with_rate
from bothways.training.search.trials import SEED

OPTIMISERS = ("muon", "adamw")
RATES = (0.5, 1.0, 2.0)
STEPS = (0.5, 1.0, 2.0)
DECAYS = (0.15, 0.3, 0.5)
OF_ONE = ("name", "learning_rate", "adam_learning_rate")
"""Settings of an optimiser that do not serve another."""
OTHER_LOSS = ("length", "seed", "validation_rows")
"""Settings of training whose values have held-out losses that cannot be compared."""
OUR_OWN = ("budget", "validate_every")
"""Settings of training that the search gives."""


class SearchConfig(Frozen):
    """What `bothways search` does."""

    shards: Path = Field(description="A folder that prepare made.")
    out: Path = Field(default=Path("runs/search"), description="The search's folder; there already: go on.")
    objective: str = Field(default="hybrid", description="What is trained, as in pretrain.")
    size: str = Field(
        default="tiny", description="tiny, mini, small, base, or LAYERSxWIDTH: 6x192; the model's own with --from."
    )
    hours: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="Of the whole search; its last two runs are the longest, a sixth of it each or more.",
    )
    processes: int = Field(default=1, ge=1, description="Of every run; one a core is fastest on a CPU.")
    start: Annotated[str | None, AsText] = Field(default=None, description="Go on from a model, as in pretrain.")
    model: dict[str, Any] = Field(default={}, description="Fields of the model that differ from the size's.")
    code: tuple[Path, ...] = Field(default=(), description="A Python file with objectives of your own.")
    training: dict[str, Any] = Field(
        default={}, description="Other settings of every run, which are not searched for: training.length=256."
    )
    space: tuple[dict[str, list[Any]], ...] = Field(
        default=(),
        description='What is tried, stage by stage: [{"training.optimiser.name": [muon, adamw], rate: [0.5, 1]}, ...]; '
        "rate is a factor. Left out: optimisers and rates, then tokens in a step, then the decay.",
    )

    @field_validator("space")
    @classmethod
    def _can_be_compared(cls, space: tuple[dict[str, list[Any]], ...]) -> tuple[dict[str, list[Any]], ...]:
        for stage in space:
            for name, values in stage.items():
                _check_setting(name, values)
        return space

    @field_validator("training")
    @classmethod
    def _is_free(cls, training: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(training.keys() & set(OUR_OWN)):
            raise ValueError(f"training.{taken[0]} is given by the search, whose hours are --hours: leave it out")
        return training

    def plain(self) -> dict[str, Any]:
        """The values of a run without anything that is searched for."""
        names = ("shards", "out", "objective", "size", "start", "model", "code")
        given = {name: getattr(self, name) for name in names if name in self.model_fields_set}
        training = {"seed": SEED, **self.training, "validate_every": 1.0, "budget": {"seconds": 1.0}}
        return {"out": self.out, **given, "training": training}

    def stages(self) -> tuple[Mapping[str, list[Any]], ...]:
        """{setting: values} of each stage; without a space of one's own, that of every run: what is given for all of
        them, and steps that cannot be dealt out, are left out."""
        if self.space:
            return self.space
        own = read(PretrainConfig, self.plain()).training
        optimisers = {} if self._gives("optimiser", *OF_ONE) else {"training.optimiser.name": [*OPTIMISERS]}
        stages: list[Mapping[str, list[Any]]] = [{**optimisers, RATE: [*RATES]}]
        if "step_tokens" not in self.training:
            sizes = [round(own.step_tokens * factor) for factor in STEPS]
            fitting = [size for size in sizes if _splits(own.model_copy(update={"step_tokens": size}), self.processes)]
            stages.append({"training.step_tokens": fitting})
        if not self._gives("schedule", "shape", "decay"):
            stages.append({"training.schedule.decay": [*DECAYS]})
        return tuple(stages)

    def _gives(self, group: str, *names: str) -> bool:
        """Whether one of some settings of training is given for all runs."""
        return any(name in self.training.get(group, {}) for name in names)

    def default(self) -> dict[str, Any]:
        """{setting that is searched for: what it is without a search}."""
        plain = read(PretrainConfig, self.plain())
        whole = plain.model_dump(mode="json")
        if self.start is None:
            whole["model"] = plain.model_config_for(8).model_dump()
        return {name: _at(whole, name) for stage in self.stages() for name in stage if name != RATE}

    def candidates(self) -> Iterator[SearchCandidate]:
        """The default, and all that the stages may lead to."""
        default = self.default()
        yield SearchCandidate()
        for choice in product(*map(combinations_of, self.stages())):
            candidate = SearchCandidate()
            for settings in choice:
                candidate = candidate.changed(settings, default)
            yield candidate

    def run(
        self,
        candidate: SearchCandidate,
        seconds: float,
        *,
        warmup: int,
        vocabulary: int | None = None,
        encoder_decoder: bool = False,
    ) -> PretrainConfig:
        """A candidate's run: of so many seconds, its warm-up no longer than `warmup` steps where it is not given.

        Args:
            vocabulary: of the shards; needed to go on from a model. None: its shape and rates are not looked up.
            encoder_decoder: whether the objective trains an encoder-decoder, which a model of one stack becomes.

        Raises:
            UsageError: settings that cannot be.
        """
        values = self.plain()
        for name, value in candidate.settings.items():
            put(values, name, value, "space")
        config = read(PretrainConfig, values)
        if self.start is not None and vocabulary is not None:
            config = with_shape_of_start(config, vocabulary=vocabulary, encoder_decoder=encoder_decoder)
        training = with_rate(config, candidate.rate).training
        steps = training.schedule.warmup_steps
        if "training.schedule.warmup_steps" not in candidate.settings and not self._gives("schedule", "warmup_steps"):
            steps = min(steps, warmup)
        changed = {
            "budget": training.budget.model_copy(update={"seconds": seconds}),
            "schedule": training.schedule.model_copy(update={"warmup_steps": steps}),
        }
        return config.model_copy(update={"training": training.model_copy(update=changed)})

    def check(self) -> None:
        """
        Raises:
            UsageError: nothing is to be chosen, or a combination of settings that cannot be.
        """
        for candidate in self.candidates():
            self.run(candidate, 1.0, warmup=1).training.check_split(self.processes)
        if all(len(values) < 2 for stage in self.stages() for values in stage.values()):
            raise UsageError("nothing is to be chosen: give a setting of the space two values or more")


def _check_setting(name: str, values: list[Any]) -> None:
    room, _, setting = name.partition(".")
    if name == RATE:
        if not values or not all(isinstance(value, int | float) and 0 < value < float("inf") for value in values):
            raise ValueError(f"rate expects factors above 0, as in [0.5, 1, 2]; got {values}")
    elif room not in ("training", "model") or not setting:
        raise ValueError(f"expected rate, or settings of training or model, as training.step_tokens; got {name!r}")
    elif room == "training" and setting.partition(".")[0] in OTHER_LOSS:
        raise ValueError(f"held-out losses of two values of {name} cannot be compared. Give it for all: --set {name}=")
    elif room == "training" and setting.partition(".")[0] in OUR_OWN:
        raise ValueError(f"{name} is given by the search: leave it out")
    elif not values:
        raise ValueError(f"{name} expects a list of values, got none")


def _splits(training: TrainingConfig, processes: int) -> bool:
    try:
        training.check_split(processes)
    except UsageError:
        return False
    return True


def _at(values: Any, name: str) -> Any:
    """What stands under a dotted name; None: nothing."""
    for part in name.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
