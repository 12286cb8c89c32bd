"""A chat template for every tokenizer: of the tokens that it has, and the same in transformers; or its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bothways.errors import ModelError
from bothways.model import Abilities
from bothways.model.abilities import Writes
from bothways.tasks import task_named
from bothways.text import Tokenizer
from bothways.text.chat import chat_tokens
from bothways.text.conversation import DAY, conversation
from bothways.training.finetuning.framing import chat_frame, frame_of, framed_for
from tests.inference.made import tokenizer
from tests.text.folders import FOLDERS, TEXTS, transformers
from tests.text.test_conversation import CHATML, both

INSTRUCT, TEXT2TEXT = task_named("instruct"), task_named("text2text")


@pytest.mark.parametrize("kind", FOLDERS)
def test_every_tokenizer_has_a_template(kind: str, tmp_path: Path) -> None:
    """Its answers end with a token that it has, and transformers writes the same tokens."""
    FOLDERS[kind](tmp_path / "own")
    own = Tokenizer.load(tmp_path / "own")
    framed = framed_for(own, Abilities(), INSTRUCT)
    assert framed.vocabulary.size == own.vocabulary.size and framed_for(own, Abilities(), TEXT2TEXT) is own
    before, behind, end = chat_frame(framed)
    assert (before, behind) == ((), ()) and end in framed.vocabulary.ends
    framed.save(tmp_path / "saved", template="own")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    again = Tokenizer.load(tmp_path / "saved")
    asked, said = ({"role": "user", "content": TEXTS[3]}, {"role": "assistant", "content": TEXTS[1].strip()})
    for talk in ([asked, said], [{"role": "system", "content": "The"}, asked, said, asked, said]):
        found = conversation(framed, talk)
        assert [found.tokens[stop - 1] for _, stop in found.answers] == [end] * (len(talk) // 2)
        assert conversation(again, talk) == found
        assert theirs.apply_chat_template(talk, return_dict=False) == found.tokens
        opened = theirs.apply_chat_template(talk[:-1], add_generation_prompt=True, return_dict=False)
        assert opened == chat_tokens(framed, talk[:-1], now=DAY) == found.tokens[: found.answers[-1][0]]


def test_a_template_that_is_there_is_taken(tmp_path: Path) -> None:
    own, _ = both(tmp_path, CHATML)
    framed = framed_for(own, Abilities(), TEXT2TEXT, INSTRUCT)
    assert framed.chat == CHATML and framed.number("<|im_end|>") in framed.vocabulary.ends
    ours = framed_for(tokenizer(), Abilities(objective="causal"), INSTRUCT)
    assert "[CLS]" in ours.chat and chat_frame(ours)[2] == ours.vocabulary.sep


def test_what_stands_around_a_source_is_not_what_a_chat_has() -> None:
    """A model that was taught instructions may be taught to write for a source then."""
    own = tokenizer()
    head = INSTRUCT.head([], reads="encoder")
    writes = Writes(8, (), (), own.vocabulary.sep, chat=True)
    taught = Abilities("causal", heads={"words": replace(head, writes=writes)})
    _, behind, end = frame_of(taught, own, apart=False)
    assert behind and end == own.vocabulary.sep


def test_a_template_that_ends_no_answer_is_refused_before_anything(tmp_path: Path) -> None:
    own, _ = both(tmp_path, "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    with pytest.raises(ModelError, match="ends an answer with no special token"):
        framed_for(own, Abilities(), INSTRUCT)
