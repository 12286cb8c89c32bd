"""Records of preferences, as published data sets have them, become a prompt and its answers; what is none is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bothways.tasks.preferred import PreferredAnswer, preference_of, roles_of_preferences
from bothways.tasks.records import BadField, Columns, plain

ASK = {"role": "user", "content": "Why?"}
SYSTEM = {"role": "system", "content": "Be brief."}
MORE = [ASK, {"role": "assistant", "content": "So."}, {"role": "user", "content": "And?"}]
GOOD, BAD = ({"role": "assistant", "content": content} for content in ("Because.", "No."))
BOTH = (PreferredAnswer("Because.", good=True), PreferredAnswer("No.", good=False))


def read(record: dict[str, Any]) -> Any:
    needed, optional = roles_of_preferences({plain(name) for name in record})
    columns = Columns.guess(record, needed=needed, optional=optional, given={}, file=Path("a.jsonl"))
    return preference_of(record, columns)


@pytest.mark.parametrize(
    ("record", "messages"),
    [
        ({"prompt": "Why?", "chosen": "Because.", "rejected": "No."}, (ASK,)),
        ({"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]}, (ASK,)),
        ({"prompt": "Why?", "chosen": [ASK, GOOD], "rejected": [ASK, BAD], "score_chosen": 9}, (ASK,)),
        ({"chosen": [ASK, GOOD], "rejected": [ASK, BAD]}, (ASK,)),
        ({"chosen": [SYSTEM, *MORE, GOOD], "rejected": [SYSTEM, *MORE, BAD]}, (SYSTEM, *MORE)),
        ({"prompt": MORE, "chosen": [GOOD], "rejected": [BAD]}, tuple(MORE)),
        ({"prompt": "Why?", "system": "Be brief.", "chosen": [ASK, GOOD], "rejected": [ASK, BAD]}, (SYSTEM, ASK)),
        ({"prompt": "And?", "chosen": [*MORE, GOOD], "rejected": [*MORE, BAD]}, tuple(MORE)),
        ({"system": "Be brief.", "chosen": [ASK, GOOD], "rejected": [ASK, BAD]}, (SYSTEM, ASK)),
        ({"system": "Be brief.", "chosen": [SYSTEM, ASK, GOOD], "rejected": [SYSTEM, ASK, BAD]}, (SYSTEM, ASK)),
        (
            {"prompt": "And?", "system": "Be brief.", "chosen": [*MORE, GOOD], "rejected": [*MORE, BAD]},
            (SYSTEM, *MORE),
        ),
        ({"question": "Why?", "response_chosen": "Because.", "response_rejected": "No."}, (ASK,)),
        ({"指令": "Why?", "优选": "Because.", "劣选": "No."}, (ASK,)),
        (
            {
                "chosen": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}],
                "rejected": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "No."}],
            },
            (ASK,),
        ),
    ],
    ids=str,
)
def test_pairs_of_every_form(record: dict[str, Any], messages: Any) -> None:
    assert read(record) == (messages, BOTH)


def test_json_in_a_table_is_messages_or_a_text() -> None:
    record = {"prompt": "Why?", "chosen": "[1, 2]", "rejected": '[{"name": "x"}]'}
    columns = Columns({name: name for name in record}, table=True)
    messages, answers = preference_of(record, columns)
    assert messages == (ASK,) and [one.text for one in answers] == ["[1, 2]", '[{"name": "x"}]']
    listed = {"prompt": "[3, 1]", "chosen": json.dumps([GOOD]), "rejected": json.dumps([BAD])}
    assert preference_of(listed, columns) == (({"role": "user", "content": "[3, 1]"},), BOTH)


@pytest.mark.parametrize(
    ("label", "good"),
    [(True, True), (False, False), (1, True), ("0", False), ("好", True), ("Bad", False), (1.0, True)],
)
def test_single_answers_are_good_or_bad(label: Any, good: bool) -> None:
    for completion in ("Because.", [GOOD]):
        found = read({"prompt": "Why?", "completion": completion, "label": label})
        assert found == ((ASK,), (PreferredAnswer("Because.", good),))


@pytest.mark.parametrize(
    ("record", "column", "message"),
    [
        (
            {"prompt": "Why?", "chosen": "No. ", "rejected": " No."},
            "rejected",
            "differs from the chosen one, got ' No.'",
        ),
        ({"prompt": "Why?", "chosen": [ASK], "rejected": [ASK, BAD]}, "chosen", "ends with an answer .* of the user"),
        ({"chosen": [GOOD], "rejected": [BAD]}, "chosen", "message 1 to be of user first, or system, got assistant"),
        ({"chosen": "Because.", "rejected": "No."}, "chosen", "or a prompt beside it, got 'Because.' alone"),
        ({"chosen": [ASK, GOOD], "rejected": [MORE[2], BAD]}, "rejected", "the same messages as the chosen one"),
        ({"prompt": "Who?", "chosen": [ASK, GOOD], "rejected": [ASK, BAD]}, "chosen", "begin with the prompt"),
        ({"prompt": [ASK, ASK], "chosen": "a", "rejected": "b"}, "prompt", "message 2 to be of assistant after user"),
        ({"prompt": [ASK, GOOD], "chosen": "a", "rejected": "b"}, "prompt", "ends with the user's .* of the assistant"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "chosen", "a prompt beside it"),
        ({"prompt": "Why?", "chosen": "a", "rejected": 3}, "rejected", "a text, got 3"),
        ({"prompt": "Why?", "completion": "a", "label": "maybe"}, "label", "true or false, .* got 'maybe'"),
        ({"prompt": "Why?", "completion": "", "label": True}, "completion", "a text, got ''"),
        ({"prompt": "Why?", "chosen": [GOOD, GOOD], "rejected": "b"}, "chosen", "message 1 to be of user first"),
    ],
    ids=str,
)
def test_what_is_no_preference_is_named(record: dict[str, Any], column: str, message: str) -> None:
    with pytest.raises(BadField, match=message) as error:
        read(record)
    assert error.value.column == column
