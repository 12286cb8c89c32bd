"""The fields of records: there, or refused by file, line and name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bothways.errors import DataError


def text_field(path: Path, line: int, record: Mapping[str, Any], field: str) -> str:
    """
    Raises:
        DataError: there is no such field, or no text in it.
    """
    found = record.get(field)
    if not isinstance(found, str) or not found.strip():
        got = f"got {found!r}" if field in record else f"got only {', '.join(record)}"
        raise DataError(f"{path}, line {line}: expected the field {field!r}, {got}")
    return found


def number_field(path: Path, line: int, record: Mapping[str, Any], field: str) -> float:
    """
    Raises:
        DataError: there is no such field, or no number in it.
    """
    try:
        found = float(record[field])
    except (KeyError, TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        got = "nothing" if record.get(field) is None else f"{record[field]!r:.80}"
        raise DataError(f"{path}, line {line}: expected a number as {field!r}, got {got}")
    return found
