"""What a saved model can be asked, and the config.json that makes transformers see it that way.

The modern shape has two faces over one set of weights: EuroBERT (Boizard et al. 2025) reads from all sides, Llama
(Touvron et al. 2023) from left to right; their parameters have the same names and only config.json differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast, get_args

from pydantic import ValidationError

from bothways.batch import Reads, Vocabulary
from bothways.errors import ModelError, unknown
from bothways.model.answers import Answers, Side
from bothways.model.config import ModelConfig, RotaryScaling
from bothways.model.names import PREFIX, ROBERTA_FIRST, ROBERTA_PAD, kind_of
from bothways.visibility import ordered

Face = Literal[
    "encoder",
    "decoder",
    "detector",
    "body",
    "classifier",
    "tagger",
    "answerer",
    "decoder-body",
    "decoder-classifier",
    "decoder-tagger",
    "decoder-answerer",
]
SAYS_WORDS = ("encoder", "decoder")

_ARCHITECTURES: dict[tuple[str, Face], tuple[str, str]] = {
    ("llama", "encoder"): ("eurobert", "EuroBertForMaskedLM"),
    ("llama", "decoder"): ("llama", "LlamaForCausalLM"),
    ("llama", "detector"): ("eurobert", "EuroBertForTokenClassification"),
    ("llama", "body"): ("eurobert", "EuroBertModel"),
    ("llama", "decoder-body"): ("llama", "LlamaModel"),
    ("llama", "classifier"): ("eurobert", "EuroBertForSequenceClassification"),
    ("llama", "tagger"): ("eurobert", "EuroBertForTokenClassification"),
    ("llama", "answerer"): ("llama", "LlamaForQuestionAnswering"),
    ("llama", "decoder-answerer"): ("llama", "LlamaForQuestionAnswering"),
    ("llama", "decoder-classifier"): ("llama", "LlamaForSequenceClassification"),
    ("llama", "decoder-tagger"): ("llama", "LlamaForTokenClassification"),
    ("qwen3", "decoder"): ("qwen3", "Qwen3ForCausalLM"),
    ("qwen3", "body"): ("qwen3", "Qwen3Model"),
    ("qwen3", "decoder-body"): ("qwen3", "Qwen3Model"),
    ("qwen3", "decoder-classifier"): ("qwen3", "Qwen3ForSequenceClassification"),
    ("qwen3", "decoder-tagger"): ("qwen3", "Qwen3ForTokenClassification"),
    ("qwen3", "decoder-answerer"): ("qwen3", "Qwen3ForQuestionAnswering"),
    ("roberta", "encoder"): ("roberta", "RobertaForMaskedLM"),
    ("roberta", "decoder"): ("roberta", "RobertaForCausalLM"),
    ("roberta", "body"): ("roberta", "RobertaModel"),
    ("roberta", "decoder-body"): ("roberta", "RobertaModel"),
    ("roberta", "classifier"): ("roberta", "RobertaForSequenceClassification"),
    ("roberta", "tagger"): ("roberta", "RobertaForTokenClassification"),
    ("roberta", "answerer"): ("roberta", "RobertaForQuestionAnswering"),
    ("bert", "encoder"): ("bert", "BertForMaskedLM"),
    ("bert", "decoder"): ("bert", "BertLMHeadModel"),
    ("bert", "detector"): ("electra", "ElectraForPreTraining"),
    ("bert", "body"): ("bert", "BertModel"),
    ("bert", "decoder-body"): ("bert", "BertModel"),
    ("bert", "classifier"): ("bert", "BertForSequenceClassification"),
    ("bert", "tagger"): ("bert", "BertForTokenClassification"),
    ("bert", "answerer"): ("bert", "BertForQuestionAnswering"),
    ("electra", "encoder"): ("electra", "ElectraForMaskedLM"),
    ("electra", "decoder"): ("electra", "ElectraForCausalLM"),
    ("electra", "detector"): ("electra", "ElectraForPreTraining"),
    ("electra", "body"): ("electra", "ElectraModel"),
    ("electra", "decoder-body"): ("electra", "ElectraModel"),
    ("electra", "classifier"): ("electra", "ElectraForSequenceClassification"),
    ("electra", "tagger"): ("electra", "ElectraForTokenClassification"),
    ("electra", "answerer"): ("electra", "ElectraForQuestionAnswering"),
}


@dataclass(frozen=True, slots=True)
class Trained:
    """What an objective taught the weights, and so what they can be asked.

    objective  its expression ("hybrid"); empty when unknown, as in a published checkpoint
    faces      "encoder" reads from all sides, "decoder" from left to right and says the next word; none of the two
               when the objective reads in another way, or a body from left to right says no words
    hidden     where a hidden word is said: at its place, one place before it (GPT-BERT), or nowhere
    decoding   {way of using it that its faces do not imply ("detect", "unmask", ...): its size, or 0}
    reads      how the body reads a text, where there is no face
    answers    what it was fine-tuned to say
    rule       who sees whom (`visibility.named`); transformers knows "ordered" alone: under others a body is saved
    """

    objective: str
    faces: tuple[str, ...]
    hidden: Literal["in place", "before"] | None
    decoding: Mapping[str, int] = field(default_factory=dict)
    reads: Reads | None = None
    answers: Answers | None = None
    rule: str = ordered.name

    @property
    def folders(self) -> dict[str, Face]:
        """{folder to save: its face}; an encoder that says no words is a detector, or a body alone."""
        if self.answers is not None:
            return {"model": cast("Face", self.answers.face)}
        if not self.faces or self.rule != ordered.name:
            left = self.reads == "left to right" or self.faces == ("decoder",)
            return {"body": "decoder-body" if left else "body"}
        silent: Face = "detector" if "detect" in self.decoding else "body"
        return {
            face: silent if face == "encoder" and self.hidden is None else cast("Face", face) for face in self.faces
        }

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Trained:
        """
        Raises:
            ModelError: something else than `as_json` wrote.
        """
        faces, hidden = values.get("faces"), values.get("hidden")
        if (
            not isinstance(faces, list)
            or not {*faces} <= {"encoder", "decoder"}
            or hidden not in {"in place", "before", None}
        ):
            raise ModelError(f"bothways.json: expected faces and hidden as Bothways writes them, got {dict(values)}")
        decoding, reads = values.get("decoding", {}), values.get("reads")
        if not isinstance(decoding, dict) or reads not in {*get_args(Reads), None}:
            raise ModelError(f"bothways.json: expected decoding and reads as Bothways writes them, got {dict(values)}")
        answers = values.get("answers")
        return cls(
            str(values.get("objective", "")),
            tuple(faces),
            hidden,
            decoding,
            reads,
            Answers.from_json(answers) if answers else None,
            str(values.get("rule", ordered.name)),
        )

    @classmethod
    def guess(cls, values: Mapping[str, Any], *, words: bool) -> Trained:
        """For a folder that others wrote: by what its config.json names, and whether it can say words.

        Raises:
            ModelError: a classifier that pools in a way that is not ours.
        """
        kind = "".join(values.get("architectures") or ())
        if (answers := _answers_of(values, kind)) is not None:
            return cls("", (answers.reads,), None, answers=answers)
        if kind.endswith(("CausalLM", "LMHeadModel")) or (words and _from_left(values)):
            return cls("", ("decoder",), None)
        if _from_left(values) or (kind.endswith("Model") and values.get("is_decoder")):
            return cls("", (), None, reads="left to right")
        if kind == "ElectraForPreTraining":
            return cls("", ("encoder",), None, {"detect": 0})
        return cls("", ("encoder",), "in place" if words else None)


def architecture(config: ModelConfig, face: str) -> tuple[str, str]:
    """Hugging Face's (model_type, class) for a face of this shape.

    Raises:
        UsageError: an unknown face.
        ModelError: a shape that Hugging Face does not have; worth asking before a run is started.
    """
    found = {name: value for (kind, name), value in _ARCHITECTURES.items() if kind == kind_of(config)}
    if face not in get_args(Face):
        raise unknown("face", face, found)
    if face not in found:
        raise ModelError(f"Hugging Face has no {face} of {kind_of(config)}'s shape; it has: {', '.join(sorted(found))}")
    if config.shape == "modern" and config.segments:
        raise ModelError(
            "the modern shape with segments cannot be saved: EuroBERT and Llama have none. Set segments to 0."
        )
    if config.shape == "classic" and not config.segments:
        raise ModelError("the classic shape without segments cannot be saved: BERT always has them. Set segments to 2.")
    if config.shape == "classic" and face in SAYS_WORDS and config.word_head == "tied":
        raise ModelError("BERT's word head is a transformed one: set word_head to transformed, not tied")
    return found[face]


def config_json(
    config: ModelConfig, *, vocabulary: Vocabulary, face: str, answers: Answers | None = None
) -> dict[str, Any]:
    """The config.json of one face; of a fine-tuned model, with what it answers.

    Raises:
        ModelError: the shape has no such face, or its table is too small for the vocabulary.
    """
    kind, name = architecture(config, face)
    if config.vocabulary < vocabulary.size:
        raise ModelError(
            f"the tokenizer has {vocabulary.size} pieces, the model {config.vocabulary}: they do not belong together"
        )
    if kind == "roberta" and vocabulary.pad != ROBERTA_PAD:
        raise ModelError(f"RoBERTa's padding is piece {ROBERTA_PAD}, this tokenizer's is {vocabulary.pad}")
    shared = {
        "architectures": [name],
        "model_type": kind,
        "dtype": "float32",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "intermediate_size": config.inner,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.length + (ROBERTA_FIRST if kind == "roberta" else 0),
        "initializer_range": config.init,
        "tie_word_embeddings": config.word_head != "untied",
        **({"id2label": {"0": "original", "1": "replaced"}} if face == "detector" else {}),
        **(_answers_json(answers) if answers else {}),
        "pad_token_id": vocabulary.pad if vocabulary.pad < config.vocabulary else vocabulary.sep,
        "bos_token_id": vocabulary.cls,
        "eos_token_id": vocabulary.sep,
    }
    if config.shape == "classic":
        return shared | {
            **({"embedding_size": config.embedding_width or config.width} if kind == "electra" else {}),
            "hidden_act": "gelu",
            "hidden_dropout_prob": config.dropout,
            "attention_probs_dropout_prob": 0.0,
            "layer_norm_eps": config.epsilon,
            "type_vocab_size": config.segments,
            "is_decoder": face in ("decoder", "decoder-body"),
        }
    return shared | {
        **({"is_causal": False} if face == "answerer" or (kind, face) == ("qwen3", "body") else {}),  # all sides
        **({"mask_token_id": vocabulary.mask} if kind == "eurobert" else {}),
        **({"use_sliding_window": False} if kind == "qwen3" else {}),
        "num_key_value_heads": config.key_heads or config.heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "rms_norm_eps": config.epsilon,
        "rope_parameters": {"rope_theta": config.rotary_base, **_rope(config.rotary_scaling)},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
    }


_PROBLEMS = {
    "one": "single_label_classification",
    "several": "multi_label_classification",
    "number": "regression",
    "choice": "regression",  # one number a choice; transformers has no softmax over texts
}


def _answers_json(answers: Answers) -> dict[str, Any]:
    return {
        "id2label": {str(number): label for number, label in enumerate(answers.labels)},
        "label2id": {label: number for number, label in enumerate(answers.labels)},
        **({"problem_type": _PROBLEMS[answers.kind]} if answers.head == "label" else {}),
        **({"classifier_pooling": "mean"} if answers.face == "classifier" else {}),  # EuroBERT's
    }


def read_config(values: Mapping[str, Any], *, words: bool) -> ModelConfig:
    """The shape that a config.json describes; `words`: a word head of its own is among the weights.

    Raises:
        ModelError: a kind of model that is not ours, or a variant of it.
    """
    kind = str(values.get("model_type"))
    if kind not in PREFIX:
        raise ModelError(f"config.json: model_type is {kind}; Bothways loads {', '.join(sorted(PREFIX))}")
    try:
        fields = (_modern if PREFIX[kind] == "model." else _classic)(values, words=words)
        return ModelConfig(
            vocabulary=values["vocab_size"],
            layers=values["num_hidden_layers"],
            width=values["hidden_size"],
            heads=values["num_attention_heads"],
            inner=values["intermediate_size"],
            length=values["max_position_embeddings"] - (ROBERTA_FIRST if PREFIX[kind] == "roberta." else 0),
            init=values.get("initializer_range", 0.02),
            **fields,
        )
    except KeyError as error:
        raise ModelError(f"config.json: {error.args[0]} is missing") from None
    except (TypeError, ArithmeticError) as error:
        raise ModelError(f"config.json: expected numbers for the sizes of the model ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(f"config.json: {first['loc']}: {first['msg']}, got {first['input']!r}") from None


_HEADS: dict[str, tuple[str, Literal["label", "tags", "span"]]] = {
    "ForSequenceClassification": ("classify", "label"),
    "ForTokenClassification": ("tag", "tags"),
    "ForQuestionAnswering": ("answer", "span"),
}
"""{what the name of a transformers class ends in: the task, and the head}."""


def _answers_of(values: Mapping[str, Any], kind: str) -> Answers | None:
    """What a model that others fine-tuned says; None: it was not, or in a way that is not ours.

    Raises:
        ModelError: a EuroBERT that does not pool by the mean.
    """
    ending = next((ending for ending in _HEADS if kind.endswith(ending)), None)
    if ending is None:
        return None
    task, head = _HEADS[ending]
    named = values.get("id2label") or {str(i): f"LABEL_{i}" for i in range(2)}  # transformers' own silent default
    labels = tuple(named[number] for number in sorted(named, key=int))
    reads: Side = "decoder" if _from_left(values) else "encoder"
    if head == "span":
        return Answers(task, head, labels, "span", reads)
    if head == "tags":
        return Answers(task, head, labels, "one", reads)
    if kind.startswith("EuroBert"):
        _require(values, "classifier_pooling", "mean", silent="late")
    if values.get("problem_type") == "regression" or len(labels) == 1:
        return Answers("match", head, labels, "number", reads)
    several = values.get("problem_type") == "multi_label_classification"
    return Answers(task, head, labels, "several" if several else "one", reads)


def _from_left(values: Mapping[str, Any]) -> bool:
    """Whether it is a kind that reads from left to right, unless its config.json says otherwise."""
    return values.get("model_type") in ("llama", "qwen3") and bool(values.get("is_causal", True))


def _modern(values: Mapping[str, Any], *, words: bool) -> dict[str, Any]:
    body = "".join(values.get("architectures") or ()).endswith("Model")
    heads, qwen = values["num_attention_heads"], values["model_type"] == "qwen3"
    of_old = {"rope_theta": values.get("rope_theta", 10_000.0), **(values.get("rope_scaling") or {})}
    # What transformers assumes where config.json is silent, and what our shape has.
    _require(values, "hidden_act", "silu", silent="silu")
    _require(values, "attention_bias", False, silent=False)
    _require(values, "mlp_bias", False, silent=False)
    _require(values, "use_sliding_window", False, silent=False)
    key_heads = values.get("num_key_value_heads") or heads
    head_size = values.get("head_dim") or (128 if qwen else values["hidden_size"] // heads)
    return {
        "shape": "modern",
        **_rotary(values.get("rope_parameters") or of_old),
        "key_heads": None if key_heads == heads else key_heads,
        "head_size": None if head_size * heads == values["hidden_size"] else head_size,
        "head_norm": qwen,
        "epsilon": values["rms_norm_eps"],
        "word_head": "tied" if values.get("tie_word_embeddings") or (body and not words) else "untied",
    }


_LLAMA3 = {
    "factor": "factor",
    "low": "low_freq_factor",
    "high": "high_freq_factor",
    "length": "original_max_position_embeddings",
}
"""{field of RotaryScaling: its name in config.json}"""


def _rope(scaling: RotaryScaling | None) -> dict[str, Any]:
    if scaling is None:
        return {"rope_type": "default"}
    return {"rope_type": "llama3", **{theirs: getattr(scaling, ours) for ours, theirs in _LLAMA3.items()}}


def _rotary(rope: Mapping[str, Any]) -> dict[str, Any]:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise ModelError(f"config.json: rope_type is {kind!r}; Bothways loads 'default' and 'llama3'")
    scaling = None if kind == "default" else {ours: rope[theirs] for ours, theirs in _LLAMA3.items()}
    return {"rotary_base": rope["rope_theta"], "rotary_scaling": scaling}


def _classic(values: Mapping[str, Any], *, words: bool) -> dict[str, Any]:
    _require(values, "tie_word_embeddings", True, silent=True)
    _require(values, "hidden_act", "gelu", silent="gelu")
    _require(values, "position_embedding_type", "absolute", silent="absolute")
    _require(values, "add_cross_attention", False, silent=False)
    if PREFIX[values["model_type"]] == "roberta.":
        _require(values, "pad_token_id", ROBERTA_PAD, silent=ROBERTA_PAD)
        _require(values, "type_vocab_size", 1, silent=2)
    return {
        "shape": "classic",
        "epsilon": values["layer_norm_eps"],
        "dropout": values["hidden_dropout_prob"],
        "segments": values["type_vocab_size"],
        "embedding_width": values.get("embedding_size", 128) if values["model_type"] == "electra" else None,
        "word_head": "transformed" if words else "tied",
    }


def _require(values: Mapping[str, Any], key: str, expected: Any, *, silent: Any) -> None:
    """`silent` is what transformers takes where the key is absent or null."""
    got = values.get(key)
    got = silent if got is None else got
    if got != expected:
        raise ModelError(f"config.json: {key} is {got!r}; Bothways loads this kind of model with {expected!r} only")
