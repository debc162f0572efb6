"""Predictions, scores, intervals and comparisons, free of any training framework."""
