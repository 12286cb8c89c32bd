"""Instructions and conversations of three forms become the same messages; what is none is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bothways.tasks.messages import messages_of, roles_of, unescaped
from bothways.tasks.records import BadField, Columns, plain

TALK = ({"role": "user", "content": "Why?"}, {"role": "assistant", "content": "1 < 2"})


def read(record: dict[str, Any], *, gold: bool = True) -> Any:
    needed, optional = roles_of({plain(name) for name in record}, gold=gold)
    file = Path("a.jsonl")
    columns = Columns.guess(record, needed=needed, optional=optional, given={}, file=file)
    return messages_of(record, columns, gold=gold)


@pytest.mark.parametrize(
    "record",
    [
        {"messages": list(TALK)},
        {"messages": [TALK[0], {"role": "assistant", "content": [{"type": "text", "text": "1 < 2"}]}]},
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "1 &lt; 2"}], "id": 3},
        {"instruction": "Why?", "output": "1 &lt; 2"},
        {"instruction": "Why?", "input": "", "output": "1 &#60; 2"},
        {"instruction": "Why?", "input": "&lt;noinput&gt;", "output": "1 &#x3C; 2"},
        {"Instruction": "Why?", "Input": "<无输入>", "Output": "1 < 2"},
        {"prompt": "Why?", "completion": "1 < 2"},
        {"指令": "Why?", "输入": " ", "输出": "1 < 2"},
    ],
    ids=str,
)
def test_records_of_every_form_are_messages(record: dict[str, Any]) -> None:
    assert read(record) == TALK
    assert read(record, gold=False) == TALK[:1]


def test_an_input_stands_behind_its_instruction_and_a_system_before() -> None:
    record = {"system": "Be brief.", "instruction": "Translate.", "input": "a fox", "output": "x"}
    assert [one["content"] for one in read(record)] == ["Be brief.", "Translate.\n\na fox", "x"]
    assert [one["role"] for one in read(record)] == ["system", "user", "assistant"]


def test_openais_messages_are_taken_as_they_are() -> None:
    talk = [{"role": "developer", "content": "&lt;"}, *TALK]
    assert read({"messages": talk}) == ({"role": "system", "content": "&lt;"}, *TALK)


def test_only_escapes_are_undone() -> None:
    text = "&lt;b&gt; &amp;lt; &#39;AT&T&#39; &copy 2020; x &notathing; &quot;&nbsp;"
    assert unescaped(text) == "<b> &lt; 'AT&T' &copy 2020; x &notathing; \"\xa0"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"messages": []}, "expected a list of messages"),
        ({"messages": "Why?"}, "expected a list of messages .*got 'Why\\?'"),
        ({"messages": [*TALK, TALK[0]]}, "ends with an answer of the assistant, got one that ends with user"),
        ({"messages": [TALK[1]]}, "message 1 to be of user first, or system, got assistant"),
        ({"messages": [TALK[0], TALK[0]]}, "message 2 to be of assistant after user, got user"),
        ({"messages": [*TALK, {"role": "system", "content": "x"}]}, "message 3 to be of user after assistant"),
        ({"messages": [{"role": "system", "content": "x"}]}, "ends with an answer .*, got .* with system"),
        ({"messages": [TALK[0], {"role": "tool", "content": "x"}]}, "message 2 to be of user, assistant, system"),
        ({"messages": [TALK[0], {"role": "assistant", "content": ""}]}, r"message 2 \(assistant\) to say something"),
        ({"messages": [TALK[0], {"role": "assistant", "content": None, "tool_calls": [1]}]}, "message 2 to be of user"),
        ({"messages": [TALK[0], "x"]}, "message 2 to be of user, assistant, system, developer, got 'x'"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "lone surrogate at character 0"),
        ({"conversations": [{"from": "alien", "value": "x"}]}, "message 1 to be of human, user"),
        ({"instruction": "Why?", "output": " "}, "expected a text, got ' '"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_conversation_is_named(record: dict[str, Any], message: str) -> None:
    with pytest.raises(BadField, match=message) as error:
        read(record)
    assert error.value.column in record


def test_a_question_is_asked_by_the_user() -> None:
    with pytest.raises(BadField, match="ends with a message of the user, got one that ends with system"):
        read({"messages": [{"role": "system", "content": "x"}]}, gold=False)
