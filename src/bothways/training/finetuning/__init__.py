"""Fine-tuning: records to examples, examples to tokens, answers to scores; training, predicting, evaluating."""

from bothways.training.finetuning.config import FinetuneConfig as FinetuneConfig
from bothways.training.finetuning.evaluate import evaluate as evaluate
from bothways.training.finetuning.multitask import finetune_multitask as finetune_multitask
from bothways.training.finetuning.multitask_config import MultiTaskConfig as MultiTaskConfig
from bothways.training.finetuning.multitask_config import tasks_in as tasks_in
from bothways.training.finetuning.predict import predict as predict
from bothways.training.finetuning.run import finetune as finetune
from bothways.training.finetuning.seeds import finetune_seeds as finetune_seeds
