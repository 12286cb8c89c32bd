"""What an answer must look like, checked by rules that anybody can read; and which answers refuse.

A rule is a name and its value in a record: {"max_words": 20, "starts_with": "Dear"}.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bothways.errors import DataError, unknown
from bothways.reading import UnreadableError, parse_json
from bothways.tasks.rouge import rouge_tokens
from bothways.text.sentences import split_sentences


@dataclass(frozen=True, slots=True)
class FormatRule:
    """obeyed  (answer, value) -> whether the answer is so
    kind    of its value: a text, texts (or one), a count, or true
    about   what is asked, for people
    """

    obeyed: Callable[[str, Any], bool]
    kind: str
    about: str


def _is_json(answer: str, wanted: bool) -> bool:
    try:
        parse_json(answer)
    except UnreadableError:
        return not wanted
    return wanted


def _word_count(answer: str) -> int:
    return len(rouge_tokens(answer))


def _lines(answer: str) -> int:
    return sum(bool(line.strip()) for line in answer.splitlines())


RULES: dict[str, FormatRule] = {
    "regex": FormatRule(lambda answer, value: re.search(value, answer) is not None, "text", "it matches somewhere"),
    "starts_with": FormatRule(lambda answer, value: answer.startswith(value), "text", "the answer begins so"),
    "ends_with": FormatRule(lambda answer, value: answer.endswith(value), "text", "the answer ends so"),
    "contains": FormatRule(lambda answer, value: all(one in answer for one in value), "texts", "each stands in it"),
    "lacks": FormatRule(lambda answer, value: not any(one in answer for one in value), "texts", "none stands in it"),
    "one_of": FormatRule(lambda answer, value: answer in value, "texts", "the whole answer is one of them"),
    "max_words": FormatRule(lambda answer, value: _word_count(answer) <= value, "count", "at most so many words"),
    "min_words": FormatRule(lambda answer, value: _word_count(answer) >= value, "count", "at least so many words"),
    "max_sentences": FormatRule(
        lambda answer, value: len(split_sentences(answer)) <= value, "count", "at most so many sentences"
    ),
    "max_characters": FormatRule(lambda answer, value: len(answer) <= value, "count", "at most so many characters"),
    "lines": FormatRule(lambda answer, value: _lines(answer) == value, "count", "just so many lines with text"),
    "json": FormatRule(_is_json, "true", "the whole answer is JSON"),
}
"""{name: the rule}. Words are those of ROUGE: of scripts without spaces, the characters; punctuation is none."""

REFUSALS = (
    r"\bI(?: am|'m|’m) (?:sorry|afraid|unable|not able)\b",
    r"\bI (?:can ?not|can['’]t|won['’]t|will not|do not|don['’]t) (?:help|assist|answer|provide|comply|do that|know)\b",
    r"\bI (?:must|have to) (?:decline|refuse)\b",
    r"\bas an? (?:AI|artificial intelligence|language model)\b",
    r"(?:抱歉|对不起)[，,]?(?:我|本)",
    r"我(?:无法|不能|没有办法)(?:回答|提供|帮助|协助)",
    r"作为一?个?(?:AI|人工智能|语言模型)",
)
"""An answer that has one of these in its first 200 characters refuses; small and capital letters are the same."""
_REFUSES = re.compile("|".join(REFUSALS), re.IGNORECASE)
_BEGINNING = 200


def refuses(answer: str) -> bool:
    """Whether an answer says that there will be none, by `REFUSALS`."""
    return _REFUSES.search(answer[:_BEGINNING]) is not None


def obeyed(answer: str, rules: Mapping[str, Any]) -> dict[str, bool]:
    """{rule: whether the answer obeys it}; rules as `checked_rules` returns them."""
    return {name: RULES[name].obeyed(answer, value) for name, value in rules.items()}


def checked_rules(given: Any, place: str) -> dict[str, Any]:
    """Rules with their values: texts as lists.

    Raises:
        DataError: what are no rules, or a value of another kind; the place is named.
    """
    if not isinstance(given, dict):
        raise DataError(f'{place}: rules: expected an object such as {{"max_words": 20}}, got {str(given)[:60]}')
    return {name: _value(name, value, f"{place}: rules") for name, value in given.items()}


def _value(name: str, value: Any, place: str) -> Any:
    if name not in RULES:
        raise DataError(f"{place}: {unknown('rule', name, RULES)}")
    kind = RULES[name].kind
    if kind == "texts" and isinstance(value, str):
        value = [value]
    fits = {
        "text": isinstance(value, str) and value,
        "texts": isinstance(value, list) and value and all(isinstance(one, str) and one for one in value),
        "count": type(value) is int and value >= 0,
        "true": type(value) is bool,
    }
    if not fits[kind]:
        expected = {"texts": "a text or a list of texts", "text": "a text", "count": "a number", "true": "true"}[kind]
        raise DataError(f"{place}: {name}: expected {expected}, got {str(value)[:60]!r}")
    if name == "regex":
        try:
            re.compile(value)
        except re.error as error:
            raise DataError(f"{place}: regex: {value!r} does not read: {error}") from None
    return value
