"""Faces in a video: find them (`detectors`), follow them (`tracks`), cut them out (`crops`)."""
