"""PET from a configuration to a classifier: members trained by patterns, their labels for unlabelled texts, and a plain
classifier that learns these (Schick & Schuetze 2021, "Exploiting cloze questions for few-shot text classification and
natural language inference"); with several generations, iPET (section 3.4).

A member that is finished is a file; a run that was stopped goes on with the next one, and with the classifier where all
are there. Everything random is a function of the seed and the member's numbers.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bothways import __version__
from bothways.arguments import checked
from bothways.claims import claimed
from bothways.config import settled
from bothways.corpus.lines import Skip
from bothways.errors import DataError, Stopped, UsageError
from bothways.files import write_text
from bothways.inference.engine import Engine
from bothways.inference.prompting import LabelScores, Prompt, clozes_of
from bothways.machine import device_of, precision_for
from bothways.model.huggingface.adapter_folders import fingerprint
from bothways.stopping import Signalled
from bothways.tasks.classify import Classify
from bothways.tasks.pattern import ROLES, Pattern, Slots, words_of
from bothways.tasks.reading import enough, hold_out, streamed
from bothways.tasks.records import Skipped, check_roles, refuse
from bothways.terminal import command
from bothways.training.finetuning import FinetuneConfig, finetune
from bothways.training.finetuning.config import LearningSettings
from bothways.training.fit import Say, Show, stoppable
from bothways.training.prompting.config import PetConfig
from bothways.training.prompting.ensemble import Member, accuracy, taught_by_others, together, weights_of
from bothways.training.prompting.file import labelled, texts_of
from bothways.training.prompting.member import MemberData, asked_of, open_filler, train_member
from bothways.training.run_folder import RunFolder

Texts = tuple[str, ...]
FOLDER, SOFT = "pet", "soft.jsonl"
"""In the run's folder: the members, and in it the unlabelled texts with their labels."""
OR_DEV = ", or name a --dev file"
_COLUMNS = {"text": "text", "other": "text_b", "label": "label"}


@dataclass(frozen=True, slots=True)
class EnsembleData:
    """What all members are given.

    examples    labelled texts; `gold` [E] are the numbers of their labels
    unlabelled  texts
    test        labelled texts to measure by, perhaps none; `test_gold` [tests]
    columns     {role: column} that were named
    skipped     what was wrong with records that were left out
    """

    prompts: list[Prompt]
    examples: list[tuple[Texts, str]]
    gold: np.ndarray
    unlabelled: list[Texts]
    test: list[tuple[Texts, str]]
    test_gold: np.ndarray
    columns: Mapping[str, str]
    skipped: list[str]


@settled(PetConfig)
@checked
def pet(
    config: PetConfig,
    *,
    resume: bool = False,
    device: torch.device | str | None = None,
    show: Show = lambda line: None,
    say: Say = lambda text: None,
) -> Path:
    """Trains the members, labels the unlabelled texts, and fine-tunes a classifier to that; returns the run's folder,
    in which all is as `finetune` leaves it, and pet/ with the members' scores and a manifest.

    `show` is handed the lines of the classifier's metrics.jsonl, `say` what is being done.

    Raises:
        BothwaysError: whatever a user can cause.
        Stopped: SIGTERM or Ctrl-C came; the members that are finished are saved.
    """
    place = device_of(device)
    with claimed(config.out), stoppable(config.out / FOLDER, _again(config)):
        _pet(config, place, resume=resume, show=show, say=say)
    return config.out


def _again(config: PetConfig) -> str:
    return command("pet", "--resume", "--out", config.out)


def _pet(config: PetConfig, place: torch.device, *, resume: bool, show: Show, say: Say) -> None:
    folder = RunFolder(config.out / FOLDER)
    if resume:
        folder.check_same(config)
    say("reading the records and the model")
    material = _material(config)
    engine = open_filler(config, place)
    for prompt in material.prompts:  # refused before anything is computed
        slots = Slots.of(prompt.pattern, prompt.verbaliser, engine.tokenizer)
        clozes_of(engine, prompt.pattern, [("",) * len(prompt.pattern.fields)], slots.lengths, LabelScores(()))
    if not resume:
        _refuse_other_runs(config.out)
        folder.create(config)
        folder.checkpoints.rmdir()
    _check_same(folder, material, engine)
    precision = precision_for(config.precision, device=place, begun=folder.manifest().get("precision"))
    folder.note(status="running", precision=precision, versions={"bothways": __version__, "torch": torch.__version__})
    alike: Any = {"precision": precision}  # of all members
    members = _generations(config.model_copy(update=alike), engine, material, folder, say)
    _summarise(config, members, material, folder)
    _write_soft(config, members, material)
    say("fine-tuning the classifier to the labels of the ensemble")
    wanted = _classifier(config, material)
    begun = (config.out / "config.yaml").is_file()
    try:
        finetune(wanted, resume=begun, device=place, show=show, say=say)
    except Stopped as stopped:
        folder.note(status="stopped")
        message = f"stopped; all members and what the classifier has learned are saved. Go on with: {_again(config)}"
        raise Stopped(message, exit_code=stopped.exit_code) from None
    folder.note(status="done")


def _check_same(folder: RunFolder, material: EnsembleData, engine: Engine) -> None:
    """Members that are finished were trained by the same records, from the same model.

    Raises:
        DataError: they were not.
    """
    read = repr((material.examples, material.unlabelled, material.test)).encode()
    hashes = {"records": hashlib.sha256(read).hexdigest(), "model": fingerprint(engine.model)}
    noted = folder.manifest().get("material", hashes)
    if changed := [name for name, value in hashes.items() if noted.get(name) != value]:
        raise DataError(
            f"{folder.path}: the {' and the '.join(changed)} that members were trained from have changed since. "
            "Bring back what was there, or begin again with another --out"
        )
    folder.note(material=hashes)


def _refuse_other_runs(out: Path) -> None:
    if (out / "manifest.json").exists() or (out / FOLDER / "manifest.json").exists():
        raise UsageError(f"{out} holds a run already. Go on with --resume, or choose another --out.")


def _material(config: PetConfig) -> EnsembleData:
    """
    Raises:
        DataError: a record that cannot be read, or whose label has no word, unless such are skipped; or none.
        UsageError: a pattern or verbaliser that does not serve, or patterns that do not go together.
    """
    check_roles(config.columns)
    words, skip = words_of(config.verbaliser), Skipped() if config.skip_bad else refuse
    patterns = [Pattern.parse(text) for text in config.pattern]
    if not patterns:
        raise UsageError("expected a pattern or more, got none: --pattern '{text} It was [MASK].'")
    if config.generations > 1 and len(patterns) * config.repetitions == 1:
        raise UsageError(
            "a generation is taught by the other members of the one before: give another --pattern, or more repetitions"
        )
    columns = dict(config.columns)
    for pattern in patterns:
        if odd := next((role for role, name in pattern.columns.items() if columns.get(role, name) != name), None):
            raise UsageError(
                f"pattern {pattern.text!r}: expected {columns[odd]!r}, which another names, in the place of "
                f"{pattern.columns[odd]!r}: all patterns are of the same texts"
            )
        columns |= pattern.columns
    widest = max(patterns, key=lambda pattern: len(pattern.fields))
    prompts = [Prompt(pattern, words) for pattern in patterns]

    def read(file: Path) -> list[tuple[Texts, str]]:
        _, found = labelled(file, widest, words, columns, skip)
        return [(texts_of(one, widest), str(one.gold)) for one in found]

    def numbers(some: Sequence[tuple[Texts, str]]) -> np.ndarray:
        return np.array([[*words].index(label) for _, label in some], dtype=np.int64)

    examples, test = read(config.train), read(config.test) if config.test else []
    if config.dev:
        read(config.dev)  # the classifier reads it last: what is wrong with it is said first
    unlabelled = _unlabelled(config, widest, {key: one for key, one in columns.items() if key in ROLES}, skip)
    skipped = skip.found if isinstance(skip, Skipped) else []
    return EnsembleData(prompts, examples, numbers(examples), unlabelled, test, numbers(test), columns, skipped)


def _unlabelled(config: PetConfig, pattern: Pattern, columns: Mapping[str, str], skip: Skip) -> list[Texts]:
    _, found = streamed(Classify(), config.unlabelled, given=columns, skip=skip, gold=False)
    examples = [replace(one, texts=texts_of(one, pattern)) for one in found]
    enough(examples, config.unlabelled, "without labels", skip)
    if not config.dev:  # the classifier is fine-tuned last: what it lacks is said first
        for side, what in zip(hold_out(examples, config.dev_share), ("to train on", "to choose by"), strict=True):
            enough(side, config.unlabelled, f"{what}, held out by a hash of their texts", skip, otherwise=OR_DEV)
    return [one.texts for one in examples]


def _generations(
    config: PetConfig, engine: Engine, material: EnsembleData, folder: RunFolder, say: Say
) -> list[Member]:
    """All members of all generations, those that are there and those that are trained now.

    Raises:
        Stopped: a signal came.
    """
    begun = {name: weight.clone() for name, weight in engine.model.state_dict().items()}
    members: list[Member] = []
    ways = (range(1, config.generations + 1), range(1, len(material.prompts) + 1), range(1, config.repetitions + 1))
    try:
        for numbers in product(*ways):
            found = Member.load(folder.path / "members", *numbers)
            if found is None:
                last = [one for one in members if one.generation == numbers[0] - 1]
                found = _trained(config, engine, begun, material, last, numbers)
                found.save(folder.path / "members")
            members.append(found)
            told = {name: value for name, value in facts_of(found, material).items() if isinstance(value, float)}
            say(f"{found.name}: " + ", ".join(f"{name} {value:.4f}" for name, value in told.items()))
    except Signalled as came:
        folder.note(status="stopped")
        message = f"stopped; the first {len(members)} members are saved. Go on with: {_again(config)}"
        raise Stopped(message, exit_code=came.exit_code) from None
    return members


def _trained(
    config: PetConfig,
    engine: Engine,
    begun: Mapping[str, torch.Tensor],
    material: EnsembleData,
    last: Sequence[Member],
    numbers: tuple[int, int, int],
) -> Member:
    """One member. The model begins from the same weights every time."""
    prompt, seed = material.prompts[numbers[1] - 1], zlib.crc32(repr((config.seed, *numbers)).encode())
    engine.model.float().load_state_dict(begun)  # the last one may have computed in bfloat16
    engine.model.eval()
    labelled_texts = [texts for texts, _ in material.examples]
    untrained = asked_of(engine, prompt, labelled_texts)
    examples = [*material.examples, *_drawn(config, material, last, numbers, seed)]
    train_member(config, engine, prompt, MemberData(examples, material.unlabelled, seed))
    return Member(
        *numbers,
        taught=len(examples),
        untrained=untrained,
        train=asked_of(engine, prompt, labelled_texts),
        unlabelled=asked_of(engine, prompt, material.unlabelled),
        test=asked_of(engine, prompt, [texts for texts, _ in material.test]),
    )


def _drawn(
    config: PetConfig, material: EnsembleData, last: Sequence[Member], numbers: tuple[int, int, int], seed: int
) -> list[tuple[Texts, str]]:
    """What a member is taught beside the labelled examples: in the first generation nothing; later what a share of the
    other members of the one before say, with labels in the proportions of the labelled ones."""
    others = [one for one in last if (one.pattern, one.repetition) != numbers[1:]]
    if not others:
        return []
    rng = np.random.default_rng([seed, 2])
    chosen = rng.permutation(len(others))[: max(1, round(config.others * len(others)))]
    some = [others[i] for i in sorted(chosen.tolist())]
    weights = weights_of(some, material.gold, equal=config.weights == "equal")
    shares = together([one.unlabelled for one in some], weights)
    labels = [*material.prompts[0].verbaliser]
    more = config.growth ** (numbers[0] - 1) - 1
    counts = [round(int(count) * more) for count in np.bincount(material.gold, minlength=len(labels))]
    return [(material.unlabelled[i], labels[label]) for i, label in taught_by_others(shares, counts, rng)]


def facts_of(member: Member, material: EnsembleData) -> dict[str, Any]:
    """What the manifest has of a member."""
    facts = {
        "name": member.name,
        "pattern": material.prompts[member.pattern - 1].pattern.text,
        "taught": member.taught,
        "untrained": accuracy(member.untrained, material.gold),
        "train": accuracy(member.train, material.gold),
    }
    return facts | ({"test": accuracy(member.test, material.test_gold)} if material.test else {})


def _last(config: PetConfig, members: Sequence[Member], material: EnsembleData) -> tuple[list[Member], np.ndarray]:
    """The members of the last generation, and what each weighs."""
    last = [one for one in members if one.generation == config.generations]
    return last, weights_of(last, material.gold, equal=config.weights == "equal")


def _summarise(config: PetConfig, members: Sequence[Member], material: EnsembleData, folder: RunFolder) -> None:
    """Writes what each member is worth, and the ensemble."""
    last, weights = _last(config, members, material)
    ensemble = {"train": accuracy(together([one.train for one in last], weights), material.gold)}
    if material.test:
        ensemble["test"] = accuracy(together([one.test for one in last], weights), material.test_gold)
    labels = [*material.prompts[0].verbaliser]
    shares = together([one.unlabelled for one in last], weights)
    given = np.bincount(shares.argmax(1), minlength=len(labels))
    folder.note(
        examples={"train": len(material.examples), "unlabelled": len(material.unlabelled), "test": len(material.test)},
        verbaliser=dict(material.prompts[0].verbaliser),
        members=[facts_of(one, material) for one in members],
        weights={one.name: float(weight) for one, weight in zip(last, weights, strict=True)},
        ensemble=ensemble,
        labelled=dict(zip(labels, given.tolist(), strict=True)),
        skipped=material.skipped,
    )


def _write_soft(config: PetConfig, members: Sequence[Member], material: EnsembleData) -> None:
    """The unlabelled texts as records to fine-tune by: the ensemble's label, and its soft labels."""
    last, weights = _last(config, members, material)
    shares = together([one.unlabelled for one in last], weights, temperature=config.temperature)
    labels = [*material.prompts[0].verbaliser]
    names = {**_COLUMNS, **material.columns}

    def lines() -> Iterator[str]:
        for texts, own in zip(material.unlabelled, shares, strict=True):
            record: dict[str, Any] = dict(zip((names[role] for role in ROLES), texts, strict=False))
            record[names["label"]] = labels[int(own.argmax())]
            record["soft_labels"] = {label: round(float(one), 6) for label, one in zip(labels, own, strict=True)}
            yield json.dumps(record, ensure_ascii=False) + "\n"

    write_text(config.out / FOLDER / SOFT, "".join(lines()))


def _classifier(config: PetConfig, material: EnsembleData) -> FinetuneConfig:
    """How the classifier is fine-tuned."""
    learning = {name: getattr(config, name) for name in LearningSettings.model_fields}
    files: dict[str, Any] = {"train": config.out / FOLDER / SOFT, "dev": config.dev, "test": config.test}
    return FinetuneConfig(task="classify", columns=dict(material.columns), **files, **learning)
