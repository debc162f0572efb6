"""Procedural faces that play seven expressions, as data for tests, demos and method checks.

No real person is in these pictures. Numbers measured on them show how a method behaves on a task of known
difficulty, not how well it reads people: wherever such a number is shown (tables, reports, model cards,
plots), it is marked "synthetic". Shards written here say so in every record and in the index.

The modules, from the outside in: `dataset` (files), `clips` (one clip), `difficulty` (the setting),
`expressions` and `nuisance` (movement over time), `faces` (the person), `head` and `features` (its
appearance, as `outlines`), `drawing` and `camera` (pixels).
"""
