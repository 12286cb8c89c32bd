"""A reward of the user's own: the function `reward` of a Python file, which is told a prompt, an answer and the record
that the prompt stands in, and says how good the answer is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bothways.errors import BothwaysError, UsageError
from bothways.inference.best_of import reward_of
from bothways.own import line_of, use
from bothways.tasks.task import Example


@dataclass(frozen=True, slots=True)
class Reward:
    """A function (prompt, answer, record) -> a number, larger for better answers, and the file that it stands in."""

    function: Callable[[Any, str, dict[str, Any]], float]
    file: Path

    @classmethod
    def found_in(cls, files: Sequence[Path]) -> Reward:
        """
        Raises:
            UsageError: none of the files has such a function, or several do; or one does not run.
        """
        found = [
            (names["reward"], file)
            for names, file in zip(use(files), files, strict=True)
            if callable(names.get("reward"))
        ]
        if len(found) != 1:
            raise UsageError(
                "grpo expects one Python file with a function reward(prompt, answer, record) that returns a number, "
                f"got {', '.join(str(file) for _, file in found) or 'none'}: --set code=[rewards.py]"
            )
        return cls(*found[0])

    def __call__(self, example: Example, answer: str) -> float:
        """How good an answer to the prompt of an example is.

        Raises:
            UsageError: the function fails, or returns no finite number; its line and the record are named.
        """
        try:
            found = self.function(example.texts[0], answer, dict(example.gold))
        except BothwaysError:
            raise
        except Exception as error:
            where = line_of(error, self.file)
            got = f"{type(error).__name__}: {error}"
            raise UsageError(
                f"{self.file}{where}: reward failed at {example.place}: expected a number, got {got}"
            ) from error
        return reward_of(found, f"{self.file}: reward at {example.place}")
