"""The small files and runs of the tasks."""

from __future__ import annotations

from tests.tasks.conftest import body, classifier, tagger

__all__ = ["body", "classifier", "tagger"]
