"""Keeps the former path of `ZeroStrategy`, which `config.yaml` of older DeepSpeed runs names."""

from maedfer.training.distributed.zero_strategy import ZeroStrategy

__all__ = ["ZeroStrategy"]
