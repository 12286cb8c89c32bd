"""How well do models answer? Formats obeyed, references met, refusals, and which of two answers is the better."""

from bothways.evaluation.judging.judgement import Judgement as Judgement
from bothways.evaluation.judging.judging import judge as judge
