"""The settings of `bothways finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bothways.config import AsText, Frozen
from bothways.model.adapters import read_adapter
from bothways.training.config import Budget, OptimiserConfig, ScheduleConfig, TrainingConfig

LONGEST = 512
"""Tokens of a text at most, where no length is asked for."""
BY_PREFERENCE = ("prefer", "grpo")
"""Tasks whose model is to stay near what it was."""


class TaskSettings(Frozen):
    """What one task is: its files, and what is asked of them."""

    task: str = Field(
        default="classify",
        description="classify, regress, tag, intent, relate, answer, choose, embed, extract, rerank; to write: "
        "text2text, summarise, translate, question-generation, instruct; by preferences: prefer, reward, grpo; or one "
        "of `code`.",
    )
    objective: str | None = Field(
        default=None,
        description="Of tasks that write: causal, prefix, unilm1, unilm2, mass, bang, diffusion or seq2seq; left out, "
        "what fits how the model was pretrained.",
    )
    prefix: str = Field(
        default="", description='Of tasks that write: a text that stands before every source, as "summarise: ".'
    )
    target_length: int | None = Field(
        default=None,
        ge=2,
        description="Tokens of a text to be written, its end counted; left out: the task's, at most half.",
    )
    generation: dict[str, Any] = Field(
        default={}, description="Of tasks that write: {option of generating: value}, as generation.num_beams=4."
    )
    train: Path = Field(description="Records to learn from: jsonl, csv or tsv; of instruct, a YAML mixture, too.")
    dev: Path | None = Field(
        default=None,
        description="Records to choose the best epoch by; left out, some of --train by a hash of their texts.",
    )
    test: Path | None = Field(default=None, description="Records to measure the chosen epoch on, once.")
    columns: dict[str, str] = Field(
        default={}, description="{role: column} where the names of the columns do not tell."
    )
    head: str | None = Field(
        default=None,
        description="Of relate: markers, or entities as in R-BERT; of classify: label, or for pairs san, MT-DNN's; of "
        "extract: extract, or extract-mean.",
    )
    sentences: int = Field(default=3, ge=1, description="Of extract: of a summary, at most.")
    trigram_blocking: bool = Field(
        default=True, description="Of extract: leave out a sentence that repeats three words of the summary."
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Share of the target spread over all labels.")
    class_weights: Literal["equal", "balanced"] = Field(
        default="equal", description="Of labels in the loss; balanced: a rare label counts more."
    )
    thresholds: Literal["half", "tuned"] = Field(
        default="half",
        description="From which probability on a label is given; tuned: what is best on the dev examples.",
    )
    label_names: tuple[str, ...] = Field(
        default=(), description="Of labels that are numbers in the files, from 0: [O, B-PER, I-PER]."
    )


class LearningSettings(Frozen):
    """How a model is taught, whatever it is taught."""

    model: Annotated[str, AsText] = Field(
        description="A run, a Hugging Face folder, a name of its hub, or a GGUF file."
    )
    out: Path = Field(default=Path("runs/tuned"), description="The run's folder.")
    skip_bad: bool = Field(default=False, description="Leave out, count and list records that are wrong.")
    reads: Literal["encoder", "decoder"] | None = Field(
        default=None, description="The face to go on from; left out, the encoder where there is one."
    )
    code: tuple[Path, ...] = Field(
        default=(), description="A Python file with tasks of your own; of grpo, with the function reward."
    )
    adapter: str | None = Field(
        default=None,
        description="Learn a small thing beside the frozen model: lora(rank=8, on=[q, v]), soft_prompt(tokens=20), "
        "prefix(tokens=10), norms or bias; new heads learn whole.",
    )
    epochs: int = Field(default=3, ge=1, description="Epochs of training.")
    batch: int = Field(default=32, ge=1, description="Examples in a step.")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="Left out: 0.04 / width; of prefer and grpo a tenth of it, of an adapter 10 times as much, of a "
        "soft prompt 100 times.",
    )
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="Of the learning rate, for each layer further down."
    )
    warmup: float = Field(default=0.1, ge=0, le=1, description="Share of the steps.")
    weight_decay: float = Field(default=0.01, ge=0, description="Of AdamW.")
    dropout: float | None = Field(default=None, ge=0, lt=1, description="Left out: the model's own.")
    decoder_layers: int | None = Field(
        default=None, ge=1, description="Of seq2seq, on a model without a decoder: its layers; left out, as many."
    )
    encoder_rate: float = Field(
        default=1.0, gt=0, description="Of an encoder-decoder: the encoder's learning rate, a share of the decoder's."
    )
    patience: int | None = Field(default=None, ge=1, description="Epochs without a better score before it stops.")
    length: int | None = Field(default=None, ge=8, description="Tokens of a text; left out: as the model, at most 512.")
    dev_generated: int = Field(
        default=100, ge=1, description="Of tasks that write: how many dev examples are written after every epoch."
    )
    spike_sigma: float | None = Field(
        default=None,
        gt=0,
        description="A step is not learned whose loss is so many deviations above the mean of the last 128; left out, "
        "every step is, since batches are small and differ much.",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="Of the arithmetic; auto: bf16 where the machine is faster in it."
    )
    dev_share: float = Field(default=0.1, gt=0, lt=1, description="Held out of --train where no --dev is given.")
    seed: int = Field(default=0, ge=0, description="Of the new head, the order and dropout.")


class PreferenceSettings(Frozen):
    """How a model is taught by preferences and by rewards, tasks prefer and grpo."""

    loss: Literal["dpo", "orpo", "kto"] = Field(
        default="dpo", description="Of prefer: dpo or orpo of pairs of answers, kto of single ones too."
    )
    beta: float | None = Field(
        default=None,
        ge=0,
        description="Of prefer and grpo: what it weighs to stay near the model that the run begins with, of orpo what "
        "the odds ratio weighs; left out, 0.1, of grpo 0.04.",
    )
    length_normalised: bool = Field(default=False, description="Of dpo: by the mean of an answer's tokens.")
    samples: int = Field(default=8, ge=2, description="Of grpo: answers that are sampled for a prompt.")
    updates: int = Field(default=1, ge=1, description="Of grpo: steps on the same sampled answers.")
    clip: float = Field(
        default=0.2, gt=0, lt=1, description="Of grpo: a ratio of probabilities farther from 1 teaches nothing."
    )


class FinetuneConfig(TaskSettings, PreferenceSettings, LearningSettings):
    """What `bothways finetune` does."""


def rate_for(config: LearningSettings, width: int) -> float:
    """The learning rate: 3e-4 at width 128, 1e-4 at 384, 5e-5 at 768; a tenth of it by preferences and rewards, of an
    adapter more, see `AdapterConfig.rate`."""
    near = isinstance(config, FinetuneConfig) and config.task in BY_PREFERENCE
    usual = (0.004 if near else 0.04) / width
    return config.learning_rate or usual * (read_adapter(config.adapter).rate if config.adapter else 1.0)


def training_for(config: LearningSettings, width: int, *, steps: int, seed: int) -> TrainingConfig:
    """How the loop trains: AdamW at `rate_for`, a rate that rises and then falls in a line to the last of `steps`."""
    return TrainingConfig(
        budget=Budget(steps=steps),
        optimiser=OptimiserConfig(name="adamw", learning_rate=rate_for(config, width)),
        schedule=ScheduleConfig(shape="linear", warmup_steps=round(config.warmup * steps)),
        spike_sigma=config.spike_sigma,
        seed=seed,
    )
