"""What `bothways finetune` is told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from bothways.config import Frozen


class FinetuneConfig(Frozen):
    """What `bothways finetune` is told.

    model    a run, a Hugging Face folder, or a name of its hub
    task     classify, regress, tag, intent, relate, answer, choose, embed, or one of one's own
    train    records: jsonl, csv or tsv
    dev      the same, to choose the best epoch by; left out, a share of `train` is held out by a hash of its texts
    test     the same, evaluated once, at the end
    out      the run's folder
    columns  {role: column} where the names of the columns do not tell
    reads    the face to go on from; left out, the encoder where there is one
    head     of relate: markers, or entities as in R-BERT
    code     Python files with tasks of one's own
    """

    model: str
    task: str
    train: Path
    out: Path
    dev: Path | None = None
    test: Path | None = None
    columns: dict[str, str] = {}
    skip_bad: bool = False
    reads: Literal["encoder", "decoder"] | None = None
    head: str | None = None
    code: tuple[Path, ...] = ()
    epochs: int = Field(default=3, ge=1)
    batch: int = Field(default=32, ge=1, description="examples in a step")
    learning_rate: float | None = Field(default=None, gt=0, description="left out: 0.04 / width")
    layer_decay: float = Field(default=1.0, gt=0, le=1, description="of the learning rate, for each layer further down")
    warmup: float = Field(default=0.1, ge=0, le=1, description="share of the steps")
    weight_decay: float = Field(default=0.01, ge=0)
    dropout: float | None = Field(default=None, ge=0, lt=1, description="left out: the model's own")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["equal", "balanced"] = "equal"
    thresholds: Literal["half", "tuned"] = Field(
        default="half", description="from which chance on a label is given; tuned: what is best on the dev examples"
    )
    patience: int | None = Field(default=None, ge=1, description="epochs without a better score before it stops")
    length: int | None = Field(default=None, ge=8, description="tokens of a text; left out: as the model, at most 512")
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    label_names: tuple[str, ...] = Field(
        default=(), description="of labels that are numbers in the files, from 0: [O, B-PER, I-PER]"
    )
    dev_share: float = Field(default=0.1, gt=0, lt=1, description="held out of train where no dev is given")
    seed: int = 0


def rate_for(config: FinetuneConfig, width: int) -> float:
    """The learning rate: 3e-4 at width 128, 1e-4 at 384, 5e-5 at 768."""
    return config.learning_rate or 0.04 / width
