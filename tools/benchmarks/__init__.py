"""What `tools/bench.py` measures: one file per bench, and the plain ways that they are measured against."""
