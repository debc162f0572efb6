import io
import tarfile

import pytest

from maedfer.data.shards.format import read_shard, write_shard
from maedfer.data.shards.samples import iterate_samples
from maedfer.errors import UserError

SAMPLES = [{"__key__": b"a-0", "json": b"{}", "mjpg": b"x" * 700}, {"__key__": b"b-0", "json": b"{}"}]


def test_samples_come_back_whole_or_in_part(tmp_path):
    path = tmp_path / "train-000000.tar"
    write_shard(path, SAMPLES)
    assert list(read_shard(path)) == SAMPLES
    assert list(read_shard(path, only=())) == [{"__key__": b"a-0"}, {"__key__": b"b-0"}]
    assert next(read_shard(path, only=("mjpg",))) == {"__key__": b"a-0", "mjpg": b"x" * 700}


class Counted(io.BytesIO):
    """Counts what is read."""

    bytes_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.bytes_read += len(data)
        return data


def test_skipped_members_are_not_read(tmp_path):
    path = tmp_path / "train-000000.tar"
    write_shard(path, [{**SAMPLES[0], "mjpg": bytes(1 << 20)}, SAMPLES[1]])
    stream = Counted(path.read_bytes())
    assert [sample["json"] for sample in iterate_samples(stream, only=("json",))] == [b"{}", b"{}"]
    assert stream.bytes_read < 10_000


def test_members_of_other_writers_are_grouped_by_key(tmp_path):
    """Folders with dots, upper-case extensions, files without one, and one key twice in a row."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in ("v.2/a-0.JSON", "v.2/a-0.mjpg", "v.2/a-0.json", "README", "v.2/b-0.json"):
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"{}"))
        link = tarfile.TarInfo("v.2/b-0.mjpg")
        link.type, link.linkname = tarfile.SYMTYPE, "a-0.mjpg"
        tar.addfile(link)
    stream.seek(0)
    found = [(sample.pop("__key__"), *sample) for sample in iterate_samples(stream)]
    assert found == [(b"v.2/a-0", "json", "mjpg"), (b"v.2/a-0", "json"), (b"v.2/b-0", "json")]


@pytest.mark.parametrize("only", [None, ("json",), ()])
@pytest.mark.parametrize("size", [0, 300, 1200, 2048, 2600, 3072, 3584])
def test_a_shard_cut_anywhere_is_broken(tmp_path, size, only):
    """Blocks: a header, a json, a header, two of frames, a header, a json, and then zeros."""
    path = tmp_path / "train-000000.tar"
    write_shard(path, SAMPLES)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=r"train-000000.tar breaks off after [01] samples .*maedfer verify"):
        list(read_shard(path, only))
    with pytest.raises(FileNotFoundError):
        list(read_shard(tmp_path / "gone.tar"))
