"""`bothways models`: which families are read, what for, and what is refused."""

from __future__ import annotations

import json

import pytest

from bothways.errors import UsageError
from bothways.model.huggingface.families import FAMILIES
from tests.cli.conftest import Invoke


def test_every_family_is_listed_with_what_it_is_for(invoke: Invoke) -> None:
    records = json.loads(invoke("models", "--json").output)
    assert [record["model_type"] for record in records] == list(FAMILIES)
    (bert,) = json.loads(invoke("models", "bert", "--json").output)
    assert bert["classes"]["masked tokens"] == "BertForMaskedLM" and bert["computed"]["hidden_act"] == ["gelu"]


def test_what_one_of_them_computes_is_said(invoke: Invoke) -> None:
    shown = invoke("models", "modernbert").output
    assert "ModernBertForQuestionAnswering" in shown and "hidden_activation" in shown


def test_another_family_is_refused_with_those_there_are(invoke: Invoke) -> None:
    with pytest.raises(UsageError, match="unknown family 't5'. Known: bart, bart-decoder, bert, distilbert"):
        invoke("models", "t5")
