"""Files of examples: which column is which, and what is wrong with a record, by file, line and field."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bothways.corpus.lines import refuse_unasked
from bothways.corpus.records import TABLES, suffix_of
from bothways.errors import UsageError, unknown
from bothways.reading import UnreadableError, parse_json
from bothways.tasks.labels import label_name

NAMES: dict[str, tuple[str, ...]] = {
    "text": (
        *("text", "sentence", "review", "content", "text_a", "sentence1", "premise", "question1", "query"),
        *("文本", "内容", "评论", "句子", "正文", "评价", "文章", "文本1", "句子1", "前提", "原文"),
        *("article", "document", "sentences"),
    ),
    "other": (
        *("text_b", "sentence2", "hypothesis", "question2", "document", "passage"),
        *("文本2", "句子2", "假设", "文档"),
    ),
    "label": (
        *("label", "labels", "class", "category", "intent", "sentiment", "topic", "target"),
        *("标签", "类别", "分类", "意图", "情感", "主题", "关系"),
    ),
    "soft": ("soft_labels", "软标签"),
    "score": ("score", "similarity", "rating", "label", "分数", "得分", "评分", "相似度", "标签"),
    "tokens": ("tokens", "words", "词语", "分词", "字"),
    "tags": ("tags", "ner_tags", "labels", "标注", "标签"),
    "spans": ("spans", "entities", "实体"),
    "offsets": ("offsets", "offset_mapping"),
    "characters": ("characters",),
    "question": ("question", "query", "prompt", "问题", "提问"),
    "context": ("context", "passage", "article", "dialogue", "上下文", "段落", "文章", "原文", "对话"),
    "answers": ("answers", "answer", "答案", "回答"),
    "choices": ("choices", "options", "endings", "选项"),
    "answer": ("answer", "label", "答案", "标签"),
    "intent": ("intent", "label", "class", "意图", "标签", "类别"),
    "head": ("head", "e1", "subject", "头实体", "主体"),
    "tail": ("tail", "e2", "object", "尾实体", "客体"),
    "positive": (
        *("positive", "text_b", "sentence2", "document", "passage", "answer", "title"),
        *("正例", "文本2", "句子2", "文档", "答案", "标题"),
    ),
    "negative": ("negative", "text_c", "负例", "文本3"),
    "likeness": ("score", "similarity", "分数", "得分", "评分", "相似度"),
    "query": ("query", "question", "anchor", "text_a", "sentence1", "text", "查询", "问题", "文本1"),
    "candidate": (
        *("candidate", "text", "passage", "document", "answer", "text_b", "sentence2"),
        *("候选", "文档", "段落", "答案", "文本2"),
    ),
    "relevance": ("label", "relevance", "score", "target", "标签", "分数", "得分"),
    "candidates": ("candidates", "documents", "passages", "候选"),
    "relevances": ("labels", "relevances", "scores", "relevance", "label", "标签"),
    "negatives": ("negatives", "hard_negatives", "negative", "负例"),
    "summary": ("summary", "highlights", "abstract", "target", "摘要", "总结", "概要"),
    "source": (
        *("source", "src", "article", "document", "dialogue", "passage", "context", "abstract", "input", "text"),
        "sentence",
        *("原文", "文章", "正文", "内容", "输入", "文本"),
    ),
    "target": (
        *("target", "tgt", "targets", "references", "refs", "summary", "highlights", "title", "headline"),
        *("translation", "question", "output"),
        *("摘要", "标题", "译文", "问题", "输出"),
    ),
    "messages": ("messages", "conversations", "conversation", "dialog", "对话"),
    "instruction": ("instruction", "prompt", "question", "query", "指令", "问题"),
    "input": ("input", "输入"),
    "output": ("output", "response", "completion", "answer", "target", "输出", "回答", "答案"),
    "system": ("system", "system_prompt", "系统"),
    "prompt": ("prompt", "instruction", "question", "query", "input", "source", "提示", "指令", "问题", "输入"),
    "chosen": ("chosen", "chosen_response", "response_chosen", "preferred", "优选", "更好"),
    "rejected": ("rejected", "rejected_response", "response_rejected", "dispreferred", "劣选", "更差"),
    "completion": ("completion", "response", "answer", "output", "回答", "答案", "输出"),
    "good": ("label", "good", "desirable", "标签"),
    "id": ("id", "guid", "idx", "编号", "序号"),
}
"""{role: names that its column often has, the likeliest first}; small and capital letters are alike."""


def column_of(role: str, fields: Iterable[str], taken: Collection[str] = ()) -> str | None:
    """The field that is likeliest to have a role, but for those that are taken; None: no name fits."""
    free = [field for field in fields if field not in taken]
    alike = {plain(field): field for field in free} | {field: field for field in free}
    return next((alike[name] for name in NAMES.get(role, (role,)) if name in alike), None)


def check_roles(given: Iterable[str]) -> None:
    """
    Raises:
        UsageError: a role that no column has, in no task.
    """
    for role in given:
        if role not in NAMES:
            raise unknown("role of a column", role, NAMES)


def plain(field: str) -> str:
    """Its name as `NAMES` has it."""
    return unicodedata.normalize("NFKC", field).strip().casefold()


_SLACK = 1e-3
"""Shares are rounded when they are written."""


class BadField(ValueError):
    """A field of a record that is not what the task needs: (field, what was expected)."""

    def __init__(self, column: str, expected: str) -> None:
        super().__init__(f"expected {expected}")
        self.column = column

    @classmethod
    @contextmanager
    def of(cls, column: str) -> Iterator[None]:
        """What was expected within, and not found, is wrong with this field."""
        try:
            yield
        except UsageError as error:
            raise cls(column, str(error).removeprefix("expected ")) from None


def whole_text(text: str, field: str) -> str:
    """
    Raises:
        BadField: a lone surrogate, which no file can hold.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadField(field, f"text, got a lone surrogate at character {error.start}") from error
    return text


@dataclass(frozen=True, slots=True)
class Columns:
    """{role: column}, guessed from the names of all fields of a file where it is not given; and whether they are those
    of a table, where all is text."""

    names: Mapping[str, str]
    table: bool = False

    @classmethod
    def guess(
        cls,
        fields: Iterable[str],
        *,
        needed: Iterable[str],
        optional: Iterable[str],
        given: Mapping[str, str],
        file: Path,
    ) -> Columns:
        """
        Raises:
            UsageError: a column that is needed is not there, or one that was named is not; those there are listed.
        """
        needed, optional = list(needed), list(optional)
        there, found = list(fields), dict(given)
        if wrong := next(((role, name) for role, name in given.items() if name not in there), None):
            raise UsageError(f"{file}: expected a column {wrong[1]!r} for {wrong[0]}, got {', '.join(there) or 'none'}")
        for role in (*needed, *optional):
            if role not in found and (name := column_of(role, there, found.values())):
                found[role] = name
        if missing := next((role for role in needed if role not in found), None):
            raise UsageError(
                f"{file}: expected a column for {missing}, got {', '.join(there) or 'none'}. "
                f"Name it: --set columns.{missing}=NAME, or --column {missing}=NAME of predict and evaluate"
            )
        return cls(found, suffix_of(file) in TABLES)

    def __str__(self) -> str:
        return ", ".join(f"{role} from {name!r}" for role, name in self.names.items())

    def has(self, record: Mapping[str, Any], role: str) -> bool:
        """Whether there is such a column, and something in it: what is optional may stand in some records only."""
        value = record.get(self.names[role]) if role in self.names else None
        return value is not None and not (isinstance(value, str) and not value.strip())

    def id(self, record: Mapping[str, Any], number: int) -> Any:
        """What the record is called, or its number."""
        return record[self.names["id"]] if self.has(record, "id") else number

    def value(self, record: Mapping[str, Any], role: str) -> Any:
        """Whatever stands there; of a table's field that is JSON, as it may be of lists, what it holds."""
        value = record.get(self.names[role])
        if self.table and isinstance(value, str) and value.startswith(("[", "{")):
            try:
                return parse_json(value)
            except UnreadableError:
                return value
        return value

    def text(self, record: Mapping[str, Any], role: str) -> str:
        """
        Raises:
            BadField: no text, or none but white space.
        """
        value = record.get(self.names[role])
        if not isinstance(value, str) or not value.strip():
            raise BadField(self.names[role], f"a text, got {value!r}")
        return whole_text(value, self.names[role])

    def label(self, record: Mapping[str, Any], role: str, what: str) -> str:
        """A label as `label_name` spells it; `what` it names, for the message.

        Raises:
            BadField: it names nothing.
        """
        value = record.get(self.names[role])
        if (name := label_name(value)) is None:
            raise BadField(self.names[role], f"the name of {what}, got {value!r}")
        return name

    def shares(self, record: Mapping[str, Any], role: str) -> dict[str, float]:
        """{label: its share}, which are one together.

        Raises:
            BadField: something else.
        """
        value = self.value(record, role)
        named = {label_name(label): share for label, share in value.items()} if isinstance(value, dict) else {}
        fits = all(
            isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one <= 1 for one in named.values()
        )
        if not named or not fits or abs(sum(named.values()) - 1) > _SLACK:
            raise BadField(self.names[role], f"a share for each label, which are 1 together, got {value!r:.80}")
        return {str(label): float(share) for label, share in named.items()}

    def number(self, record: Mapping[str, Any], role: str) -> float:
        """
        Raises:
            BadField: no number, or one that is not finite.
        """
        value = record.get(self.names[role])
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise BadField(self.names[role], f"a number, got {value!r:.80}")
        return number


refuse = refuse_unasked
"""The Skip of tasks, unless they leave out what is wrong."""


@dataclass(slots=True)
class Skipped:
    """A Skip that notes what was left out, to be listed."""

    found: list[str] = field(default_factory=list)

    def __call__(self, path: Path, line: int, why: str) -> None:
        """Notes what is wrong with a record, and goes on."""
        self.found.append(f"{path}, line {line}: {why}" if line else f"{path}: {why}")
