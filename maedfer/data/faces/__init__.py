"""Faces in a video: `face_tracks` finds them (`detectors`), follows them (`tracks`), cuts them out (`crops`)."""
