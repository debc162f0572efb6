import importlib.util

import numpy as np
import pytest

from maedfer.data import encoding
from maedfer.data.encoding import BrokenSample, decode_frames, encode_track


@pytest.fixture(scope="module")
def frames():
    """40 smooth frames (40, 48, 64, 3) of which no two are alike."""
    y, x = np.mgrid[:48, :64]
    waves = [
        np.stack(
            [127 + 100 * np.sin((x + 3 * t) / 20), 127 + 100 * np.cos((y + 2 * t) / 25), 5.0 * t + 0 * x], -1
        )
        for t in range(40)
    ]
    return np.stack(waves).astype(np.uint8)


def record(frames, name, encoded):
    sizes = {"frames": len(frames), "height": frames.shape[1], "width": frames.shape[2]}
    return sizes | {"key": "k-0-000", "encoding": name, "frame_bytes": encoded.frame_bytes}


@pytest.mark.parametrize("name", ["jpeg", "h264"])
def test_frames_come_back_in_any_order_with_repeats_and_clamped(frames, name):
    encoded = encode_track(frames, name, 12.5)
    assert encoded == encode_track(frames.copy(), name, 12.5)
    got = decode_frames(encoded.data, record(frames, name, encoded), [30, 2, 2, 39, 400, -5])
    wanted = frames[[30, 2, 2, 39, 39, 0]].astype(int)
    assert got.dtype == np.uint8 and got.shape == wanted.shape
    assert np.abs(got - wanted).mean() < 4
    assert np.abs(got[0] - wanted[1]).mean() > 20  # really frame 30, not another one


@pytest.mark.skipif(importlib.util.find_spec("decord") is None, reason="needs decord")
def test_pyav_and_decord_give_the_same_pixels(frames, monkeypatch):
    encoded = encode_track(frames, "h264", 12.5)
    meta = record(frames, "h264", encoded)
    with_decord = decode_frames(encoded.data, meta, range(40))
    monkeypatch.setattr(encoding, "_decord", lambda: None)
    assert np.array_equal(decode_frames(encoded.data, meta, range(40)), with_decord)


def test_h264_has_a_key_frame_every_16_and_no_b_frames(frames):
    import io

    import av

    data = encode_track(frames, "h264", 12.5).data
    with av.open(io.BytesIO(data)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [i for i, packet in enumerate(packets) if packet.is_keyframe] == [0, 16, 32]
    assert all(packet.pts == packet.dts for packet in packets)
    assert data.index(b"mdat") < data.index(b"moov")  # a file cut short must not open


@pytest.mark.parametrize("name", ["jpeg", "h264"])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "more_frames", "other_size"])
def test_damage_is_a_broken_sample(frames, name, damage):
    encoded = encode_track(frames, name, 12.5)
    meta, data = record(frames, name, encoded), encoded.data
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "empty":
        data = b""
    elif damage == "noise":
        data = bytes(len(data))
    elif damage == "more_frames":
        meta["frames"] += 20
    else:
        meta["width"] += 2
    with pytest.raises(BrokenSample, match="k-0-000"):
        decode_frames(data, meta, [0, 39])


def test_a_jpeg_cut_inside_is_not_filled_with_grey(frames):
    encoded = encode_track(frames[:1], "jpeg", 12.5)
    meta = record(frames[:1], "jpeg", encoded)
    meta["frame_bytes"] = [len(encoded.data) // 2]
    with pytest.raises(BrokenSample, match="frame 0"):
        decode_frames(encoded.data[: len(encoded.data) // 2], meta, [0])


def test_what_cannot_be_stored_is_refused(frames):
    with pytest.raises(ValueError, match="even"):
        encode_track(frames[:, :-1], "h264", 12.5)
    with pytest.raises(ValueError, match="--quality 52"):
        encode_track(frames, "h264", 12.5, 52)
    with pytest.raises(ValueError, match="--encoding png"):
        encode_track(frames, "png", 12.5)
    with pytest.raises(ValueError, match="uint8"):
        encode_track(frames.astype(np.float32), "jpeg", 12.5)
