"""A model whose numbers are not finite answers nothing: whatever is asked ends with an error that names it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bothways.errors import ModelError
from bothways.inference import LanguageModel
from tests.inference.made import load

TEXT = "the river runs"
ASKED: dict[str, Callable[[LanguageModel], object]] = {
    "embed": lambda model: model.embed([TEXT]),
    "layers": lambda model: model.layers([TEXT]),
    "fill": lambda model: model.fill("the [MASK] runs"),
    "prompt": lambda model: model.prompt(TEXT, "{text}[MASK]", {"first": "a", "second": "b"}),
    "infill": lambda model: model.infill("the [MASK] runs"),
    "score": lambda model: model.score(TEXT),
    "score by hiding": lambda model: model.score(TEXT, how="pseudo"),
    "generate": lambda model: model.generate(TEXT, max_new_tokens=3),
    "beams": lambda model: model.generate(TEXT, max_new_tokens=3, num_beams=2),
    "stream": lambda model: list(model.stream(TEXT, max_new_tokens=3)),
}


@pytest.fixture(params=["nan", "inf"])
def broken(request: pytest.FixtureRequest, run: Path, tmp_path: Path) -> LanguageModel:
    folder = shutil.copytree(run, tmp_path / "run")
    tensors = load_file(run / "encoder" / "model.safetensors")
    name = next(name for name in tensors if "down_proj" in name)
    tensors[name][0, 0] = float(request.param)
    for face in ("encoder", "decoder"):
        save_file(tensors, folder / face / "model.safetensors", metadata={"format": "pt"})
        (folder / face / "SHA256SUMS").unlink()
    return load(folder)


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_nothing_is_answered(
    ask: Callable[[LanguageModel], object], broken: LanguageModel, loaded: LanguageModel
) -> None:
    ask(loaded)
    with pytest.raises(ModelError, match=r"run/encoder: expected numbers as its answer, got what is not finite"):
        ask(broken)


def test_finite_numbers_are_left_as_they_are(loaded: LanguageModel) -> None:
    """However large, and also where a sum of them in their own precision would be infinite."""
    large = torch.full((4, 4), 60_000.0, dtype=torch.float16)
    assert loaded.engine.finite(large) is large
    assert len(loaded.engine.finite(torch.empty(0))) == 0
    for odd in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ModelError, match="not finite"):
            loaded.engine.finite(torch.tensor([0.0, odd, 1.0]))
