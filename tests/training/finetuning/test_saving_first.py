"""A body that could not be saved again is refused before it is fine-tuned."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothways.errors import ModelError
from bothways.training.finetuning import finetune
from tests.model.huggingface.test_published_answers import published
from tests.tasks.conftest import config

pytest.importorskip("transformers")


@pytest.mark.parametrize("task", ["classify", "tag"])
def test_a_shape_that_cannot_be_saved_is_not_trained(task: str, tmp_path: Path) -> None:
    """A BERT of one segment whose tokenizer pads with token 0: written back it would be a RoBERTa."""
    body = published(tmp_path / "body", "Bert", "MaskedLM", type_vocab_size=1)
    with pytest.raises(ModelError, match="roberta's padding is token 1, this tokenizer's is 0"):
        finetune(config(tmp_path / "tuned", body, task=task))
    assert not (tmp_path / "tuned" / "run").exists()
