"""What a run is told: budget, batch, optimiser, schedule, precision."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from bothways.config import Frozen
from bothways.errors import UsageError


class Budget(Frozen):
    """How long to train: exactly one of the four.

    Seconds are turned into steps after a few warm-up steps and written down; the run is exact from there.
    """

    steps: int | None = Field(default=None, ge=1)
    tokens: float | None = Field(default=None, gt=0, description="tokens read, padding included")
    flops: float | None = Field(default=None, gt=0, description="counted as forward + 2x backward")
    seconds: float | None = Field(default=None, gt=0)

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
    """adamw      Loshchilov & Hutter 2019
    bert-adam  the same without bias correction, as BERT and ELECTRA were trained
    lamb       You et al. 2020
    muon       Jordan et al. 2024 for the matrices of the blocks, AdamW for the rest

    `learning_rate` belongs to the optimiser named; under Muon, embeddings and norms take `adam_learning_rate`.
    """

    name: Literal["adamw", "bert-adam", "lamb", "muon"] = "muon"
    learning_rate: float | None = Field(default=None, gt=0, description="left out: what trial found best for the size")
    adam_learning_rate: float | None = Field(default=None, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-8
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")


class ScheduleConfig(Frozen):
    """wsd: warm up, hold, decay to `floor` over the last `decay` of the budget. cosine, linear: decay all the way."""

    shape: Literal["wsd", "cosine", "linear"] = "wsd"
    warmup_steps: int = Field(default=50, ge=0)
    decay: float = Field(default=0.3, ge=0, le=1, description="share of the budget (wsd)")
    floor: float = Field(default=0.0, ge=0, le=1, description="share of the learning rate left at the end")


class TrainingConfig(Frozen):
    """Everything about a run that is neither text, objective nor model."""

    budget: Budget
    length: int = Field(default=128, ge=8, description="tokens in a row")
    step_tokens: int = Field(
        default=8192, ge=8, description="tokens in a step, over all processes; larger by default for larger sizes"
    )
    micro_tokens: int = Field(default=4096, ge=8, description="tokens at once in one process")
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    sharded: bool = Field(default=False, description="FSDP2 instead of one flat all-reduce")
    seed: int = 0
    validate_every: float = Field(default=0.1, gt=0, le=1, description="share of the budget")
    validation_rows: int = Field(default=256, ge=1)
    save_every: int = Field(default=500, ge=1, description="steps")

    @property
    def rows(self) -> int:
        """Rows in a step."""
        return self.step_tokens // self.length

    @property
    def micro_rows(self) -> int:
        """Rows at once in one process: no more than a step has."""
        return max(1, min(self.micro_tokens // self.length, self.rows))

    def check_split(self, processes: int) -> None:
        """Every process must get as many micro-batches as every other.

        Raises:
            UsageError: they cannot be dealt out evenly.
        """
        if self.rows < 1 or self.rows % (self.micro_rows * processes):
            raise UsageError(
                f"step_tokens must be a multiple of micro_tokens x processes, in whole rows of {self.length}: got "
                f"step_tokens={self.step_tokens} ({self.rows} rows), micro_tokens={self.micro_tokens} "
                f"({self.micro_rows} rows), {processes} processes. Change one of them with "
                f"--set training.step_tokens={self.micro_rows * processes * self.length * 2}"
            )
