"""Teachers of single tasks: what a run of one task alone predicts for the training examples, learned beside the gold.

Born-again networks for several tasks (Clark et al. 2019, "BAM!", section 3.2): the target is share * gold + (1 - share)
* teacher, with a share that grows from 0 to 1 linearly over the steps (teacher annealing); cross-entropy of a
distribution, without a temperature, and a number is mixed in the same way.

Letters: N places of an example or a sample, M places of all examples, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bothways.batch import Sample, Target
from bothways.errors import ModelError, UsageError
from bothways.inference.loading import abilities_of
from bothways.inference.pipeline import logits_of
from bothways.model import TaskHead
from bothways.seals import read_sealed, save_sealed
from bothways.tasks.predictions import softmax
from bothways.tasks.reading import EncodedExample, encoded
from bothways.tasks.records import refuse
from bothways.tasks.task import Example
from bothways.training.finetuning.tuned import AT_ONCE, Tuned, head_named
from bothways.training.processes import Processes

FILE = "teacher.safetensors"
"""In the folder of a task: the teacher's logits [M, C] of every training example."""
IN_GROUPS = frozenset({"choice", "span", "span or none"})
"""Kinds of which the places of a group share a softmax."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """What a teacher predicts, of every sample of every example [N, C]: in the form of soft labels."""

    soft: Sequence[Sequence[np.ndarray]]
    head: TaskHead

    @classmethod
    def of_logits(cls, logits: np.ndarray, parts: Sequence[Sequence[Sample]], head: TaskHead) -> Teacher:
        """Of its logits [M, C] at the places of the samples of every example."""
        counts = [[len(sample.targets[0].at) for sample in some] for some in parts]
        ends = np.cumsum([sum(some) for some in counts])
        soft = []
        for own, some, samples in zip(np.split(logits, ends[:-1]), counts, parts, strict=True):
            found = _soft(own.astype(np.float64), [sample.targets[0] for sample in samples], head)
            soft.append(np.split(found, np.cumsum(some)[:-1]))
        return cls(soft, head)

    def mixed(self, samples: Sequence[Sample], example: int, share: float) -> list[Sample]:
        """The samples of an example, its labels `share` gold and the rest the teacher's; with 1 they are the gold ones
        as they were."""
        if share >= 1:
            return [*samples]
        return [
            replace(sample, targets=(self._mixed(sample.targets[0], soft, share),))
            for sample, soft in zip(samples, self.soft[example], strict=True)
        ]

    def _mixed(self, target: Target, soft: np.ndarray, share: float) -> Target:
        gold = hard(target, self.head)
        unseen = np.isnan(soft)  # of a word that the teacher does not see, the gold label
        mixed = share * gold + (1 - share) * np.where(unseen, gold, soft)
        return replace(target, labels=mixed.astype(np.float32))


def share_of_gold(step: int, total: int) -> float:
    """0 in the first of `total` steps, 1 in the last."""
    return step / (total - 1) if total > 1 else 1.0


def hard(target: Target, head: TaskHead) -> np.ndarray:
    """The gold labels in the form of soft ones, float64 [N, C]."""
    labels = np.asarray(target.labels)
    if labels.ndim > 1:  # of classify, some may be soft already
        return labels.astype(np.float64)
    return np.eye(len(head.labels))[labels] if head.kind == "one" else labels.astype(np.float64)


def _soft(logits: np.ndarray, targets: Sequence[Target], head: TaskHead) -> np.ndarray:
    """Logits [N, C] of an example as soft labels: a distribution over labels, the chance of each, a number, or a
    distribution over the places of a group, where the gold label is among them."""
    if head.kind == "one":
        return softmax(logits)
    if head.kind in ("several", "sentences", "relevance"):
        return np.asarray(1 / (1 + np.exp(-logits)))
    if head.kind not in IN_GROUPS:
        return logits
    gold = np.concatenate([np.asarray(target.labels, dtype=np.float64) for target in targets])
    group = np.concatenate([np.broadcast_to(np.asarray(target.group), len(target.at)) for target in targets])
    found = np.zeros_like(logits)
    for number in np.unique(group):
        here = group == number
        found[here] = softmax(logits[here].T).T * gold[here].sum(0)
    return found


def check_beside(run: Path, head: TaskHead, *, what: str) -> None:
    """Whether a run was taught the same task; `what` is what it is called.

    Raises:
        ModelError: no such run, or one of several tasks.
        UsageError: it was taught another task, or other labels; or, of a teacher, the task has no soft labels.
    """
    if not run.is_dir():
        raise ModelError(f"{head.name}: expected as {what} the folder of a run, got {run}, which is not there")
    abilities, folder = abilities_of(run)
    other = head_named(abilities, None, folder)
    if other.task != head.task:
        raise UsageError(
            f"{head.name}: expected as {what} a run of {head.task}, got {run}, which was taught {other.task}. Name "
            "another, or leave it out."
        )
    if other.kind != head.kind or other.labels != head.labels:
        raise UsageError(
            f"{head.name}: expected as {what} a run with the labels {_shown(head)}, got {run} with {_shown(other)}. "
            "Fine-tune one on files with the same labels, or leave it out."
        )
    if 0 not in (head.texts, other.texts) and head.texts != other.texts:
        raise UsageError(
            f"{head.name}: expected as {what} a run that reads {head.texts} texts an example, got {run}, which reads "
            f"{other.texts}. Name another, or leave it out."
        )
    if what == "teacher" and head.kind == "text":
        raise UsageError(
            f"{head.name}: {head.task} has no soft labels that a teacher could give: leave teacher out, or have it "
            "write the targets of the training file (bothways predict)"
        )
    if what == "teacher" and head.kind in ("pair", "likeness"):
        raise UsageError(f"{head.name}: {head.task} has no soft labels that a teacher could give: leave teacher out")


def _shown(head: TaskHead) -> str:
    labels = ", ".join(head.labels[:20]) + (", ..." if head.labels[20:] else "")
    return f"{labels} ({head.kind})"


def teacher_for(
    run: Path,
    head: TaskHead,
    examples: Sequence[Example],
    parts: Sequence[Sequence[Sample]],
    *,
    folder: Path,
    again: bool,
    team: Processes,
) -> Teacher:
    """What a run predicts for the training examples. It is asked once: its logits are kept in `folder`, where they are
    read `again` when a run goes on. Every process of a team asks, as none could wait so long; the first keeps them.

    Args:
        parts: the samples of each example, as the pupil reads them.

    Raises:
        DataError: an example that the teacher cannot read.
        UsageError: places that cannot be found in the teacher's tokens.
    """
    kept = again and (folder / FILE).is_file()
    team.wait()  # all have seen whether it is there
    if kept:
        logits = read_sealed(folder / FILE)[0]["logits"]
    else:
        logits = _asked(Tuned.load(run, device=team.device), head, examples, parts)
        if team.first:
            save_sealed(folder / FILE, {"logits": logits})
    return Teacher.of_logits(logits, parts, head)


def _asked(tuned: Tuned, head: TaskHead, examples: Sequence[Example], parts: Sequence[Sequence[Sample]]) -> np.ndarray:
    """float32 [M, C]: a teacher's logits at the places of the samples of every example, in order; nan where it does
    not see one."""
    found: list[np.ndarray] = []
    for begin in range(0, len(examples), AT_ONCE):
        some = _read(tuned, examples[begin : begin + AT_ONCE])
        logits = iter(logits_of(tuned.engine.model, [sample for _, samples in some for sample in samples]))
        for (example, samples), own in zip(some, parts[begin : begin + AT_ONCE], strict=True):
            given = [next(logits)[0] for _ in samples]
            if not all(np.isfinite(one).all() for one in given):
                raise ModelError(f"{head.name}: the teacher's logits are no numbers: it is broken")
            found.append(_placed(example, samples, given, own, head))
    return np.concatenate(found).astype(np.float32)


def _read(tuned: Tuned, examples: Sequence[Example]) -> list[EncodedExample]:
    """As a teacher predicts them; of spans as they are taught: an answer that each window cuts has a window more."""
    if tuned.head.head != "span":
        return tuned.encode(examples)
    tokenizer, length = tuned.engine.tokenizer, tuned.length
    return list(encoded(tuned.task, examples, tokenizer, tuned.head, length=length, skip=refuse, taught=True))


def _placed(
    example: Example, theirs: Sequence[Sample], logits: Sequence[np.ndarray], ours: Sequence[Sample], head: TaskHead
) -> np.ndarray:
    """A teacher's logits of one example, [N, C], at the places of our samples."""
    wanted, given = ([_numbers(sample, head) for sample in side] for side in (ours, theirs))
    alike = len(wanted) == len(given) and all(map(np.array_equal, wanted, given))
    if head.head == "span":
        alike = alike and all(np.array_equal(one.tokens, other.tokens) for one, other in zip(ours, theirs, strict=True))
    if alike:
        return np.concatenate(logits)
    if head.kind in IN_GROUPS:
        raise UsageError(
            f"{head.name}: expected a teacher that reads the tokens that its pupil does, got other ones at "
            f"{example.place}. Fine-tune it from the same model, with the same length."
        )
    table = np.full((1 + max(int(some.max(initial=-1)) for some in (*wanted, *given)), len(head.labels)), np.nan)
    for numbers, some in zip(given, logits, strict=True):
        table[numbers] = some
    return np.concatenate([table[numbers] for numbers in wanted])


def _numbers(sample: Sample, head: TaskHead) -> np.ndarray:
    """What is predicted at each place: the number of a word, or of a token."""
    if len(sample.targets) != 1:
        raise UsageError(f"{head.name}: {head.task} predicts several things at once: leave its teacher out")
    target = sample.targets[0]
    return np.arange(len(target.at)) if target.of is None else np.asarray(target.of)
