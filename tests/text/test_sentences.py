"""Where sentences end, in English and in Chinese, and that they are joined again."""

from __future__ import annotations

import pytest

from bothways.text.sentences import join_sentences, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["It rains.", "We stay."],
        ["Dr. Smith met J. R. Brown in Washington, D.C. last week.", "It cost $3.5 million!", "Why?", '"Because."'],
        ["We use e.g. BERT (see Fig. 3).", "It works."],
        ["1. The first.", "2. The second"],
        ["Well... maybe not.", "She said “Stop!” and left.", "“Go.”", "He went."],
        ["Wait… what?", "Yahoo! is a company."],
        ["Lower case goes on. so it is one.", "Here is another"],
        ["The value is 3.14 of version 2.0.", "Next"],
    ],
)
def test_english(sentences: list[str]) -> None:
    text = " ".join(sentences)
    assert split_sentences(text) == sentences
    assert join_sentences(sentences) == text


@pytest.mark.parametrize(
    "sentences",
    [
        ["今天天气很好。", "我们去公园散步！", "真的吗？"],
        ["他说：“你好。”", "然后走了。"],
        ["（他笑了。）", "她哭了……", "后来呢？！"],
        ["等等……，没完。", "「好。」", "走了"],
        ["共3.14元。", "研究了性能.", "理论表明,SVM.", "结果好?", "是的."],
        ["使用 BERT 模型。", "It works.", "很好。"],
        ["1.引言很短。", "完"],
    ],
)
def test_chinese(sentences: list[str]) -> None:
    assert split_sentences("".join(sentences)) == sentences
    assert join_sentences(sentences).replace(" ", "") == "".join(sentences).replace(" ", "")


def test_white_space_and_empty_lines() -> None:
    assert split_sentences(" \n\n ") == []
    assert split_sentences("A title\n\nIt begins\nand ends.\n \n第一段\n\n第二段。") == [
        "A title",
        "It begins\nand ends.",
        "第一段",
        "第二段。",
    ]


def test_no_space_beside_chinese() -> None:
    assert join_sentences(["今天。", "“明天。”", "Then."]) == "今天。“明天。”Then."
    assert join_sentences(["One.", "“Two.”", "Three."]) == "One. “Two.” Three."
    assert join_sentences([]) == ""
