"""Masked pre-training: `maedfer pretrain` and `maedfer reconstruct`."""
