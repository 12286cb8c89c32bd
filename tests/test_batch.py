"""Samples stacked into a batch: nothing lost, nothing mixed up between rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bothways.batch import LENGTH_STEP, Batch, Row, Sample, Target, Vocabulary
from bothways.visibility import Layout, ordered


def sample(tokens: list[int], *targets: Target, document: list[int] | None = None) -> Sample:
    layout = Layout.of(document=document or [0] * len(tokens), step=range(len(tokens)))
    return Sample(np.array(tokens, dtype=np.int32), layout, targets)


def words(at: list[int], labels: list[int], **more: object) -> Target:
    return Target("words", np.array(at, dtype=np.int64), np.array(labels), **more)


def test_places_are_shifted_by_row() -> None:
    batch = Batch.stack([sample([7, 8, 9], words([0, 2], [8, 9])), sample([4, 5, 6], words([1], [6]))])
    (target,) = batch.targets
    assert batch.tokens.tolist() == [[7, 8, 9], [4, 5, 6]] and batch.tokens.dtype == torch.int64
    assert (target.at.tolist(), target.labels.tolist()) == ([0, 2, 4], [8, 9, 6])
    assert target.at.dtype == target.labels.dtype == torch.int64
    assert batch.tokens.flatten()[target.at].tolist() == [7, 9, 5]


def test_targets_are_gathered_by_head_and_name() -> None:
    batch = Batch.stack(
        [
            sample([1, 2], words([0], [2], name="causal")),
            sample([3, 4], words([1], [4], name="mlm"), Target("label", np.array([0]), np.array([1]), name="mlm")),
            sample([5, 6], words([0], [6], name="causal")),
            sample([7, 8]),
        ]
    )
    assert [(t.head, t.name, t.at.tolist()) for t in batch.targets] == [
        ("words", "causal", [0, 4]),
        ("words", "mlm", [3]),
        ("label", "mlm", [2]),
    ]


def test_one_weight_or_one_a_target() -> None:
    batch = Batch.stack(
        [sample([1, 2], words([0, 1], [2, 2], weight=0.5)), sample([3, 4], words([1], [4], weight=np.array([2.0])))]
    )
    assert batch.targets[0].weight.tolist() == [0.5, 0.5, 2.0]


@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 99)), max_size=6), min_size=1, max_size=5))
def test_every_answer_of_every_row_is_there_once(asked: list[list[tuple[int, int]]]) -> None:
    """Several answers may share a place, and a row may have none."""
    samples = [sample([0] * 5, words([at for at, _ in row], [label for _, label in row])) for row in asked]
    (target,) = Batch.stack(samples).targets
    found = list(zip(target.at.tolist(), target.labels.tolist(), strict=True))
    assert found == [(5 * i + at, label) for i, row in enumerate(asked) for at, label in row]


def test_rows_keep_their_layouts() -> None:
    batch = Batch.stack([sample([1, 2, 3], document=[0, 0, 1]), sample([4, 5, 0], document=[0, 0, -1])])
    assert batch.layout.document.tolist() == [[0, 0, 1], [0, 0, -1]]
    assert batch.layout.position.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert batch.token_count == 5


def test_rows_of_different_lengths_are_padded_with_documents_of_one_token() -> None:
    batch = Batch.stack([sample([1, 2], document=[0, -1]), sample([3, 4, 5], words([2], [6]))])
    assert batch.tokens.shape == (2, LENGTH_STEP)
    assert batch.tokens[:, :3].tolist() == [[1, 2, 0], [3, 4, 5]]
    assert batch.token_count == 4
    assert all(len(set(row.tolist())) == len(row) for row in batch.layout.document[:, 3:])
    assert batch.targets[0].at.tolist() == [LENGTH_STEP + 2]
    mask = ordered.dense(batch.layout)[:, 0]
    assert torch.equal(mask[0, 1:], torch.eye(LENGTH_STEP, dtype=torch.bool)[1:])


def test_groups_stay_with_their_targets() -> None:
    """Those of one number are one group, in whichever row they stand; a target without shares with none."""
    some = [replace(words([0, 2], [7, 8]), group=np.array([4, 5])), words([1], [9]), words([0], [6])]
    some.append(replace(words([1, 2], [5, 4]), group=np.array([5, 5])))
    (target,) = Batch.stack([sample([1, 2, 3], one) for one in some]).targets
    assert target.group is not None and target.group.dtype == torch.int64
    assert target.labels.tolist() == [7, 8, 9, 6, 5, 4]
    assert target.group[[0, 1, 4, 5]].tolist() == [4, 5, 5, 5]
    assert len({*target.group.tolist()}) == 4  # the two without are in none of those, nor in one
    (plain,) = Batch.stack([sample([1, 2, 3], words([0], [7]))]).targets
    assert plain.group is None


def test_a_batch_moves_as_a_whole() -> None:
    batch = Batch.stack([sample([1, 2], words([0], [2]))]).to("meta")
    (target,) = batch.targets
    tensors = [batch.tokens, batch.layout.step, target.at, target.labels, target.weight]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_special_tokens_are_no_text() -> None:
    vocabulary = Vocabulary(size=9, pad=0, unk=1, cls=2, sep=3, mask=8, reserved=frozenset({5}))
    assert vocabulary.special == {0, 1, 2, 3, 5, 8}
    assert np.flatnonzero(vocabulary.text_table()).tolist() == [4, 6, 7]


def test_a_row_is_as_long_as_its_tokens() -> None:
    assert len(Row(np.arange(4), np.zeros(4), np.ones(4, dtype=bool))) == 4
