"""Any frame of an mp4, whoever wrote it, is what decoding from the start gives; damage is an error."""

import importlib.util
import io
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from maedfer.data.shards import mp4 as mp4_module
from maedfer.data.shards.mp4 import mp4_frames

SIZE = (48, 64)


def pictures(count=40):
    """Smooth uint8 RGB (count, 48, 64, 3) of which no two are alike."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = [
        (np.sin((x + 3 * t) / 20), np.cos((y + 2 * t) / 25), np.sin((x + y + 9 * t) / 30))
        for t in range(count)
    ]
    return (127 + 100 * np.stack(waves)).transpose(0, 2, 3, 1).astype(np.uint8)


def mp4(pts=range(40), rate=25, time_base=None, pixels="yuv420p", muxer=None, colour=None, **options):
    """An mp4 with a frame at each of `pts`."""
    base, buffer = time_base or Fraction(1, rate), io.BytesIO()
    with av.open(buffer, "w", format="mp4", options=muxer or {}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"g": "8"} | options)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], pixels
        stream.time_base = stream.codec_context.time_base = base
        if colour:
            stream.codec_context.color_range, stream.codec_context.colorspace = colour
        for at, picture in zip(pts, pictures(len(pts)), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = at, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def from_the_start(data):
    with av.open(io.BytesIO(data)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


FILES = {
    "plain": {},
    "b_frames": {"bf": "3"},
    "b_frames_without_edit_list": {"bf": "3", "muxer": {"use_editlist": "0"}},
    "b_frames_with_negative_offsets": {"bf": "3", "muxer": {"movflags": "negative_cts_offsets"}},
    "open_gops": {"bf": "3", "x264-params": "open-gop=1"},
    "all_key_frames": {"g": "1"},
    "ntsc": {"rate": Fraction(30000, 1001), "bf": "0"},
    "fine_time_base": {"time_base": Fraction(1, 90000), "pts": range(0, 40 * 3600, 3600), "bf": "0"},
    "starts_late": {"pts": range(7, 47), "bf": "0"},
    "uneven": {"pts": [n * n for n in range(40)], "bf": "0"},
    "uneven_with_b_frames": {"pts": [n * n for n in range(40)], "bf": "2"},
    "fragments": {"muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "full_range": {"pixels": "yuvj420p"},
    "full_chroma": {"pixels": "yuv444p"},
    "ten_bits": {"pixels": "yuv420p10le"},
    "bt709": {"colour": (1, 1)},
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "wanted", [[0], [39], [5, 6, 7], [15, 16, 17], [3, 30], [7, 8, 23, 39], list(range(40))]
)
def test_frames_are_those_of_decoding_from_the_start(name, wanted):
    data = mp4(**FILES[name])
    every = from_the_start(data)
    assert len(every) == 40 and np.abs(every.astype(int) - pictures()).mean() < 12
    assert np.array_equal(mp4_frames(data, 40, SIZE, wanted), every[wanted])


@pytest.mark.skipif(importlib.util.find_spec("decord") is None, reason="decord has no wheel here")
def test_decord_gives_the_same_pixels():
    import decord

    data = mp4(bf="0")
    reference = decord.VideoReader(io.BytesIO(data), num_threads=1).get_batch([2, 11, 30]).asnumpy()
    assert np.abs(mp4_frames(data, 40, SIZE, [2, 11, 30]).astype(int) - reference).max() <= 3


def test_only_what_is_needed_is_decoded():
    """Damage in a group of pictures that no wanted frame needs is not met."""
    data = bytearray(mp4(bf="0"))
    with av.open(io.BytesIO(bytes(data))) as container:
        spans = [(entry.pos, entry.size) for entry in container.streams.video[0].index_entries]
    start, end = spans[16][0], sum(spans[23])
    data[start:end] = bytes(end - start)
    whole = from_the_start(mp4(bf="0"))
    wanted = [3, 12, 26, 39]
    assert np.array_equal(mp4_frames(bytes(data), 40, SIZE, wanted), whole[wanted])
    for lost in (16, 20, 23):
        with pytest.raises((ValueError, av.error.FFmpegError)):
            mp4_frames(bytes(data), 40, SIZE, [3, lost])


def cut_inside(data, path):
    """The same with its index before the frames, of which the last third is gone."""
    with av.open(io.BytesIO(data)) as source, av.open(path, "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return path.read_bytes()[: path.stat().st_size * 2 // 3]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_a_container_that_promises_too_much_is_an_error(b_frames, tmp_path):
    data = cut_inside(mp4(bf=b_frames), tmp_path / "fast.mp4")
    assert len(mp4_frames(data, 40, SIZE, [0, 4])) == 2
    with pytest.raises((ValueError, av.error.FFmpegError)):
        mp4_frames(data, 40, SIZE, [0, 39])


def test_fewer_frames_or_another_size_are_an_error():
    with pytest.raises(ValueError, match="40 frames, the record says 41"):
        mp4_frames(mp4(), 41, SIZE, [0])
    with pytest.raises(ValueError, match="frame 0 is of 64x48, the record says 48x64"):
        mp4_frames(mp4(), 40, SIZE[::-1], [0])
    with pytest.raises(ValueError, match="frame 45 is missing"):
        mp4_frames(mp4(**FILES["fragments"]), 60, SIZE, [0, 45])


def test_one_decoder_serves_files_of_a_kind_those_without_clean_numbers_too(monkeypatch):
    made = []
    create = av.CodecContext.create
    monkeypatch.setattr(mp4_module, "_decoders", mp4_module._Decoders())
    monkeypatch.setattr(
        mp4_module.av, "CodecContext", SimpleNamespace(create=lambda *a: made.append(a) or create(*a))
    )
    with_b_frames = mp4(bf="3", b_adapt="0")
    expected = from_the_start(with_b_frames)
    for _ in range(3):
        assert np.array_equal(mp4_frames(with_b_frames, 40, SIZE, [7, 30]), expected[[7, 30]])
    assert len(made) == 1
    with pytest.raises((ValueError, av.error.FFmpegError)):
        mp4_frames(with_b_frames, 41, SIZE, [40])
