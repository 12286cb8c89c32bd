"""What long commands would give, where only what is said of it is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def found(out: Path) -> dict[str, Any]:
    """What a search would give."""
    trials = [{"label": name, "seconds": 9.0, "loss": loss} for name, loss in (("default", 3.0), ("rate x 2", None))]
    best = {"label": "default", "folder": str(out / "trials" / "default")}
    return {"trials": trials, "best": best, "recipe": str(out / "recipe.py")}


def budget() -> dict[str, Any]:
    """What a budget in words would give."""
    shares, sets = {"official": 0.5, "sum": 0.5, "mean": 0.5}, ("p[/b]", "q")
    scores = {"left to right": {**shares, "low": 0.4, "high": 0.6, "ties": 0, "items": 3}}
    point = {"words": 10, "tokens": 12, "step": 1, "seconds": 1.0, "next_accuracy": 0.1, "fill_accuracy": None}
    points = [{**point, "scores": dict.fromkeys(sets, scores)}]
    counted = {name: {"unigram": shares} for name in sets}
    given = {"pairs": dict.fromkeys(sets, 3), "pairs_each": 3, "words": 10, "passes": 1, "parameters": 1000}
    return {**given, "points": points, "counted": counted}
