"""What an index says of its origin: drawn faces stay marked through packing and merging."""

from maedfer.data.pack.command import pack
from maedfer.data.pack.merge import merge
from maedfer.data.shards.format import read_index
from maedfer.data.shards.origin import is_synthetic, made_by
from maedfer.data.synthetic import SyntheticFaces, write_videos


def test_drawn_faces_are_named_so_after_packing_and_merging(tmp_path):
    listed = write_videos(
        tmp_path / "videos", SyntheticFaces(size=32, num_frames=20), {"train": 2}, workers=1
    )
    pack([str(listed)], str(tmp_path / "packed"), detector="none", size=32, workers=1)
    merge([str(tmp_path / "packed")], str(tmp_path / "merged"))
    for folder in ("packed", "merged"):
        assert is_synthetic(read_index(tmp_path / folder).made_by)


def test_other_faces_are_not():
    assert not is_synthetic(
        made_by("maedfer pack", {"size": 160, "frame_crop": [0.1, 0.0]}) | {"synthetic": False}
    )
