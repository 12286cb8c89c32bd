"""What a run will cost before it starts, and what to train with what there is."""

from bothways.planning.devices import DEVICES, Device, Fleet, device
from bothways.planning.plan import AGAIN, Plan, plan
from bothways.planning.request import PlanConfig, advise, estimate
from bothways.planning.scale import Experts, Scale, best_parameters, best_tokens

__all__ = [
    "AGAIN",
    "DEVICES",
    "Device",
    "Experts",
    "Fleet",
    "Plan",
    "PlanConfig",
    "Scale",
    "advise",
    "best_parameters",
    "best_tokens",
    "device",
    "estimate",
    "plan",
]
