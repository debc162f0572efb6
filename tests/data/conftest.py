"""What tests of remote shards share."""

import tempfile

import pytest

from maedfer.data.shards import remote


@pytest.fixture
def temporary(monkeypatch, tmp_path_factory):
    """Short pauses, no proxy, and a folder for temporary files; no test leaves any behind."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield folder
    assert list(folder.iterdir()) == []
