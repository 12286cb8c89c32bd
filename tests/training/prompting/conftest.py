"""A body that several tests go on from."""

from __future__ import annotations

from tests.tasks.conftest import body

__all__ = ["body"]
