"""A linear probe: what a linear classifier reads off states that nothing trained for it.

Multinomial logistic regression with an L2 penalty, behind a first step that is fitted on the training side too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bothways.corpus.lines import refuse
from bothways.errors import DataError
from bothways.tasks import task_named
from bothways.tasks.labels import labels_in
from bothways.tasks.reading import read_examples
from bothways.tasks.task import Example

ITERATIONS = 300
FOLDS = 5


def linear_probe(
    inputs: tuple[Any, Any],
    labels: tuple[Sequence[str] | np.ndarray, Sequence[str] | np.ndarray],
    *,
    strengths: Sequence[float],
    first: Any = None,
) -> np.ndarray:
    """[test] bool: which test items are classified right.

    Args:
        inputs: features [train, D] and [test, D], or what `first` makes features of.
        labels: of both sides.
        strengths: inverse strengths of the penalty; of several, the best by 5-fold cross-validation on the training
            side, or as many folds as the commonest label has examples; the first where each has one.
        first: a transformer of scikit-learn's; None standardises features.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(set(labels[0])) < 2:  # a control of few kinds
        return np.asarray(np.asarray(labels[1]) == labels[0][0])
    classifier: Any = make_pipeline(first or StandardScaler(), LogisticRegression(C=strengths[0], max_iter=ITERATIONS))
    if len(strengths) > 1:
        commonest = int(np.unique(labels[0], return_counts=True)[1].max())
        if (folds := min(FOLDS, commonest)) > 1:  # else each label has one example, and none is left to choose by
            classifier = GridSearchCV(classifier, {"logisticregression__C": list(strengths)}, cv=folds)
    return np.asarray(classifier.fit(inputs[0], labels[0]).predict(inputs[1]) == np.asarray(labels[1]))


def read_sides(task: str, train: Path, test: Path) -> tuple[list[Example], list[Example]]:
    """The examples to train a probe on and those to test it on, as `finetune` reads them: one label a text or a word.

    Raises:
        DataError: what cannot be read, a single class, or test labels that were never trained on.
        UsageError: no field that tells by its name that it is the text, or the label.
    """
    sides = [read_examples(task_named(task), path, skip=refuse)[1] for path in (train, test)]
    if task == "classify" and (
        odd := next((one for side in sides for one in side if isinstance(one.gold, tuple)), None)
    ):
        raise DataError(f"{odd.place}: expected one label, got a list")
    known, tested = ({label for example in side for label in labels_in(example.gold)} for side in sides)
    if len(known) < 2:
        raise DataError(f"{train}: a probe needs two classes or more, got only {', '.join(known)!r}")
    if new := sorted(tested - known):
        raise DataError(f"{test}: the labels {', '.join(new)} are not in {train}")
    if len(sides[0][0].texts) != len(sides[1][0].texts):
        raise DataError(f"{test}: expected as many texts a record as {train} has")
    return sides[0], sides[1]
