"""What a run will cost before it starts, and what to train with what there is."""

from bothways.planning.costs import Plan as Plan
from bothways.planning.costs import costs as costs
from bothways.planning.devices import DEVICES as DEVICES
from bothways.planning.devices import Device as Device
from bothways.planning.devices import Fleet as Fleet
from bothways.planning.devices import device as device
from bothways.planning.request import Advice as Advice
from bothways.planning.request import PlanConfig as PlanConfig
from bothways.planning.request import advise as advise
from bothways.planning.request import estimate as estimate
from bothways.planning.request import plan as plan
from bothways.planning.scale import Experts as Experts
from bothways.planning.scale import Scale as Scale
from bothways.planning.scale import best_parameters as best_parameters
from bothways.planning.scale import best_tokens as best_tokens
