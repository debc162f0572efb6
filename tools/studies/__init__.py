"""What `tools/study.py` asks, and how: made faces, pre-trainings, uses of them, tables and figures.

The modules, from the outside in: `budget` and `pieces` (the questions), `answers` (what came out, and how it
is shown), `trials` (all runs that a question takes), `variants` (what is pre-trained how), `faces` (on what).
"""
