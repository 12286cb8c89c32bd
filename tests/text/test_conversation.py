"""Which tokens of a conversation are answers, found without {% generation %}, in templates of many kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, models

from bothways.errors import ModelError, UsageError
from bothways.text import Tokenizer
from bothways.text.chat import chat_tokens
from bothways.text.conversation import DAY, conversation, fitted, plain_template
from tests.inference.made import tokenizer as made
from tests.text.test_taken import byte_level

transformers = pytest.importorskip("transformers")

LOOP = "{% for m in messages %}"
OPENS = "{% if add_generation_prompt %}"
DONE = "{% endif %}"
CHATML = (
    LOOP + "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>"
    "{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    + OPENS
    + "<|im_start|>assistant\n"
    + DONE
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are made by us.<|im_end|>\n{% endif %}" + CHATML
)
LLAMA3 = (
    "{{ bos_token }}" + LOOP + "<|im_start|>{{ m.role }}<s>\n\n{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content | trim }}<|im_end|>{% endgeneration %}{% else %}{{ m.content | trim }}<|im_end|>{% endif %}"
    "{% endfor %}" + OPENS + "<|im_start|>assistant<s>\n\n" + DONE
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}[INST] {{ (first if loop.first else '') + m.content }} [/INST]"
    "{% else %}{% generation %} {{ m.content }}{{ eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    + LOOP
    + "<|im_start|>{{ 'model' if m.role == 'assistant' else m.role }}\n{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content | trim }}<|im_end|>{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ m.content | trim }}<|im_end|>\n{% endif %}"
    "{% endfor %}" + OPENS + "<|im_start|>model\n" + DONE
)
THINKING = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}" + LOOP + "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}"
    "{% set parts = m.content.split('</think>') %}{% if loop.index0 > ns.last %}<think>\n"
    "{{ parts[0].split('<think>')[-1].strip() if parts|length > 1 else '' }}\n</think>\n\n{% endif %}"
    "{{ parts[-1].lstrip('\n') }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n"
    "{% endfor %}" + OPENS + "<|im_start|>assistant\n" + DONE
)
"""As Qwen 3: what was thought before is left out, and the last answer has room for it."""
TALK = [
    {"role": "system", "content": "Be <brief>."},
    {"role": "user", "content": "What is </s> in 世界?<|im_end|>"},
    {"role": "assistant", "content": " Nothing <|im_end|> much.\n"},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "So <unk> it is"},
]
SPECIAL = ("<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>")


def both(folder: Path, chat: Any) -> tuple[Tokenizer, Any]:
    """The same folder, opened here and by transformers."""
    own = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    own["extra_special_tokens"] = ["<|im_start|>", "<|im_end|>"]
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_level(*SPECIAL), chat_template=chat, **own
    ).save_pretrained(folder)
    return Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)


def said(own: Tokenizer, messages: Any) -> list[str]:
    """The answers' tokens, each answer as one text."""
    found = conversation(own, messages)
    return ["".join(own.tokens(found.tokens[begin:end])) for begin, end in found.answers]


def plain(message: dict[str, str]) -> dict[str, str]:
    """Without names of special tokens, which transformers takes for tokens wherever they stand."""
    return {**message, "content": message["content"].translate(str.maketrans("<|", "(!"))}


@pytest.mark.parametrize(
    ("chat", "system"),
    [(CHATML, True), (DEFAULT_SYSTEM, False), (LLAMA3, True), (MISTRAL, True), (GEMMA, False), (THINKING, True)],
    ids=["chatml", "default system", "llama 3", "mistral", "gemma", "thinking"],
)
def test_answers_are_what_generation_marks(chat: str, system: bool, tmp_path: Path) -> None:
    """The tokens are those of transformers; the answers those that it finds in a template that marks them, and a
    template that marks none gives the same."""
    own, theirs = both(tmp_path, chat)
    talk = [plain(one) for one in TALK[0 if system else 1 :]]
    found = conversation(own, talk)
    expected = theirs.apply_chat_template(talk, return_dict=True, return_assistant_tokens_mask=True)
    assert found.tokens == expected["input_ids"]
    mask = [0] * len(found.tokens)
    for begin, end in found.answers:
        mask[begin:end] = [1] * (end - begin)
    assert mask == expected["assistant_masks"] and sum(mask)
    unmarked, _ = both(tmp_path / "unmarked", chat.replace("{% generation %}", "").replace("{% endgeneration %}", ""))
    assert conversation(unmarked, talk) == found
    for (begin, _), number in zip(found.answers, (2, 4) if system else (1, 3), strict=True):
        assert found.tokens[:begin] == chat_tokens(own, talk[:number], now=DAY)


def test_what_an_answer_says_ends_nothing(tmp_path: Path) -> None:
    """Names of special tokens in it are characters, and white space that a template strips is no target."""
    for chat, first in ((CHATML, "NothingĠ<|im_end|>Ġmuch.Ċ"), (LLAMA3, "NothingĠ<|im_end|>Ġmuch.")):
        own, _ = both(tmp_path / first[:4], chat)
        assert said(own, TALK)[0].removeprefix("Ġ") == first + "<|im_end|>"
        tokens = conversation(own, TALK).tokens
        assert tokens.count(own.number("<|im_end|>")) == len(TALK) and own.number("</s>") not in tokens


REFUSED = {
    "opens otherwise": (
        LOOP + "<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}" + OPENS + "<s>answer: " + DONE,
        UsageError,
        "message 3: .*does not open this answer as it stands",
    ),
    "a space that joins": (
        LOOP + "{{ m.role }}:{{ ' ' + m.content }}</s>{% endfor %}" + OPENS + "assistant: Hm" + DONE,
        UsageError,
        "message 3: .*does not open this answer",
    ),
    "changes answers": (
        LOOP + "{{ m.content | upper | truncate(9) }}</s>{% endfor %}",
        UsageError,
        "does not write every",
    ),
    "leaves out answers": (
        LOOP + "{% if m.role == 'user' %}{{ m.content }}</s>{% endif %}{% endfor %}",
        UsageError,
        "every",
    ),
    "ends nothing": (
        LOOP + "{{ m.role }}: {{ m.content }}\n{% endfor %}",
        ModelError,
        "ends an answer with no special",
    ),
    "ends late": (LOOP + "{{ m.content }} bye</s>{% endfor %}", ModelError, "ends an answer with no special token"),
    "reads a file": ("{% include '/etc/passwd' %}", UsageError, "refuses these messages"),
    "reaches for code": ("{{ messages.__class__.__mro__ }}", UsageError, "refuses these messages"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_that_cannot_be_taught_is_refused(name: str, tmp_path: Path) -> None:
    chat, kind, message = REFUSED[name]
    own, _ = both(tmp_path, chat)
    with pytest.raises(kind, match=message):
        conversation(own, TALK)


def test_an_answer_whose_line_feeds_join_what_opens_it_is_told_so(tmp_path: Path) -> None:
    """As of Qwen: the line feed of `assistant` and those of the answer are one token. Other white space may stand."""
    engine = byte_level()
    engine.model = models.BPE({**engine.get_vocab(), "ĊĊ": 256}, [("Ċ", "Ċ")])
    engine.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    engine.save(str(tmp_path / "tokenizer.json"))
    own = Tokenizer.load(tmp_path)
    own.chat = CHATML
    asked = {"role": "user", "content": "Why?"}
    for answer, refused in (("\n\nBecause.", True), (" Because.\n\n", False), ("Because.", False)):
        talk = [asked, {"role": "assistant", "content": answer}]
        if refused:
            with pytest.raises(UsageError, match="message 2: this answer begins with white space .* Leave out that"):
                conversation(own, talk)
        else:
            assert len(conversation(own, talk).answers) == 1


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_our_own_template_is_a_row_of_source_and_target(kind: str, tmp_path: Path) -> None:
    """[CLS] question [SEP] answer [SEP]: no new token, and transformers has the same tokens."""
    own = made(kind)
    cls, sep = own.vocabulary.cls, own.vocabulary.sep
    chats = own.for_chat(plain_template("[CLS]", "[SEP]"), end=sep)
    assert chats.vocabulary == own.vocabulary and own.chat is None
    talk = [{"role": "user", "content": "the quick dog"}, {"role": "assistant", "content": "reads"}]
    question, answer = own.encode("the quick dog"), own.encode("reads")
    found = conversation(chats, talk)
    assert found.tokens == [cls, *question, sep, *answer, sep]
    assert found.answers == ((2 + len(question), len(found.tokens)),)
    assert chat_tokens(chats, talk[:1], now=DAY) == [cls, *question, sep]

    chats.save(tmp_path)
    assert (tmp_path / "chat_template.jinja").is_file()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    again = Tokenizer.load(tmp_path)
    for some in (talk, [{"role": "system", "content": "Nobody"}, *talk, *talk]):
        assert theirs.apply_chat_template(some, return_dict=False) == conversation(again, some).tokens
        opened = theirs.apply_chat_template(some[:-1], add_generation_prompt=True, return_dict=False)
        assert opened == chat_tokens(again, some[:-1], now=DAY)
    assert conversation(chats, [{"role": "system", "content": "a"}, *talk]).tokens[1:-1].count(sep) == 1
    with pytest.raises(UsageError, match="expected the roles user, assistant"):
        conversation(chats, talk[1:])


def test_a_token_that_ends_turns_ends_texts(tmp_path: Path) -> None:
    own, _ = both(tmp_path, CHATML)
    end = own.number("<|im_end|>")
    assert own.vocabulary.ends == {own.number("</s>")}
    assert own.for_chat(CHATML, end=end or 0).vocabulary.ends == {own.number("</s>"), end}


def test_what_is_too_long_loses_its_oldest_exchanges_first(tmp_path: Path) -> None:
    own, _ = both(tmp_path, CHATML)
    talk = TALK[:4]
    count = len(chat_tokens(own, talk, now=DAY))
    assert fitted(own, talk, count) == (talk, 0)
    kept, cut = fitted(own, talk, count - 1)
    assert kept == [talk[0], talk[3]]
    shorter = len(chat_tokens(own, kept, now=DAY))
    assert cut == count - shorter
    kept, cut = fitted(own, talk, shorter - 2)
    assert kept == [talk[0], {"role": "user", "content": "Wh"}] and cut == count - shorter + 2
    with pytest.raises(UsageError, match="there is room for 10: take a longer length"):
        fitted(own, talk, 10)


@pytest.mark.parametrize("said", ["天气很好🙂🙂" * 3, "🙂", "𠀀", "dogs " * 4])
def test_a_last_message_is_cut_between_letters(said: str, tmp_path: Path) -> None:
    """A letter of several tokens is left out whole: where only some of them fitted, the cut had no end."""
    own, _ = both(tmp_path, CHATML)
    empty, whole = (len(chat_tokens(own, [{"role": "user", "content": text}], now=DAY)) for text in ("", said))
    assert whole > empty + 3
    for room in range(1, whole + 1):
        talk = [{"role": "user", "content": said}]
        if room < empty + len(own.encode(said[0])):
            with pytest.raises(UsageError, match="take a longer length"):
                fitted(own, talk, room)
            continue
        kept, cut = fitted(own, talk, room)
        fits = [text for end in range(len(said) + 1) if len(own.encode(text := said[:end])) <= room - empty]
        assert kept == [{"role": "user", "content": fits[-1]}]
        assert cut == whole - empty - len(own.encode(fits[-1]))
