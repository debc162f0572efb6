import pytest

from maedfer.data.shards.format import BrokenShard, read_shard, write_shard

SAMPLES = [{"__key__": b"a-0", "json": b"{}", "mjpg": b"x" * 700}, {"__key__": b"b-0", "json": b"{}"}]


def test_samples_come_back_whole_or_in_part(tmp_path):
    path = tmp_path / "train-000000.tar"
    write_shard(path, SAMPLES)
    assert list(read_shard(path)) == SAMPLES
    assert list(read_shard(path, only=())) == [{"__key__": b"a-0"}, {"__key__": b"b-0"}]
    assert next(read_shard(path, only=("mjpg",))) == {"__key__": b"a-0", "mjpg": b"x" * 700}


def test_skipped_members_are_not_read(tmp_path, monkeypatch):
    import tarfile

    path, read = tmp_path / "train-000000.tar", []
    write_shard(path, SAMPLES)
    extract = tarfile.TarFile.extractfile
    monkeypatch.setattr(
        tarfile.TarFile, "extractfile", lambda tar, info: read.append(info.name) or extract(tar, info)
    )
    list(read_shard(path, only=("json",)))
    assert read == ["a-0.json", "b-0.json"]


@pytest.mark.parametrize("only", [None, ("json",), ()])
@pytest.mark.parametrize("size", [0, 300, 1200, 2048, 2600, 3072, 3584])
def test_a_shard_cut_anywhere_is_broken(tmp_path, size, only):
    """Blocks: a header, a json, a header, two of frames, a header, a json, and then zeros."""
    path = tmp_path / "train-000000.tar"
    write_shard(path, SAMPLES)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BrokenShard, match=r"train-000000.tar breaks off after [01] samples .*maedfer verify"):
        list(read_shard(path, only))
    with pytest.raises(FileNotFoundError):
        list(read_shard(tmp_path / "gone.tar"))
