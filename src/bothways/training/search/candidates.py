"""What is tried: settings of a run that differ from those it has anyway, and a factor on its learning rates."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from bothways.training.optimiser import rated
from bothways.training.pretraining.config import PretrainConfig

RATE = "rate"
"""Among the settings of a space: a factor on the learning rates, as each optimiser has others."""
Stage = Mapping[str, Sequence[Any]]
"""{setting: its values}: every combination of them is tried."""


@dataclass(frozen=True, slots=True)
class SearchCandidate:
    """settings  {dotted name: value}, where it differs from the default
    rate      a factor on the learning rates
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 1.0

    @property
    def label(self) -> str:
        """What differs, in a few words; two candidates of one label are one."""
        named = [f"{name.removeprefix('training.')} {value}" for name, value in sorted(self.settings.items())]
        return ", ".join([*named, *([f"rate x {self.rate:g}"] if self.rate != 1 else [])]) or "default"

    @property
    def folder(self) -> str:
        """What its run's folder is called."""
        return folder_name(self.label)

    def changed(self, settings: Mapping[str, Any], default: Mapping[str, Any]) -> SearchCandidate:
        """With other settings; what is equal to the `default` is none."""
        rate = settings.get(RATE, self.rate)
        merged = {**self.settings, **{name: value for name, value in settings.items() if name != RATE}}
        return SearchCandidate(
            {name: value for name, value in merged.items() if default.get(name) != value}, float(rate)
        )


def combinations_of(stage: Stage) -> Iterator[dict[str, Any]]:
    """{setting: value}, every combination; the last setting changes fastest."""
    for values in product(*stage.values()):
        yield dict(zip(stage, values, strict=True))


def further(candidates: Sequence[SearchCandidate], losses: Sequence[float]) -> SearchCandidate | None:
    """The best at the next learning rate, where its own is the smallest or the largest that was tried with its other
    settings: as far beyond as the last two are apart. None where it lies between two, or was tried at one rate alone.
    """
    best = min(range(len(losses)), key=losses.__getitem__)
    own = candidates[best]
    rates = sorted(one.rate for one in candidates if one.settings == own.settings)
    if len(rates) < 2 or losses[best] == float("inf") or own.rate not in (rates[0], rates[-1]):
        return None
    inner = rates[1] if own.rate == rates[0] else rates[-2]
    return SearchCandidate(own.settings, own.rate**2 / inner)


def with_rate(config: PretrainConfig, factor: float) -> PretrainConfig:
    """The run at its own learning rates, or those of its size, times a factor."""
    rates = rated(config.training.optimiser, width=config.model_config_for(8).width)
    scaled = {name: getattr(rates, name) * factor for name in ("learning_rate", "adam_learning_rate")}
    training = config.training.model_copy(update={"optimiser": rates.model_copy(update=scaled)})
    return config.model_copy(update={"training": training})


def folder_name(text: str) -> str:
    """A name for a folder: the text where it is a plain name, else its words and a hash."""
    plain = " ".join(text.split())
    words = re.sub(r"[^\w.]+", "-", plain).strip("-")
    return words if words == plain else f"{words}-{hashlib.sha256(plain.encode()).hexdigest()[:6]}"
