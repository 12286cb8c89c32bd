"""The settings of a word budget, and the run that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from bothways.config import Frozen, read
from bothways.corpus import PrepareOptions, Rows, Shards
from bothways.errors import UsageError
from bothways.training.config import Budget
from bothways.training.pretraining import PretrainConfig

TEXT = "text.jsonl"
PARTS = 10  # of the first pass, each of which ends with a model


def _one_or_several(given: object) -> object:
    """A path alone is a list of one, and is a text."""
    several = (given,) if isinstance(given, str | Path) else given
    return (
        [str(one) if isinstance(one, Path) else one for one in several]
        if isinstance(several, list | tuple)
        else several
    )


OneOrSeveral = BeforeValidator(_one_or_several)


class BabyLMConfig(Frozen):
    """What `bothways babylm` does."""

    sources: Annotated[tuple[str, ...], OneOrSeveral] = Field(
        default=(), description="Text as prepare reads it: files, folders, python-docs."
    )
    out: Path = Field(description="The folder for text, shards, run and scores; there already: go on.")
    objective: str = Field(default="hybrid", description="A name of `bothways objectives`, or an expression.")
    size: str = Field(default="tiny", description="tiny, mini, small, base, or LAYERSxWIDTH: 6x192.")
    words: float = Field(
        default=1e7,
        ge=1,
        allow_inf_nan=False,
        description="To train on, drawn evenly over all documents; what was held out is not counted.",
    )
    passes: int = Field(default=10, ge=1, description="How often they are read at most.")
    pairs: Annotated[tuple[Path, ...], OneOrSeveral] = Field(
        default=(), description="Minimal pairs: a file of records with good, bad, paradigm, or a folder of them."
    )
    pairs_each: int = Field(default=100, ge=1, description="Pairs of a paradigm that are scored at most.")
    seed: int = Field(default=0, ge=0, description="Of the documents that are drawn, and of training.")
    prepare: PrepareOptions = Field(
        default=PrepareOptions(), description="Of the preparation: prepare.vocabulary, prepare.words=jieba."
    )
    model: dict[str, Any] = Field(default={}, description="Fields of the model that differ from the size's.")
    training: dict[str, Any] = Field(default={}, description="Other settings of the run: training.length=256.")

    def check(self, processes: int = 1) -> None:
        """
        Raises:
            UsageError: no source, no pairs, a budget that is said twice, no such size, or settings that do not fit.
        """
        for name, given in (("SOURCE", self.sources), ("--pairs", self.pairs)):
            if not given:
                raise UsageError(
                    f"expected {name}, got none. For example: bothways babylm my-text/ --pairs FILE --out runs/b"
                )
        if fixed := {"budget", "keep_at", "seed"} & self.training.keys():
            raise UsageError(
                f"training.{min(fixed)} follows from words, passes and seed: leave it out, and set those instead"
            )
        self._plain().model_config_for(self.prepare.vocabulary)
        self._plain().training.check_split(processes)

    def run(self, shards: Shards) -> PretrainConfig:
        """The run over the whole budget, which keeps a model after each tenth of the first pass and after each pass.

        Raises:
            UsageError: the text is too short for a step in each tenth of a pass.
        """
        plain = self._plain()
        training = plain.training
        step, whole = training.places, tokens_of_a_pass(shards, plain)
        if whole < PARTS * step:
            raise UsageError(
                f"a pass over the text is {whole:,} tokens, and a step reads {step:,}: expected one or more in each of "
                f"{PARTS} parts of a pass. In another --out, read less in a step, --set training.step_tokens="
                f"{training.length * 8}, or bring more text"
            )
        changes = {
            "budget": Budget(steps=int(self.passes * whole // step)),
            "keep_at": tuple(part * whole / PARTS for part in self.parts[:-1]),
        }
        return plain.model_copy(update={"training": training.model_copy(update=changes)})

    def _plain(self) -> PretrainConfig:
        """The run without its budget, which the text decides on."""
        same = {name: getattr(self, name) for name in ("objective", "size", "model")}
        places = {"shards": self.out / "shards", "out": self.out / "run"}
        return read(PretrainConfig, same | places | {"training": {**self.training, "seed": self.seed}})

    @property
    def parts(self) -> Sequence[int]:
        """What each model has read, in tenths of a pass: 1, 2, ... 10, 20, ... (BabyLM 2025)."""
        return [*range(1, PARTS + 1), *range(2 * PARTS, self.passes * PARTS + 1, PARTS)]


def tokens_of_a_pass(shards: Shards, config: PretrainConfig) -> int:
    """With the places that padding takes, as training counts them."""
    length = config.training.length
    return len(Rows(shards.train, shards.vocabulary, length=length, seed=config.training.seed)) * length
