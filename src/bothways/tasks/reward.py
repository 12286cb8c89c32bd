"""How good an answer is, as one number that is learned from pairs: the chosen answer's is to be the larger (Bradley and
Terry 1952; InstructGPT, Ouyang et al. 2022, section 3.5, equation 1)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bothways.batch import Sample
from bothways.errors import UsageError
from bothways.model import TaskHead
from bothways.tasks.encoding import Encoded, encode_texts
from bothways.tasks.messages import Messages, said_in
from bothways.tasks.prefer import check_pairs
from bothways.tasks.preferred import preference_of, prompt_of, roles_of_preferences
from bothways.tasks.records import Columns
from bothways.tasks.task import Example, Mistake, Output, Predictions, Task, beside
from bothways.text import Tokenizer
from bothways.text.conversation import conversation


@dataclass(frozen=True, slots=True)
class Rewarded:
    """How good an answer is, larger is better; of a pair, the chosen one, and by how much it is better."""

    reward: float
    margin: float | None = None


class RewardTask(Task):
    """Records hold prompt, chosen and rejected; to be rated, prompt and completion."""

    name, metric = "reward", "accuracy"

    def roles(self, fields: Collection[str], *, gold: bool) -> tuple[Sequence[str], Sequence[str]]:
        """Where gold is known, chosen and rejected, and prompt where these are no conversations."""
        return roles_of_preferences(fields) if gold else (("prompt", "completion"), ("system", "id"))

    def read(self, record: Mapping[str, Any], columns: Columns, *, place: str, number: int, gold: bool) -> Example:
        """A prompt with one answer, or with two, the chosen first; gold is its number, 0."""
        name = columns.id(record, number)
        if not gold:
            return _example(name, prompt_of(record, columns), (columns.text(record, "completion"),), None, place)
        messages, answers = preference_of(record, columns)
        check_pairs([Example(name, (), answers, place)], self.name)
        return _example(name, messages, tuple(answer.text for answer in answers), 0, place)

    def head(self, examples: Sequence[Example], *, reads: Any) -> TaskHead:
        """One number for each answer."""
        return TaskHead(self.name, "label", ("reward",), "choice", reads)

    def check(self, example: Example, head: TaskHead) -> str | None:
        """Any pair can be judged."""
        return None

    def given(self, inputs: Any, head: TaskHead) -> Example:
        """Of what a user says, or messages, and an answer.

        Raises:
            UsageError: something that is no such pair.
        """
        if not isinstance(inputs, tuple) or len(inputs) != 2 or not isinstance(inputs[1], str):
            raise UsageError(f"reward: expected (prompt, answer), got {inputs!r:.60}")
        prompt, answer = inputs
        record, columns = {"prompt": prompt}, Columns({"prompt": "prompt"})
        return _example(0, prompt_of(record, columns), (answer,), None, "")

    def encode(self, example: Example, tokenizer: Tokenizer, head: TaskHead, *, length: int) -> list[Sample]:
        """Each answer with what was said before it: in the model's chat template where it has one, else as a pair of
        texts. Their numbers share a softmax, so that its cross-entropy is -log sigmoid of the difference.

        Raises:
            UsageError: what the chat template refuses.
        """
        found = []
        for number, answer in enumerate(example.texts[1:]):
            label = None if example.gold is None else [[np.float32(number == example.gold)]]
            read = _encoded(example, answer, tokenizer, length=length)
            found.append(read.sample(head, label, group=0, weight=1 / (len(example.texts) - 1)))
        return found

    def decode(self, example: Example, output: Output) -> Rewarded:
        """The number of the first answer, and how much larger it is than that of the second."""
        rewards = [float(one[0, 0]) for one in output.logits]
        return Rewarded(rewards[0], rewards[0] - rewards[1] if len(rewards) > 1 else None)

    def mistake(self, example: Example, prediction: dict[str, Any], head: TaskHead) -> Mistake | None:
        """A rejected answer that is rated higher, by how much."""
        if prediction["margin"] > 0:
            return None
        return -prediction["margin"], beside(*example.texts[1:])

    def score(self, examples: Sequence[Example], predictions: Predictions, head: TaskHead) -> dict[str, float]:
        """How often the chosen answer is rated higher, a tie a half, and by how much."""
        return self.scores_of(examples, predictions, head)(range(len(examples)))

    def scores_of(
        self, examples: Sequence[Example], predictions: Predictions, head: TaskHead
    ) -> Callable[[Sequence[int]], dict[str, float]]:
        """The same of some of the examples."""
        apart = np.array([one["margin"] for one in predictions], dtype=np.float64)
        right = self.right(examples, predictions)
        return lambda drawn: {"accuracy": float(right[drawn].mean()), "margin": float(apart[drawn].mean())}

    def right(self, examples: Sequence[Example], predictions: Predictions) -> np.ndarray:
        """[E] 1 where the chosen answer is rated higher, a half where both are alike."""
        return np.sign([one["margin"] for one in predictions]) / 2 + 0.5


def _example(number: Any, messages: Messages, answers: tuple[str, ...], gold: int | None, place: str) -> Example:
    """Held out by its prompt: answers to one prompt are on one side."""
    text = said_in(messages)
    return Example(number, (text, *answers), gold, place, sealed=(text,), messages=messages)


def _encoded(example: Example, answer: str, tokenizer: Tokenizer, *, length: int) -> Encoded:
    if tokenizer.chat is None:
        return encode_texts(tokenizer, (example.texts[0], answer), length=length)
    messages = [*example.messages, {"role": "assistant", "content": answer}]
    tokens, soft = conversation(tokenizer, messages).tokens, len(tokenizer.prompt)
    cut = max(0, len(tokens) - length)
    kept = np.array([*tokens[:soft], *tokens[soft + cut :]], dtype=np.int32)  # the beginning is what can be spared
    place = np.zeros(1, dtype=np.int64)
    return Encoded(kept, np.zeros(len(kept), dtype=np.int32), np.array([[0, len(kept) - 1]]), place, cut)
