"""The settings of `bothways prompt` and `bothways pet`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bothways.config import Frozen
from bothways.training.finetuning.config import LearningSettings


class PromptConfig(Frozen):
    """What `bothways prompt` asks, and how."""

    pattern: str = Field(
        description="A text with {text}, or {text_a} and {text_b}, or columns by name, and [MASK] where the word of a "
        "label stands."
    )
    verbaliser: str | dict[Any, Any] | None = Field(
        default=None, description="A word for each label: good=great,bad=terrible."
    )
    examples: Path | None = Field(default=None, description="Labelled records, of which some are shown.")
    shots: int = Field(default=0, ge=0, description="Examples of each label that are shown before every text.")
    seed: int = Field(default=0, description="Of which examples are shown, and in which order.")
    calibrate: bool = Field(default=True, description="Less what the model says of texts that say nothing.")
    how: Literal["fill", "continue"] | None = Field(
        default=None, description="Left out: by filling where the model can, else by going on with the text."
    )


class PetConfig(LearningSettings):
    """What `bothways pet` does. Epochs and what is chosen by dev are of the classifier in the end; the batch, the rate,
    warm-up, decay, dropout, length, precision and seed are of the members, too."""

    train: Path = Field(description="Few labelled records: jsonl, csv or tsv.")
    unlabelled: Path = Field(description="Many records of the same kind; labels in them are not read.")
    pattern: tuple[str, ...] = Field(
        default=(),
        description="A text with {text}, or {text_a} and {text_b}, or columns by name, and [MASK]; each trains "
        "members of its own.",
    )
    verbaliser: str | dict[Any, Any] = Field(description="A word for each label: good=great,bad=terrible.")
    dev: Path | None = Field(
        default=None,
        description="Records to choose the classifier's best epoch by; left out, some of the unlabelled by a hash of "
        "their texts, with the labels that they got.",
    )
    test: Path | None = Field(default=None, description="Records to measure members and the classifier on.")
    columns: dict[str, str] = Field(
        default={}, description="{role: column} where the names of the columns do not tell."
    )
    out: Path = Field(default=Path("runs/pet"), description="The run's folder.")
    batch: int = Field(default=16, ge=1, description="Examples in a step.")
    repetitions: int = Field(default=3, ge=1, description="Members of each pattern, with seeds of their own.")
    steps: int = Field(default=250, ge=1, description="Of training a member.")
    alpha: float = Field(
        default=0.9999, gt=0, le=1, description="Share of the labels in the loss of a member; the rest is hidden words."
    )
    weights: Literal["accuracy", "equal"] = Field(
        default="accuracy",
        description="Of members in the ensemble: how many training examples their pattern gets right untrained.",
    )
    temperature: float = Field(default=2.0, gt=0, description="Of the softmax that makes soft labels.")
    generations: int = Field(
        default=1, ge=1, description="Of members (iPET); each is taught what others of the one before said, too."
    )
    growth: float = Field(default=5.0, gt=1, description="Of iPET: so many times the examples in each generation.")
    others: float = Field(default=0.25, gt=0, le=1, description="Of iPET: share of the other members that teach one.")
