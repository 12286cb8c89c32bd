"""A linear probe: what a linear classifier reads off states that nothing trained for it.

Multinomial logistic regression with an L2 penalty, behind a first step that is fitted on the training side too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

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
            side.
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
        classifier = GridSearchCV(classifier, {"logisticregression__C": list(strengths)}, cv=FOLDS)
    return np.asarray(classifier.fit(inputs[0], labels[0]).predict(inputs[1]) == np.asarray(labels[1]))
