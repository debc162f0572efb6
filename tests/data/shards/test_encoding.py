from dataclasses import replace

import cv2
import numpy as np
import pytest

from maedfer.data.shards.encoding import decode_frames, encode_track
from maedfer.data.shards.records import BrokenSample, TrackRecord
from maedfer.errors import UserError


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
    height, width = frames.shape[1:3]
    return TrackRecord("k-0-000", len(frames), 12.5, width, height, name, frame_bytes=encoded.frame_bytes)


@pytest.mark.parametrize("name", ["jpeg", "h264"])
def test_frames_come_back_in_any_order_with_repeats_and_clamped(frames, name):
    encoded = encode_track(frames, name, 12.5)
    assert encoded == encode_track(frames.copy(), name, 12.5)
    got = decode_frames(encoded.data, record(frames, name, encoded), [30, 2, 2, 39, 400, -5])
    wanted = frames[[30, 2, 2, 39, 39, 0]].astype(int)
    assert got.dtype == np.uint8 and got.shape == wanted.shape
    assert np.abs(got - wanted).mean() < 4
    assert np.abs(got[0] - wanted[1]).mean() > 20  # really frame 30, not another one


def test_jpegs_decode_to_the_pixels_of_opencv(frames):
    encoded = encode_track(frames, "jpeg", 12.5)
    ends = np.cumsum(encoded.frame_bytes)
    for got, end, size in zip(
        decode_frames(encoded.data, record(frames, "jpeg", encoded), range(40)),
        ends, encoded.frame_bytes, strict=True,
    ):  # fmt: skip
        image = np.frombuffer(encoded.data[end - size : end], np.uint8)
        assert np.array_equal(got, cv2.imdecode(image, cv2.IMREAD_COLOR)[..., ::-1])


def one_jpeg(image, shape):
    """A track of one frame, and a record that says it has this (H, W)."""
    return image, TrackRecord("k-0-000", 1, 12.5, shape[1], shape[0], "jpeg", frame_bytes=[len(image)])


def test_a_grey_jpeg_becomes_grey_rgb(frames):
    image = cv2.imencode(".jpg", frames[0, ..., 0])[1]
    got = decode_frames(*one_jpeg(image.tobytes(), (48, 64)), [0])
    assert np.array_equal(got[0], cv2.imdecode(image, cv2.IMREAD_COLOR))


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
        meta = replace(meta, frames=meta.frames + 20)
    else:
        meta = replace(meta, width=meta.width + 2)
    with pytest.raises(BrokenSample, match="k-0-000"):
        decode_frames(data, meta, [0, 39])


@pytest.mark.parametrize("closed", [False, True])
def test_a_jpeg_cut_inside_is_not_filled_with_grey(frames, closed):
    whole = encode_track(frames[:1], "jpeg", 12.5).data
    cut = whole[: len(whole) * 9 // 10] + b"\xff\xd9" * closed
    opened = cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_COLOR)
    assert (opened is not None) == closed  # with its last marker OpenCV takes it
    with pytest.raises(BrokenSample, match="k-0-000"):
        decode_frames(*one_jpeg(cut, (48, 64)), [0])


@pytest.mark.parametrize("shape", [(64, 48), (32, 96), (47, 64), (48, 60), (49, 64), (480, 640)])
def test_a_jpeg_of_another_size_is_refused(frames, shape):
    with pytest.raises(BrokenSample, match="k-0-000"):
        decode_frames(*one_jpeg(encode_track(frames[:1], "jpeg", 12.5).data, shape), [0])


@pytest.mark.parametrize("name", ["jpeg", "h264"])
def test_turned_bits_are_a_broken_sample_or_other_pixels(frames, name):
    encoded, rng, broken = encode_track(frames, name, 12.5), np.random.default_rng(0), 0
    for _ in range(60):
        data = np.frombuffer(encoded.data, np.uint8).copy()
        data[rng.integers(len(data), size=30)] ^= np.uint8(1) << rng.integers(8, size=30, dtype=np.uint8)
        try:
            got = decode_frames(data.tobytes(), record(frames, name, encoded), [0, 20, 39])
            assert got.shape == (3, 48, 64, 3)
        except BrokenSample:
            broken += 1
    assert broken > 30


def test_what_cannot_be_stored_is_refused(frames):
    with pytest.raises(UserError, match=r"^size: h264 needs an even size"):
        encode_track(frames[:, :-1], "h264", 12.5)
    with pytest.raises(UserError, match=r"^quality: 52"):
        encode_track(frames, "h264", 12.5, 52)
    with pytest.raises(UserError, match=r"^encoding: png"):
        encode_track(frames, "png", 12.5)
    with pytest.raises(ValueError, match="uint8"):
        encode_track(frames.astype(np.float32), "jpeg", 12.5)
