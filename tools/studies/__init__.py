"""Answers the questions of `tools/study.py`: makes faces, pre-trains, fine-tunes, draws figures.

The modules, from the outside in: `budget`, `pieces` and `pooling` (the questions, with their figures),
`asked` (their flags), `answers` (the results), `cost` (operations of a clip), `trials` (all runs of a
question), `variants` (recipes of pre-training), `faces` (the sets). `results` holds what README.md publishes,
`results/rate-6.4e-2` what was measured while `pretrain/demo` had that learning rate.
"""
