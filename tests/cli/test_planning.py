"""`bothways plan`: what it works out, and options that would be ignored."""

from __future__ import annotations

import json

import pytest

from bothways.errors import UsageError
from tests.cli.conftest import Invoke


def test_a_run_with_forward_passes_again_ends_in_time(invoke: Invoke) -> None:
    asked = ["plan", "--size", "24x2048", "--time", "7d", "--hardware", "h100", "--json"]
    plain, again = (json.loads(invoke(*asked, *more).output) for more in ([], ["--set", "recompute=true"]))
    assert plain["seconds"] == pytest.approx(7 * 86400) and again["seconds"] == pytest.approx(7 * 86400)
    assert again["tokens"] == pytest.approx(plain["tokens"] * 3 / 4)


def test_money_and_memory_are_said(invoke: Invoke) -> None:
    said = invoke("plan", "--size", "24x2048", "--hardware", "8xa100", "--price", 2).output
    assert "8 x a100" in said and "memory, sharded" in said and "money" in said and "unknown" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--check", "--tokens", "5B"], "published figures are worked out without tokens"),
        (["--parameters", "1B", "--hardware", "a100", "--objective", "mlm"], "parameters is planned without objective"),
        (["--time", "30d", "--hardware", "h100", "--set", "length=512"], "worked out without length"),
        (
            ["--time", "30d", "--hardware", "h100", "--set", "recompute=true"],
            "worked out without recompute",
        ),
        (
            ["shards", "--set", "vocabulary=999", "--time", "1h"],
            "vocabulary of their own: leave out vocab",
        ),
        (["--time", "1h", "--price", 2], "this machine has no price"),
        (["--size", "tiny", "--tokens", "abc"], "tokens: expected a number above 0, as 175B or 1.5e9, got 'abc'"),
        (["--size", "tiny", "--tokens", "3T", "--time", "1h"], "give tokens or time, not both"),
        (
            ["--size", "tiny", "--hardware", "h100", "--time", "1e306d"],
            "time: expected 300s, 40min, 2h or 30d",
        ),
        (["--size", "tiny", "--hardware", "h100", "--price", "inf"], "a price is a number of 0 or more, got inf"),
        (["--size", "tiny", "--hardware", "8xh101"], "Did you mean 'h100'"),
        (["--size", "tiny", "--hardware", "8 x h100"], "hardware: expected here, or COUNTxCHIP@UTILISATION"),
        (["--size", "tiny", "--hardware", "h100@0%"], "utilisation is a share of the peak, above 0"),
        ([], "give --size or --parameters"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_is_refused_at_once(
    options: list[object], said: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bothways.planning.here as here

    monkeypatch.setattr(here, "pace", lambda *args, **given: pytest.fail("the machine was measured first"))
    with pytest.raises(UsageError, match=said):
        invoke("plan", *options)
