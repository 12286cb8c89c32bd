"""The progress display: what it says, how often, and that it says it on a terminal too."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from bothways.terminal import compact
from bothways.training.display import Display


def train(step: int, of: int, **others: Any) -> dict[str, Any]:
    return {
        "kind": "train",
        "step": step,
        "steps": of,
        "progress": step / of,
        "tokens": 2048 * step,
        "loss": 6.1,
        "losses": {"causal": 6.1, "mlm": 6.31},
        "learning_rate": 0.003,
        "tokens_per_second": 24_000.0,
        "useful_share": 0.66,
        "skipped": 0,
    } | others


VALIDATION = {
    "kind": "validation",
    "step": 100,
    "tokens": 204_800,
    "losses": {"causal": 5.9, "mlm": 6.02},
    "bits_per_byte": {"causal": 2.81},
    "fill_accuracy": 0.31,
    "next_accuracy": None,
}


class Clock:
    """Seconds that pass when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def shown(lines: list[dict[str, Any]], *, seconds_each: float) -> list[str]:
    written: list[str] = []
    clock = Clock()
    with Display(clock=clock, plain=True, say=written.append) as show:
        for line in lines:
            show(line)
            clock.now += seconds_each
    return written


def test_plain_lines_align_and_say_everything() -> None:
    lines = [train(1, 1000), train(60, 1000, tokens_per_second=9_870), VALIDATION, train(1000, 1000)]
    losses = "causal  6.100  mlm  6.310"
    assert shown(lines, seconds_each=59) == [
        f"train     step      1/1000   0.1%  {losses}    24k tokens/s  66% of peak  lr 3.0e-03  -:--:-- left",
        f"train     step     60/1000   6.0%  {losses}  9.87k tokens/s  66% of peak  lr 3.0e-03  0:15:40 left",
        "held-out  step    100/1000   6.0%  causal  5.900  mlm  6.020  2.810 bits/byte  fills 31.0%",
        f"train     step   1000/1000 100.0%  {losses}    24k tokens/s  66% of peak  lr 3.0e-03  0:00:00 left",
    ]


@pytest.mark.parametrize(
    ("seconds_each", "expected"),
    [
        (0.0, 21),  # fast: the first, then one every 5 %
        (1.0, 101),  # slow: the first, then one every 10 seconds
    ],
)
def test_how_often(seconds_each: float, expected: int) -> None:
    assert len(shown([train(step, 1000) for step in range(1001)], seconds_each=seconds_each)) == expected


def test_time_left_counts_from_where_this_run_began() -> None:
    resumed = shown([train(900, 1000), train(950, 1000)], seconds_each=60)
    assert resumed[-1].endswith("0:01:00 left")


def test_a_budget_in_seconds_has_no_total_until_it_is_known() -> None:
    clock, written = Clock(), list[str]()
    with Display(clock=clock, plain=True, say=written.append) as show:
        show(VALIDATION)
        show(train(0, 1000, steps=None))
        show(train(500, 1000))
    assert [line.split("%")[0] for line in written] == [
        "held-out  step    100   0.0",
        "train     step      0   0.0",
        "train     step    500/1000  50.0",
    ]


def test_what_is_not_known_is_left_out() -> None:
    bare = train(1, 10, useful_share=None, learning_rate=None, skipped=3)
    assert shown([bare], seconds_each=1)[0].endswith("24k tokens/s  3 skipped  -:--:-- left")


def test_the_live_bar_shows_training_speed_and_the_last_validation() -> None:
    screen = io.StringIO()
    clock = Clock()
    console = Console(file=screen, force_terminal=True, width=110, color_system=None, markup=False)
    with Display(clock=clock, plain=False, console=console) as show:
        show(train(100, 1000))
        clock.now += 90
        show(VALIDATION)
        show(train(200, 1000))
    last = screen.getvalue().rpartition("━ ")[2]
    assert "20.0%" in last
    assert "step    200/1000" in last
    assert "0:12:00 left" in last
    assert "held-out at 100  causal  5.900  mlm  6.020  2.810 bits/byte  fills 31.0%" in last
    assert " 24k tokens/s  66% of peak  lr 3.0e-03  410k tokens so far" in last


def test_plain_when_standard_output_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(clock=Clock()) as show:
        show(train(1, 10))
    assert capsys.readouterr().out.startswith("train     step      1/10  10.0%")


def test_compact() -> None:
    assert [compact(n) for n in (0, 7.25, 999, 999.6, 2400, 999_600, 20_480_000, 1.2e11, 3e15)] == [
        "0", "7.25", "999", "1k", "2.4k", "1M", "20.5M", "120G", "3P",
    ]  # fmt: skip


def test_a_spike_is_said_at_once_and_counted_and_halves_are_said_once() -> None:
    """Whatever the clock says; of halves the first step says it, and a resumed run once more."""
    lines = [train(step, 1000) for step in (1, 2, 3, 4)]
    lines[1] |= {"spikes": 1, "spike": 7.25, "loss": 61.0}
    lines[2] |= {"spikes": 1, "pieces": 2}
    lines[3] |= {"spikes": 1, "pieces": 2}
    said = shown(lines, seconds_each=0.1)
    assert said[1:] == [
        "step 2 is not learned: its loss of 61.000 is a spike, above 7.250",
        "out of memory at step 3: from here on micro-batches are read in 2 pieces",
    ]
    assert shown(lines[1:2], seconds_each=1)[-1].endswith("lr 3.0e-03  1 spike  -:--:-- left")


def test_a_terminal_is_not_drawn_at_every_step_of_a_fast_run() -> None:
    drawn, clock = list[bool](), Clock()
    console = Console(file=io.StringIO(), force_terminal=True, width=110, color_system=None, markup=False)
    with Display(clock=clock, plain=False, console=console) as show:
        assert show._live
        update = show._live.update
        show._live.update = lambda panel, *, refresh: (drawn.append(refresh), update(panel, refresh=refresh))  # type: ignore[method-assign, assignment]
        for step in range(1, 1001):
            show(train(step, 1000))
            clock.now += 1 / 64
        show(VALIDATION)
    assert 140 <= sum(drawn) <= 150 and drawn[-2:] == [True, True]  # of 1,000 in 15.6 s
