"""Shared by the corpora: their type, finding clips in a folder, reading lists, comparing counts."""
