"""Items that stand in the training text are found, whatever the tokenizer leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers

from bothways.corpus import PrepareOptions, Shards, prepare
from bothways.evaluation.comparison.contamination import contamination
from bothways.evaluation.comparison.eval_data import EvalData, Pairs

HINDI = "हिन्दी विश्व की एक प्रमुख भाषा है और भारत की राजभाषा भी है"
FRENCH = "Élève et élèves étaient déjà très âgés là où naît la forêt"


@pytest.mark.parametrize(("item", "documents"), [(HINDI, 2), (FRENCH, 3)])
def test_items_are_read_as_the_tokenizer_reads(item: str, documents: int, tmp_path: Path) -> None:
    """One that takes small letters and drops accents, as uncased BERT does, which drops signs of Hindi's vowels, too;
    of three documents that hold one, some are held out."""
    texts = [f"{item} {number}" for number in range(3)] + [f"nothing of it {number}" for number in range(30)]
    (tmp_path / "a.txt").write_text("\n".join(texts), encoding="utf-8")
    made = tokenizers.BertWordPieceTokenizer(lowercase=True)
    made.train_from_iterator(texts, vocab_size=600, show_progress=False)
    made.save(str(tmp_path / "tokenizer.json"))
    options = PrepareOptions(documents="lines", validation=0.1, tokenizer=tmp_path / "tokenizer.json")
    prepare([str(tmp_path / "a.txt")], out=tmp_path / "shards", options=options)
    (found,) = contamination(EvalData(Pairs([item], ["x"], [""]), {}, {}, 0, ""), Shards.open(tmp_path / "shards"))
    assert found == {"eval_data": "minimal pairs", "documents": documents, "items": 1, "too_short": 0}
