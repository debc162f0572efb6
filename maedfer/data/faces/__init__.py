"""Faces in a video: finds them (`detectors`), follows them (`tracks`) and cuts them out (`crops`)."""
