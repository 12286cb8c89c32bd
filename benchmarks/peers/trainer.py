"""The peer of pretraining.py: BERT trained by the Hugging Face Trainer, in a process of its own; its laps as JSON.

    python benchmarks/peers/trainer.py SHARDS --length 128 --steps 8 [--bf16] [--padded]
        [--layers 12] [--width 256] [--rate 5e-5] [--save FOLDER]

It is given the very tokens of our shards, already numbers and in memory, so that no tokenizing is timed; logging and
saving are off. A lap is from the end of one optimiser step to the end of the next, with whatever lies between.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from rows import Features, documents, features, full_rows, spread
from transformers import BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling, Trainer, TrainingArguments

from bothways import machine
from bothways.corpus import Shards


class Clock(transformers.TrainerCallback):
    """Counts the tokens that enter the model, padded and real, and looks at both clocks after every step."""

    def __init__(self) -> None:
        self.real = self.computed = 0
        self.marks: list[tuple[int, int, float, float]] = []

    def count(self, model: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        """Counts the tokens of a forward pass, real ones and padding."""
        self.real += int(kwargs["attention_mask"].sum())
        self.computed += kwargs["input_ids"].numel()

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """The first moment."""
        self._mark()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """A moment for each step."""
        self._mark()

    def _mark(self) -> None:
        self.marks.append((self.real, self.computed, time.perf_counter(), time.process_time()))


def dataset(shards: Shards, given: argparse.Namespace) -> list[Features]:
    """Tokens in the shape the Trainer is to train on, in memory."""
    tokens, _ = shards.train.read(0, shards.train.token_count)
    if not given.padded:
        return full_rows(tokens, shards.vocabulary, given.length)
    rng = np.random.default_rng(given.seed)
    rows = documents(tokens, shards.vocabulary, given.length)
    batch = given.batch * given.accumulate
    chosen = [row for laps in (given.warmup, given.steps - given.warmup) for row in spread(rows, laps * batch, rng)]
    return [features(row, shards.vocabulary) for row in chosen]


def train(given: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Builds, trains, and says how it went."""
    shards, clock = Shards.open(given.shards), Clock()
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    dropout = {} if given.dropout is None else dict.fromkeys(names, given.dropout)
    torch.manual_seed(given.seed)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=shards.vocabulary.size,
            hidden_size=given.width,
            num_hidden_layers=given.layers,
            num_attention_heads=given.width // 64,
            intermediate_size=4 * given.width,
            max_position_embeddings=512,
            **dropout,
        )
    )
    model.register_forward_pre_hook(clock.count, with_kwargs=True)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=folder,
            max_steps=given.steps,
            learning_rate=given.rate,
            warmup_steps=given.rising,
            per_device_train_batch_size=given.batch,
            gradient_accumulation_steps=given.accumulate,
            train_sampling_strategy="sequential" if given.padded else "random",
            bf16=given.bf16,
            seed=given.seed,
            use_cpu=True,
            dataloader_num_workers=0,
            remove_unused_columns=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=dataset(shards, given),
        data_collator=DataCollatorForLanguageModeling(
            transformers.AutoTokenizer.from_pretrained(shards.path / "tokenizer"), mlm_probability=0.15
        ),
        callbacks=[clock],
    )
    trainer.train()
    if given.save:
        trainer.save_model(given.save)
        trainer.data_collator.tokenizer.save_pretrained(given.save)
    laps = np.diff(np.array(clock.marks), axis=0)  # [steps, real | computed | wall | processor time]
    return {
        "laps": laps.tolist(),
        "parameters": model.num_parameters(),
        "dropout": model.config.hidden_dropout_prob,
        "attention": model.config._attn_implementation,
        "optimiser": trainer.args.optim.value,
        "huge_pages": machine.huge_pages_asked(),
    }


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("shards", type=Path)
    found.add_argument("--length", type=int, required=True, help="tokens in a row; with --padded, at most")
    found.add_argument("--batch", type=int, default=16, help="rows at once")
    found.add_argument("--accumulate", type=int, default=1, help="batches in an optimiser step")
    found.add_argument("--steps", type=int, required=True, help="optimiser steps, the warm-up among them")
    found.add_argument("--warmup", type=int, default=2, help="steps that are not timed")
    found.add_argument("--layers", type=int, default=12)
    found.add_argument("--width", type=int, default=256)
    found.add_argument("--rate", type=float, default=5e-5, help="the Trainer's own is 5e-5")
    found.add_argument("--rising", type=int, default=0, help="steps in which the rate rises to it; it falls to 0 after")
    found.add_argument("--save", help="a folder for the model and its tokenizer")
    found.add_argument("--bf16", action="store_true")
    found.add_argument("--padded", action="store_true", help="a document a row, padded to the longest of its batch")
    found.add_argument("--dropout", type=float, help="left out: BertConfig's own")
    found.add_argument("--seed", type=int, default=0)
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as aside:
        print(json.dumps(train(parser().parse_args(), aside)))
