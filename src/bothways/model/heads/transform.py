"""A dense layer, an activation, and a norm: what stands between the states and the last matrix of many heads.

Letters: N targets, D width, E width that comes out.
"""

from __future__ import annotations

from torch import Tensor, nn

from bothways.model.block import ACTIVATIONS, norm_of
from bothways.model.config import ModelConfig


class Transform(nn.Module):
    """[N, D] -> [N, E]; behind a norm the dense layer has a bias where norms have one."""

    def __init__(self, config: ModelConfig, *, activation: str, norm: bool = False, width: int | None = None) -> None:
        super().__init__()
        width = width or config.width
        self.dense = nn.Linear(config.width, width, bias=config.norm.bias or not norm)
        self.norm = norm_of(config, width) if norm else None
        self.activation = ACTIVATIONS[activation]

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., D]"""
        found: Tensor = self.activation(self.dense(hidden))
        return found if self.norm is None else self.norm(found)
