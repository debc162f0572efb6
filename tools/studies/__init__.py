"""What `tools/study.py` asks, and how: made faces, pre-trainings, uses of them, tables and figures.

The modules, from the outside in: `budget`, `pieces` and `pooling` (the questions, with their figures),
`asked` (their flags), `answers` (what came out), `cost` (what a clip takes), `trials` (all runs that a
question takes), `variants` (how to pre-train), `faces` (on what). `results` holds what README.md beside them publishes,
`results/rate-6.4e-2` what was measured while `pretrain/demo` had that learning rate.
"""
