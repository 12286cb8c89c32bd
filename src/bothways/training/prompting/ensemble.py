"""What members say together, and what they teach the next generation (Schick & Schuetze 2021, sections 3.3 and 3.4).

Letters: M members, E examples, U unlabelled texts, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bothways.seals import read_sealed, save_sealed
from bothways.tasks.predictions import softmax

Drawn = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Member:
    """One member and its scores, log p of each label's word.

    generation, pattern, repetition  its numbers, the first 1
    taught      how many examples it was trained on
    untrained   float32 [E, C], of the labelled texts, by the model that it began from
    train       float32 [E, C], of the same, trained
    unlabelled  float32 [U, C]
    test        float32 [tests, C]; of none, [0, C]
    """

    generation: int
    pattern: int
    repetition: int
    taught: int
    untrained: np.ndarray
    train: np.ndarray
    unlabelled: np.ndarray
    test: np.ndarray

    @property
    def name(self) -> str:
        """As its file is called."""
        return name_of(self.generation, self.pattern, self.repetition)

    def save(self, folder: Path) -> None:
        """Writes it aside, and renames it: a file that is there is whole."""
        tensors = {name: getattr(self, name) for name in ("untrained", "train", "unlabelled", "test")}
        tensors["taught"] = np.array([self.taught])
        save_sealed(folder / f"{self.name}.safetensors", tensors)

    @classmethod
    def load(cls, folder: Path, generation: int, pattern: int, repetition: int) -> Member | None:
        """None: it is not finished.

        Raises:
            ModelError: its file is damaged.
        """
        path = folder / f"{name_of(generation, pattern, repetition)}.safetensors"
        if not path.is_file():
            return None
        found, _ = read_sealed(path)
        taught = int(found.pop("taught")[0])
        return cls(generation, pattern, repetition, taught, **found)


def name_of(generation: int, pattern: int, repetition: int) -> str:
    """As the file of a member is called."""
    return f"generation{generation}-pattern{pattern}-{repetition}"


def accuracy(scores: np.ndarray, gold: np.ndarray) -> float:
    """The share of texts [N] whose likeliest of scores [N, C] is the right one."""
    return float((scores.argmax(1) == gold).mean()) if len(gold) else float("nan")


def weights_of(members: Sequence[Member], gold: np.ndarray, *, equal: bool) -> np.ndarray:
    """[M], which are 1 together: the accuracy of a member's pattern on the labelled texts before training (section
    3.3), or all alike."""
    found = np.array([1.0 if equal else accuracy(one.untrained, gold) for one in members])
    return found / found.sum() if found.sum() > 0 else np.full(len(members), 1 / len(members))


def together(scores: Sequence[np.ndarray], weights: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """The labels' shares [N, C] by the weighted mean of the members' scores."""
    mean = sum(weight * one.astype(np.float64) for weight, one in zip(weights, scores, strict=True))
    return softmax(np.asarray(mean) / temperature)


def taught_by_others(shares: np.ndarray, counts: Sequence[int], rng: np.random.Generator) -> Drawn:
    """(number of a text, label) of unlabelled texts that a member is taught: `counts` of each label, drawn of those
    that the others give it, a text the likelier the surer they are; where they are too few, the surest of the rest.

    Args:
        shares: [U, C], what others of the generation before say.
    """
    found: Drawn = []
    left = np.ones(len(shares), dtype=bool)
    for label, count in enumerate(counts):
        own = np.flatnonzero(left & (shares.argmax(1) == label))
        chance = shares[own, label] / max(shares[own, label].sum(), 1e-12)
        drawn = rng.choice(own, size=min(count, len(own)), replace=False, p=chance) if len(own) else own
        left[drawn] = False
        if missing := count - len(drawn):
            rest = np.flatnonzero(left)
            more = rest[np.argsort(-shares[rest, label], kind="stable")[:missing]]
            left[more] = False
            drawn = np.concatenate([drawn, more])
        found += [(int(text), label) for text in drawn]
    return found
