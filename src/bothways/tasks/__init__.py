"""Fine-tuning: records to examples, examples to pieces, answers to scores; training, predicting, evaluating."""

from bothways.tasks.config import FinetuneConfig as FinetuneConfig
from bothways.tasks.finetune import finetune as finetune
from bothways.tasks.predict import evaluate as evaluate
from bothways.tasks.predict import predict as predict
from bothways.tasks.seeds import finetune_seeds as finetune_seeds
