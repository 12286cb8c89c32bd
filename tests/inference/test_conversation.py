"""A conversation is answered as the model's chat is, forgets by whole turns, and is a file that can be trained on."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

import bothways
from bothways.errors import DataError, UsageError
from bothways.inference.conversation import Conversation, Transcript, read_transcripts, write_transcripts
from bothways.inference.decoding.options import GenerationOptions
from bothways.text.chat import chat_tokens
from tests.inference.made import CAUSAL, make_run

TEMPLATE = (
    "{% for m in messages %}{{ m.role[0] }} {{ m.content }}[SEP]{% endfor %}{% if add_generation_prompt %}a{% endif %}"
)
NOW = datetime(2026, 1, 1)
GREEDY = GenerationOptions(temperature=0.0, max_new_tokens=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bothways.LanguageModel:
    return bothways.load(talking(tmp_path_factory.mktemp("talking")))


def talking(folder: Path, *, length: int = 64) -> Path:
    """A run of random weights with a chat template, which reads so many tokens."""
    make_run(folder, CAUSAL, length=length)
    (folder / "decoder" / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def test_every_answer_is_that_of_chat_to_all_messages(model: bothways.LanguageModel) -> None:
    talk = Conversation(model, GREEDY)
    for question in ("the fox", "a dog"):
        expected = model.chat([*talk.messages, {"role": "user", "content": question}], GREEDY, now=NOW).text
        assert "".join(talk.ask(question, now=NOW)) == expected == talk.messages[-1]["content"]
    assert [message["role"] for message in talk.messages] == ["user", "assistant"] * 2


def test_the_same_question_is_drawn_anew_and_the_same_talk_comes_twice(model: bothways.LanguageModel) -> None:
    def talked() -> list[str]:
        talk = Conversation(model, GenerationOptions(max_new_tokens=8, seed=3))
        return ["".join(talk.ask("fox", now=NOW)) for _ in range(3)]

    assert talked() == talked() and len(set(talked())) > 1


def test_the_oldest_turns_are_forgotten_where_all_are_too_many(model: bothways.LanguageModel) -> None:
    talk = Conversation(model, GREEDY, [{"role": "system", "content": "Be a fox."}])
    for number in range(6):
        "".join(talk.ask(f"the quick dog {number}", now=NOW))
    assert talk.unread > 0 and talk.unread % 2 == 0 and len(talk.messages) == 13  # nothing is lost of the talk itself
    seen = [talk.messages[0], *talk.messages[1 + talk.unread : -1]]
    room = model.engine.length - GREEDY.max_new_tokens
    assert len(chat_tokens(model.tokenizer, seen, now=NOW)) <= room
    more = [talk.messages[0], *talk.messages[1 + talk.unread - 2 : -1]]
    assert len(chat_tokens(model.tokenizer, more, now=NOW)) > room
    assert talk.messages[-1]["content"] == model.chat(seen, GREEDY, now=NOW).text


def test_a_question_that_is_longer_than_the_model_reads_is_refused(model: bothways.LanguageModel) -> None:
    talk = Conversation(model, GREEDY)
    with pytest.raises(UsageError, match="the question has .* tokens .* and the model reads 64: ask about less"):
        next(talk.ask("zebra " * 60))
    assert talk.messages == []


def test_an_answer_that_is_stopped_is_what_was_said(model: bothways.LanguageModel) -> None:
    talk = Conversation(model, GenerationOptions(temperature=0.0, max_new_tokens=30, min_new_tokens=30))
    parts = talk.ask("the fox", now=NOW)
    said = next(parts) + next(parts)
    parts.close()
    assert talk.messages[-1] == {"role": "assistant", "content": said}


def test_an_answer_that_is_left_off_and_closed_late_takes_no_later_turn_away(model: bothways.LanguageModel) -> None:
    talk = Conversation(model, GenerationOptions(temperature=0.0, max_new_tokens=30, min_new_tokens=30))
    parts = talk.ask("the fox", now=NOW)
    next(parts)
    "".join(talk.ask("a dog", now=NOW))
    later = [*talk.messages]
    parts.close()
    assert talk.messages == later and later[0]["content"] == "a dog"


def test_turns_are_taken_back_and_the_system_stays(model: bothways.LanguageModel) -> None:
    talk = Conversation(model, GREEDY, [{"role": "system", "content": "Be a fox."}])
    assert not talk.undo()
    for question in ("one", "two"):
        "".join(talk.ask(question, now=NOW))
    assert talk.undo() and [message["content"] for message in talk.messages][:2] == ["Be a fox.", "one"]
    talk.instruct("Be a dog.")
    assert talk.system == "Be a dog." and len(talk.messages) == 3
    talk.begin()
    assert talk.messages == [{"role": "system", "content": "Be a dog."}]


def test_transcripts_come_back(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "世界?\n"}, {"role": "assistant", "content": '"yes"'}]
    made = [Transcript(messages), Transcript(messages[:1], "other")]
    write_transcripts(tmp_path / "talks.jsonl", made)
    assert read_transcripts(tmp_path / "talks.jsonl") == made
    assert json.loads((tmp_path / "talks.jsonl").read_text().splitlines()[0]) == {"messages": messages}


@pytest.mark.parametrize("line", ["{", "[]", '{"messages": 3}', '{"messages": [{"role": "robot", "content": ""}]}'])
def test_a_line_that_is_no_talk_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_text(f'{{"messages": []}}\n\n{line}\n')
    with pytest.raises(DataError, match=r"talks.jsonl, line 3: expected"):
        read_transcripts(path)
