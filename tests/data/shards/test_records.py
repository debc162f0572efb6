"""Records keep their bytes and refuse damage; drawn faces stay marked through packing and merging."""

import json

import pytest

from maedfer.data.pack.command import pack
from maedfer.data.pack.merge import merge
from maedfer.data.shards.format import read_index
from maedfer.data.shards.origin import is_synthetic, made_by
from maedfer.data.shards.records import BrokenSample, TrackRecord
from maedfer.data.synthetic.clips import SyntheticFaces
from maedfer.data.synthetic.dataset import write_videos


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


RECORD = {"key": "k-0", "frames": 3, "fps": 25, "width": 8, "height": 8, "encoding": "jpeg", "label": 2}


def test_a_record_keeps_its_bytes_also_fields_of_other_writers():
    whole = TrackRecord.from_json(json.dumps(RECORD | {"gaze": [1, 2], "frame_bytes": [4, 4, 4]}).encode())
    assert (whole.label, whole.more, whole.fps) == (2, {"gaze": [1, 2]}, 25)
    data = whole.to_json()
    assert TrackRecord.from_json(data) == whole and TrackRecord.from_json(data).to_json() == data
    assert b'"fps":25,' in data and b'"gaze":[1,2]' in data and b"sha256" not in data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 0}, "its frames is 0"),
        ({"frames": True}, "its frames is 'True', not int"),
        ({"fold": 1.5}, "its fold is '1.5', not str or int or null"),
        ({"geometry": []}, "its geometry is '\\[\\]', not dict or null"),
        ({"metadata": None}, "its metadata is 'None', not dict"),
    ],
)
def test_a_damaged_record_is_named(change, message):
    with pytest.raises(BrokenSample, match=message):
        TrackRecord.from_json(json.dumps(RECORD | change).encode())
    with pytest.raises(BrokenSample, match="its record lacks fps"):
        TrackRecord.from_json(json.dumps({k: v for k, v in RECORD.items() if k != "fps"}).encode())
    for data in (b"[]", b"{", b""):
        with pytest.raises(BrokenSample, match="has no JSON record"):
            TrackRecord.from_json(data)
