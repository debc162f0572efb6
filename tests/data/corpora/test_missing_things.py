"""What is missing or contradicts itself is said before any work; other layouts are found."""

import shutil
from dataclasses import replace

import pytest
from helpers import miniatures
from helpers.miniatures import empty_frames, empty_video, spread
from openpyxl import load_workbook

from maedfer.__main__ import main
from maedfer.data.corpora import NAMES, load_corpus
from maedfer.data.corpora.dfew import NORMALISED
from maedfer.data.corpora.reading.corpus import NO_CROPS, UNTESTED
from maedfer.data.corpora.reading.folds import ListedClip, match_clips
from maedfer.data.corpora.reading.tables import read_pairs, read_table
from maedfer.data.faces.crop_settings import CropSettings
from maedfer.data.pack.command import pack
from maedfer.errors import UserError

FIVE = range(1, 6)


def dfew(tmp_path, **options):
    classes = load_corpus("dfew").classes
    folds = {fold: spread(classes, 7) for fold in FIVE}
    return miniatures.dfew(tmp_path / "dfew", folds, empty_frames, **options)


def clips(name, root, **options):
    return load_corpus(name).clips([str(root)], **options)


def test_an_unknown_corpus_lists_those_there_are(capsys):
    assert main(["pack", ".", "--corpus", "affectnet", "--out", "x"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(name in said for name in NAMES) and ".csv list" in said
    untested = ", ".join(name for name in NAMES if not load_corpus(name).tested)
    assert f"({UNTESTED}: {untested})" in said
    names = {"CK+": "ck_plus", "CREMA-D": "cremad", "eNTERFACE'05": "enterface05", "CelebV-HQ": "celebv_hq"}
    assert {written: load_corpus(written).name for written in names} == names
    assert [load_corpus(name).name for name in NAMES] == list(NAMES)


def test_a_detector_that_looks_for_faces_needs_nothing_of_whole_frames():
    """`--corpus voxceleb2 --detector haar` is no contradiction of flags that nobody gave."""
    whole = CropSettings(detector="none", frame_crop=(0.1, 0.1, 0.8, 0.8), squeeze=True)
    assert whole.changed(detector="haar", fps=None, min_frames=1) == CropSettings(min_frames=1)
    assert whole.changed(detector="none", fps=25.0) == replace(whole, fps=25.0)
    assert whole.changed(detector="haar", squeeze=True).squeeze  # was asked for, and is refused


def test_flags_of_corpora_need_one(tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match=r"^allow_missing: .*`corpus`"):
        pack([str(tmp_path)], str(tmp_path / "x"), allow_missing=True)
    with pytest.raises(UserError, match=r"^sources: .*the folder of DFEW"):
        pack([str(tmp_path), str(tmp_path)], str(tmp_path / "x"), corpus="dfew")
    with pytest.raises(FileNotFoundError, match="nothing is not a folder"):
        pack([str(tmp_path / "nothing")], str(tmp_path / "x"), corpus="dfew")


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_something_else_says_what_is_expected_and_where_to_ask(name, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.mp4").touch()
    corpus = load_corpus(name)
    with pytest.raises(FileNotFoundError) as error:
        corpus.clips([str(tmp_path)])
    text = str(error.value)
    assert text.startswith(f"corpus {name}: ") and "\n" not in text
    assert corpus.ask in text or "missing" in text


def test_missing_clips_are_counted_and_named(tmp_path, capsys):
    root = dfew(tmp_path)
    for number in range(3, 10):
        shutil.rmtree(root / "Clip" / "jpg_256" / f"{number:05d}")
    (root / "Clip" / "jpg_256" / "00003").mkdir()  # begun and empty
    out = tmp_path / "shards"
    assert main(["pack", str(root), "--corpus", "dfew", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "7 clips missing: 00003, 00004, 00005, 00006, 00007 and 2 more (found: 28 clips in" in said
    assert "go on without them with --allow-missing" in said and not out.exists()
    found = clips("dfew", root, allow_missing=True)
    assert len(found.sources) == 28 and found.notes[0].startswith("left out: 7 clips missing: 00003")


def test_missing_lists_are_named(tmp_path):
    root = dfew(tmp_path)
    (root / "EmoLabel_DataSplit/test(single-labeled)/set_4.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 lists missing: EmoLabel_DataSplit/.*set_4\.csv"):
        clips("dfew", root)
    assert {source.fold for source in clips("dfew", root, allow_missing=True).sources} == {1, 2, 3, 5}


def test_without_annotation_there_are_no_votes_and_that_is_said(tmp_path):
    found = clips("dfew", dfew(tmp_path, votes=False))
    assert found.notes == ("no Annotation/annotation.xlsx: clips have no votes for `soft_labels`",)
    assert found.sources[0].votes is None


def test_votes_of_other_clips_are_refused(tmp_path):
    root = dfew(tmp_path)
    classes = load_corpus("dfew").classes
    rows = [(number, classes[number % 7]) for number in range(1, 36)]  # one place too far
    shutil.rmtree(root / "Annotation")
    miniatures.write_votes(root / "Annotation" / "annotation.xlsx", classes, rows)
    with pytest.raises(UserError, match="35 of 35 clips are not for their label, such as 00001 \\(happy\\)"):
        clips("dfew", root)
    sheet = root / "Annotation" / "annotation.xlsx"
    book = load_workbook(sheet)
    (column,) = (cell.column for cell in book.active[1] if cell.value == "2sad")
    book.active.cell(2, column).value = "two"
    book.save(sheet)
    with pytest.raises(UserError, match=r"annotation\.xlsx, column 2sad: 'two' is not a number"):
        clips("dfew", root)


def test_an_empty_list_is_a_broken_download(tmp_path):
    root = dfew(tmp_path)
    path = root / "EmoLabel_DataSplit/test(single-labeled)/set_2.csv"
    path.write_text("video_name,label\n")
    with pytest.raises(UserError, match=r"set_2\.csv has no rows: is the download complete"):
        clips("dfew", root)
    path.write_text("\n")
    with pytest.raises(UserError, match=r"set_2\.csv has no lines: is the download complete"):
        read_pairs(path)


def test_a_clip_in_two_folds_is_refused(tmp_path):
    root = dfew(tmp_path)
    path = root / "EmoLabel_DataSplit/test(single-labeled)/set_2.csv"
    path.write_bytes(path.read_bytes() + b"00001,1\r\n")
    with pytest.raises(UserError, match=r"clip 00001 is in two test lists, .*set_1\.csv and .*set_2\.csv"):
        clips("dfew", root)


def test_a_clip_that_is_listed_twice_is_refused():
    with pytest.raises(UserError, match="the lists of ferv39k name the clip Action/Angry/0007 twice"):
        match_clips("ferv39k", [ListedClip("Action/Angry/0007", "Angry", {})] * 2, {})


def test_an_unknown_label_is_refused_with_its_list(tmp_path):
    root = dfew(tmp_path)
    path = root / "EmoLabel_DataSplit/test(single-labeled)/set_2.csv"
    path.write_bytes(path.read_bytes().replace(b",3\r\n", b",8\r\n"))
    with pytest.raises(UserError, match=r"set_2\.csv: label '8' is none of 1 to 7 \(happy, "):
        clips("dfew", root)


def test_numbers_are_no_names(tmp_path):
    """Lists of other projects count FERV39k's classes from 0, in an order of their own."""
    root = miniatures.ferv39k(tmp_path, {"train": ["Happy", "Sad"], "test": ["Fear"]}, empty_frames)
    path = root / "4_setups/All_scenes/test_All.csv"
    path.write_text(path.read_text().replace(" Fear", " 6"))
    with pytest.raises(UserError, match=r"test_All\.csv: label '6' is none of Happy, Sad"):
        clips("ferv39k", root)


@pytest.mark.parametrize(
    ("folder", "detector"),
    [
        ("Clip/jpg_256", "none"),
        ("Clip/clip_224x224", "none"),
        ("Clip/Original", "haar"),
        ("CLIP/JPG_256", "none"),
    ],
)
def test_folders_of_other_names_and_case_are_found(tmp_path, folder, detector):
    found = clips("dfew", dfew(tmp_path, clips=folder))
    assert len(found.sources) == 35 and found.crop.detector == detector
    assert (NO_CROPS in found.notes) == (detector == "haar")
    assert (found.crop.fps, found.crop.min_frames, found.crop.one_track) == (25, 1, True)


def test_time_normalised_frames_are_taken_only_when_named(tmp_path):
    root = dfew(tmp_path, clips="Clip/clip_224x224_16f")
    with pytest.raises(FileNotFoundError, match=r"none of Clip/jpg_256, .*`clips`"):
        clips("dfew", root)
    found = clips("dfew", root, clips="Clip/clip_224x224_16f")
    assert len(found.sources) == 35 and found.crop.detector == "none"
    assert found.notes == (NORMALISED,)
    with pytest.raises(FileNotFoundError, match="`clips` nowhere is not a folder"):
        clips("dfew", root, clips="nowhere")


def test_a_corpus_may_lie_one_folder_deeper(tmp_path):
    root = dfew(tmp_path)
    assert len(clips("dfew", root.parent).sources) == 35


def test_mafw_is_found_under_its_other_names(tmp_path):
    classes = load_corpus("mafw").classes
    root = miniatures.mafw(tmp_path / "m", {fold: list(classes) for fold in FIVE}, empty_video)
    (root / "data" / "frames").rename(root / "data" / "clips")
    assert clips("mafw", root).crop.detector == "haar" and clips("mafw", root).notes == (NO_CROPS,)
    (root / "Train & Test Set").rename(root / "split")
    assert len(clips("mafw", root).sources) == 55
    with pytest.raises(FileNotFoundError, match=r"has no .*compound/no_caption"):
        clips("mafw_compound", root)


def test_openface_folders_are_found_as_it_writes_them(tmp_path):
    root = tmp_path / "c"
    for name in miniatures.cremad_names(1001):
        empty_frames(root / "openface" / name / f"{name}_aligned")
        (root / "openface" / name / f"{name}.avi").touch()
    found = clips("cremad", root, allow_missing=True)
    assert len(found.sources) == 82 and found.crop.detector == "none"
    assert all(source.path.endswith("_aligned") for source in found.sources)
    (root / "openface" / "1050_TSI_ANG_XX" / "1050_TSI_ANG_XX_aligned").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="91 clips missing: 1050_TSI_ANG_XX, all of actor 1002, "):
        clips("cremad", root)


def test_frames_and_videos_have_the_same_names(tmp_path):
    one = miniatures.ravdess(tmp_path / "a", (2,), empty_video)
    two = miniatures.ravdess(tmp_path / "b", (2,), empty_frames, "face_aligned")
    videos, frames = (clips("ravdess", root, allow_missing=True) for root in (one, two))
    assert [each.name for each in videos.sources] == [each.name for each in frames.sources]
    assert (videos.crop.detector, frames.crop.detector) == ("haar", "none")
    assert videos.sources[0].name == "ravdess/02-01-01-01-01-01-02"
    (two / "face_aligned").rename(one / "face_aligned")
    both = clips("ravdess", one, clips=".", allow_missing=True)
    assert both.crop.detector == "haar" and both.sources == videos.sources


def test_lists_of_windows_and_with_a_mark_are_read(tmp_path):
    path = tmp_path / "list"
    path.write_bytes("\ufeffVideo_Name, label \r\n00001,2\r\n\r\n".encode())
    assert read_table(path, ("video_name", "label")) == [{"video_name": "00001", "label": "2"}]
    with pytest.raises(UserError, match="no column fold"):
        read_table(path, ("fold",))
    path.write_bytes(b"a/b c.mp4\tHappy\r\nd Sad\r\n")
    assert read_pairs(path) == [("a/b c.mp4", "Happy"), ("d", "Sad")]
    path.write_text("alone\n")
    with pytest.raises(UserError, match="line 1: 'alone' is not"):
        read_pairs(path)
