"""Tables for those who have pandas, which nothing else here needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bothways.errors import needs

if TYPE_CHECKING:
    import pandas


def data_frame(rows: Iterable[Any]) -> pandas.DataFrame:
    """A row for each of what is given, records (dataclasses) or dicts; their fields are the columns.

    Raises:
        MachineError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise needs("pandas", "pandas") from None
    return pandas.DataFrame(list(rows))
