"""`bothways chat`: questions from a pipe and on a terminal, commands, files of talks, several models side by side."""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import bothways
from bothways.cli import app
from bothways.cli import chat as command
from bothways.cli.chat import Talk
from bothways.errors import DataError, UsageError
from bothways.inference.conversation import Conversation
from bothways.inference.decoding.options import GenerationOptions
from tests.cli.conftest import Invoke
from tests.inference.test_conversation import talking

Say = Callable[..., str]
GREEDY = ("--temperature", "0", "--max-new-tokens", "5")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talking(tmp_path_factory.mktemp("talking"))


@pytest.fixture(scope="module")
def say(model: Path) -> Say:
    """What is printed when these lines come from a pipe."""

    def call(lines: str, *options: object) -> str:
        words = ["chat", str(model), *GREEDY, *map(str, options)]
        return CliRunner().invoke(app, words, input=lines, catch_exceptions=False).stdout

    return call


def talks(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_question_and_many(invoke: Invoke, model: Path, say: Say) -> None:
    loaded = bothways.load(model)
    expected = loaded.chat([{"role": "user", "content": "the fox"}], temperature=0.0, max_new_tokens=5).text
    assert invoke("chat", model, "the fox", *GREEDY).stdout == f"{expected}\n" == say("the fox\n\n")
    more = [{"role": "user", "content": "the fox"}, {"role": "assistant", "content": expected}]
    second = loaded.chat([*more, {"role": "user", "content": "a dog"}], temperature=0.0, max_new_tokens=5).text
    assert say("the fox\na dog\n/exit\nnever\n") == f"{expected}\n{second}\n"


def test_a_talk_is_kept_and_gone_on_with(say: Say, tmp_path: Path) -> None:
    path = tmp_path / "talks.jsonl"
    say("the fox\n", "--save", path, "--system", "Be a dog.")
    say("a dog\n", "--save", path)
    first, second = talks(path)
    assert [one["role"] for one in first["messages"]] == ["system", "user", "assistant"]
    say("once\n", "--save", path, "--load", path)
    assert talks(path)[0] == first and len(talks(path)) == 2
    assert talks(path)[1]["messages"][:2] == second["messages"] and len(talks(path)[1]["messages"]) == 4


def test_commands(say: Say, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    said = say(f"the fox\na dog\n/undo\n/system Be brief.\n/system\n/save {path}\n/reset\n/undo\n/sav\n /save\n")
    assert "taken back\nBe brief.\n" in said and "begun anew\nnothing was said yet\n" in said
    assert "expected one of these commands, got /sav" in said and "/reset" in said
    assert [one["content"] for one in talks(path)[0]["messages"]][:2] == ["Be brief.", "the fox"]


def test_a_talk_that_is_ended_stays_in_its_file(say: Say, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    say("the fox\n/reset\na dog\n", "--save", path)
    assert [one["messages"][0]["content"] for one in talks(path)] == ["the fox", "a dog"]


def test_several_answer_side_by_side_each_in_a_talk_of_its_own(model: Path, say: Say, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    said = say("the fox\na dog\n", "--beside", f"again={model}", "--save", path)
    mine, again = talks(path)
    assert (mine["model"], again["model"]) == (str(model), "again") and mine["messages"] == again["messages"]
    answer = mine["messages"][1]["content"]
    assert said.startswith(f"{model}:\n{answer}\nagain:\n{answer}\n{model}:\n")
    say("once\n", "--beside", f"again={model}", "--save", path, "--load", path)
    assert [len(one["messages"]) for one in talks(path)] == [6, 6]


def test_a_talk_of_one_leaves_that_of_the_other_and_what_else_a_line_holds(
    model: Path, say: Say, tmp_path: Path
) -> None:
    path = tmp_path / "talk.jsonl"
    say("the fox\n", "--beside", f"again={model}", "--save", path)
    path.write_text('{"messages": [], "id": 7}\n' + path.read_text())
    say("once\n", "--save", path, "--load", path)
    other, again, mine = talks(path)
    assert other == {"messages": [], "id": 7} and again["model"] == "again" and len(again["messages"]) == 2
    assert len(mine["messages"]) == 4


def test_a_model_beside_begins_anew_where_the_file_has_no_talk_of_it(model: Path, say: Say, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    say("the fox\n", "--beside", f"b={model}", "--save", path)
    say("once\n", "--beside", f"c={model}", "--save", path, "--load", path)
    assert [(one["model"], len(one["messages"])) for one in talks(path)] == [("b", 2), (str(model), 4), ("c", 2)]


def test_a_talk_that_is_saved_twice_stands_in_the_file_once(say: Say, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text('{"messages": [], "id": 7}\n')
    say(f"the fox\n/save {path}\na dog\n/save {path}\n")
    first, mine = talks(path)
    assert first == {"messages": [], "id": 7} and len(mine["messages"]) == 4


def test_a_talk_that_was_saved_stays_when_another_is_begun(say: Say, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    say(f"the fox\n/save {path}\n/reset\na dog\n/save {path}\n/save {path}\n")
    assert [one["messages"][0]["content"] for one in talks(path)] == ["the fox", "a dog"]


def test_what_cannot_be_done_does_not_end_a_talk_on_a_terminal(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    typed = iter(["the fox", f"/save {tmp_path}", f"/save {tmp_path / 't.jsonl'}", "/exit"])
    monkeypatch.setattr(builtins, "input", lambda prompt: next(typed))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    app(["chat", str(model), "--save", str(tmp_path / "t.jsonl"), *GREEDY], standalone_mode=False)
    assert len(talks(tmp_path / "t.jsonl")) == 1  # saved there twice, but a talk all the same
    assert capsys.readouterr().err


def test_undo_takes_back_the_last_question_from_those_that_answered_it() -> None:
    talk = Talk({name: Conversation(None, GenerationOptions()) for name in ("a", "b")})  # type: ignore[arg-type]
    for one, questions in zip(talk.conversations.values(), (["p", "q"], ["p"]), strict=True):
        one.messages = [{"role": role, "content": text} for text in questions for role in ("user", "assistant")]
    talk.asked = ["p", "q", "refused by both"]
    assert talk.undo() and [one.question for one in talk.conversations.values()] == ["p", "p"]
    assert talk.undo() and [one.question for one in talk.conversations.values()] == [None, None]
    assert not talk.undo()


def test_turns_that_are_not_read_any_more_are_said(model: Path) -> None:
    found = CliRunner().invoke(app, ["chat", str(model), *GREEDY], input="the quick brown dog jumps\n" * 5)
    assert "the first 2 messages are no longer read" in found.stderr


def test_an_empty_file_and_a_question_that_is_too_long_are_refused(say: Say, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"none.jsonl: expected a line of messages, got none"):
        say("the fox\n", "--load", tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="ask about less"):
        say("zebra " * 60)


def test_on_a_terminal_ctrl_c_stops_an_answer_and_not_the_talk(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    typed: Iterator[str | type[BaseException]] = iter(["the fox", KeyboardInterrupt, "zebra " * 60, "a dog", EOFError])
    shown: list[str] = []

    def read(prompt: str) -> str:
        line = next(typed)
        if isinstance(line, str):
            return line
        raise line

    def stopped(parts: Iterable[str]) -> str:
        shown.append(next(iter(parts)))
        raise KeyboardInterrupt

    monkeypatch.setattr(builtins, "input", read)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.modules[command.__module__], "show_parts", stopped)
    app(["chat", str(model), "--save", str(tmp_path / "t.jsonl"), *GREEDY], standalone_mode=False)
    (kept,) = talks(tmp_path / "t.jsonl")
    assert [one["content"] for one in kept["messages"]] == ["the fox", shown[0], "a dog", shown[1]]
    assert "ask about less" in capsys.readouterr().err


def test_adapters_answer_beside_their_model(model: Path, say: Say, tmp_path: Path) -> None:
    for name in ("train", "dev"):
        (tmp_path / f"{name}.jsonl").write_text('{"source": "the fox", "target": "a dog"}\n' * 16)
    run = bothways.finetune(
        bothways.FinetuneConfig(
            model=str(model),
            task="text2text",
            train=tmp_path / "train.jsonl",
            dev=tmp_path / "dev.jsonl",
            out=tmp_path / "run",
            epochs=2,
            length=40,
            adapter="lora(rank=2)",
            objective="causal",
        )
    )
    said = say("the fox\n", "--adapter", f"dogs={run}", "--adapter", f"too={run}")
    names = [line for line in said.splitlines() if line.endswith(":")]
    assert names[0] == f"{model}:" and names[-2:] == ["dogs:", "too:"]
    plain, answers = say("the fox\n"), said.partition("dogs:\n")[2].split("too:\n")
    assert said.startswith(f"{model}:\n{plain}") and answers[0] == answers[1]


@pytest.mark.parametrize(
    "words", [("--adapter", "mine"), ("--adapter", "=x"), ("--beside", "one=x", "--beside", "one=y")]
)
def test_answers_without_a_name_of_their_own_are_refused(say: Say, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="expected NAME=FOLDER, got|two models are called one"):
        say("the fox\n", *words)
