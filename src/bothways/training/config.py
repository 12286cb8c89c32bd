"""Settings of a run: budget, batch, optimiser, schedule, precision."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from bothways.config import Frozen
from bothways.errors import UsageError


class Budget(Frozen):
    """How long to train: exactly one of the four, or a text that names it: "1000steps", "2h".

    Seconds are turned into steps after a few warm-up steps, and anew at validations before the learning rate falls;
    from there the run is exact.
    """

    steps: int | None = Field(default=None, ge=1, description="Steps.")
    tokens: float | None = Field(default=None, gt=0, description="Tokens read, padding included.")
    flops: float | None = Field(default=None, gt=0, description="Counted as forward + 2x backward.")
    seconds: float | None = Field(default=None, gt=0, description="Of training.")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        bare = isinstance(value, int | float) and not isinstance(value, bool)  # without a unit: refused by its name
        return read_budget(str(value)) if bare or isinstance(value, str) else value

    @model_validator(mode="after")
    def _one(self) -> Budget:
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            raise ValueError(f"a budget is exactly one of steps, tokens, flops, seconds; got {given or 'none'}")
        return self


def read_budget(text: str) -> dict[str, float]:
    """Reads "300s" or "300seconds", "1000steps", "5e6tokens", "1e14flops" -> {"seconds": 300.0}.

    Raises:
        UsageError: anything else.
    """
    units = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"} | {unit: unit for unit in Budget.model_fields}
    plain = text.strip().lower().replace(" ", "")
    unit = next((unit for unit in sorted(units, key=len, reverse=True) if plain.endswith(unit)), "")
    name = units.get(unit, "")
    try:
        amount = float(plain.removesuffix(unit)) * {"minutes": 60, "hours": 3600, "days": 86400}.get(name, 1)
    except ValueError:
        amount = math.nan
    if not unit or not math.isfinite(amount) or amount < (1 if unit == "steps" else 1e-9):
        raise UsageError(
            f"a budget is a number and a unit: 1000steps, 5e6tokens, 1e14flops, 300s, 40min, 2d; got {text!r}"
        )
    name = "seconds" if name in ("minutes", "hours", "days") else name
    return {name: int(amount) if name == "steps" else amount}


class OptimiserConfig(Frozen):
    """What changes the parameters.

    adamw      Loshchilov & Hutter 2019
    bert-adam  the same without bias correction, as BERT and ELECTRA were trained
    lamb       You et al. 2020
    muon       Jordan et al. 2024 for the matrices of the blocks, AdamW for the rest
    """

    name: Literal["adamw", "bert-adam", "lamb", "muon"] = Field(
        default="muon",
        description="adamw, bert-adam, lamb, or muon for the matrices of the blocks and AdamW for the rest.",
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="Of the optimiser named; left out: a default by the width of the model."
    )
    adam_learning_rate: float | None = Field(
        default=None, gt=0, description="Under Muon, of embeddings and norms; left out: the other."
    )
    betas: tuple[float, float] = Field(default=(0.9, 0.98), description="Of Adam's means.")
    epsilon: float = Field(default=1e-08, description="Of Adam's division.")
    weight_decay: float = Field(default=0.1, ge=0, description="Of matrices.")
    clip: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")


class ScheduleConfig(Frozen):
    """How the learning rate changes over a run."""

    shape: Literal["wsd", "cosine", "linear"] = Field(
        default="wsd",
        description="wsd: warm up, hold, decay to `floor` at the end of the budget; cosine, linear: decay all the way.",
    )
    warmup_steps: int = Field(default=50, ge=0, description="Steps up to the full rate.")
    decay: float = Field(default=0.3, ge=0, le=1, description="Share of the budget (wsd).")
    floor: float = Field(default=0.0, ge=0, le=1, description="Share of the learning rate left at the end.")


class TrainingConfig(Frozen):
    """Everything about a run that is neither text, objective nor model."""

    budget: Budget = Field(default=Budget(seconds=300), description="How long to train.")
    length: int = Field(default=128, ge=8, description="Tokens in a row.")
    step_tokens: int = Field(
        default=2048,
        ge=8,
        description="Tokens in a step, over all processes; by default larger for larger sizes, 8192 with --from.",
    )
    micro_tokens: int = Field(default=4096, ge=8, description="Tokens at once in one process.")
    optimiser: OptimiserConfig = Field(default=OptimiserConfig(), description="What changes the parameters.")
    schedule: ScheduleConfig = Field(default=ScheduleConfig(), description="Of the learning rate.")
    spike_sigma: float | None = Field(
        default=6.0,
        gt=0,
        description="A step is not learned whose loss is so many deviations above the mean of the last 128; null: "
        "every step is.",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="Of the arithmetic; auto: bf16 where the machine is faster in it."
    )
    sharded: bool = Field(default=False, description="FSDP2 instead of one flat all-reduce.")
    seed: int = Field(default=0, ge=0, description="Of everything random.")
    validate_every: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Share of the budget; less often where validations would take a fifth of a budget in seconds.",
    )
    validation_rows: int = Field(default=256, ge=1, description="Held-out rows.")
    save_every: int = Field(default=500, ge=1, description="Steps; a checkpoint is also written after ten minutes.")
    keep_at: tuple[float, ...] = Field(
        default=(),
        description="Tokens read (1e6, 1e7): the model as it is then is validated and saved too, in kept/step-N; "
        "pretraining alone.",
    )

    @field_validator("keep_at")
    @classmethod
    def _positive(cls, counts: tuple[float, ...]) -> tuple[float, ...]:
        if min(counts, default=1.0) <= 0:
            raise ValueError("expected numbers above 0, as in [1e6, 1e7]")
        return counts

    @property
    def rows(self) -> int:
        """Rows in a step."""
        return self.step_tokens // self.length

    @property
    def places(self) -> int:
        """Tokens in a step, in whole rows and with what is padded: as a budget counts them."""
        return self.rows * self.length

    @property
    def micro_rows(self) -> int:
        """Rows at once in one process: no more than a step has."""
        return max(1, min(self.micro_tokens // self.length, self.rows))

    @property
    def kept_steps(self) -> set[int]:
        """Those of `keep_at`: the last step before more than so many tokens are read, or the first of all."""
        return {max(1, int(count // self.places)) for count in self.keep_at}

    def check_split(self, processes: int) -> None:
        """Every process must get as many micro-batches as every other.

        Raises:
            UsageError: they cannot be dealt out evenly.
        """
        own, left = divmod(self.rows, processes)
        if own < 1 or left or own % min(self.micro_rows, own):
            raise UsageError(
                f"step_tokens must be a multiple of micro_tokens x processes, or of processes where it is less, in "
                f"whole rows of {self.length}: got step_tokens={self.step_tokens} ({self.rows} rows), "
                f"micro_tokens={self.micro_tokens} ({self.micro_rows} rows), {processes} processes. Change one of them "
                f"with --set training.step_tokens={self.micro_rows * processes * self.length * 2}"
            )
