"""Corpora that MAE-DFER has no numbers on: their labels, splits and columns, as their folders say."""

import json

import pytest
from helpers.miniatures import empty_frames, empty_video, write_lines

from maedfer.data.corpora import load_corpus


def clips(name, root, **options):
    return load_corpus(name).clips([str(root)], **options)


def test_folders_of_classes(tmp_path):
    for split, label, name in (
        ("Train_AFEW", "Angry", "000046280"),
        ("Val_AFEW", "Happy", "01"),
        ("Val_AFEW", "x", "2"),
    ):
        empty_video(tmp_path / "afew" / split / label / name)
    empty_frames(tmp_path / "afew" / "Train_AFEW" / "AlignedFaces_LBPTOP_Points" / "Faces" / "000046280")
    found = clips("afew", tmp_path / "afew")
    assert [(each.split, each.label) for each in found.sources] == [("train", "Angry"), ("test", "Happy")]
    assert found.sources[0].name == "afew/train/Angry/000046280" and found.crop.detector == "haar"
    empty_frames(tmp_path / "caer" / "CAER" / "train" / "Sad" / "1")
    with pytest.raises(FileNotFoundError, match="2 folders missing: validation, test"):
        clips("caer", tmp_path / "caer")
    assert clips("caer", tmp_path / "caer", allow_missing=True).crop.detector == "none"


def test_ck_plus_labels_are_of_the_sequences_that_have_one(tmp_path):
    for person, sequence in (("S005", "001"), ("S010", "002"), ("S010", "003")):
        empty_frames(tmp_path / "cohn-kanade-images" / person / sequence)
    write_lines(tmp_path / "Emotion/S005/001/S005_001_00000011_emotion.txt", ["   3.0000000e+00"])
    write_lines(tmp_path / "Emotion/S010/002/S010_002_00000014_emotion.txt", ["   7.0000000e+00"])
    first, second = clips("ck_plus", tmp_path).sources
    assert (first.label, first.subject, first.fold) == ("disgust", "S005", 1)
    assert (second.label, second.name, second.fold) == ("surprise", "ck_plus/S010/002", 2)


def test_mead_takes_the_frontal_view(tmp_path):
    for view in ("front", "left_30"):
        empty_video(tmp_path / "M003" / "video" / view / "angry" / "level_2" / "001")
    (source,) = clips("mead", tmp_path).sources
    assert (source.label, source.subject, source.metadata) == ("angry", "M003", {"intensity": 2})


def test_meld_is_parted_by_its_lists(tmp_path):
    header = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID"
    folders = {
        "train": "train/train_splits",
        "dev": "dev_splits_complete",
        "test": "output_repeated_splits_test",
    }
    for split, folder in folders.items():
        rows = [
            f'{number},"Well, hi",Monica,{each},x,0,{number}' for number, each in enumerate(("joy", "anger"))
        ]
        write_lines(tmp_path / f"{split}_sent_emo.csv", [header, *rows])
        empty_video(tmp_path / folder / "dia0_utt0")
    with pytest.raises(
        FileNotFoundError, match="3 clips missing: train/dia0_utt1, val/dia0_utt1, test/dia0_utt1"
    ):
        clips("meld", tmp_path)
    sources = clips("meld", tmp_path, allow_missing=True).sources
    assert [(each.split, each.label, each.metadata) for each in sources] == [
        (split, "joy", {"speaker": "Monica"}) for split in ("train", "val", "test")
    ]


def test_celebv_hq_attributes_are_columns(tmp_path):
    mappings = {"appearance_mapping": ["blurry", "male"], "action_mapping": ["smile"]}
    attributes = {"appearance": [0, 1], "action": [1], "emotion": {}}
    known = {name: {"ytb_id": "Xyz", "attributes": attributes} for name in ("Xyz_0", "Xyz_1")}
    write_lines(tmp_path / "celebvhq_info.json", [json.dumps({"meta_info": mappings, "clips": known})])
    empty_video(tmp_path / "35666" / "Xyz_0")
    (source,) = clips("celebv_hq", tmp_path, allow_missing=True).sources
    assert source.metadata == {"appearance_blurry": 0, "appearance_male": 1, "action_smile": 1}
    assert (source.subject, source.label, source.name) == ("Xyz", None, "celebv_hq/Xyz_0")


def test_mosei_sentiment_is_a_column(tmp_path):
    header = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode"
    rows = ['-x_Y,0,"WELL, THIS",-1.2,,,,Negative,train', "-x_Y,1,GOOD,2.0,,,,Positive,valid"]
    write_lines(tmp_path / "label.csv", [header, *rows], "\r\n")
    empty_video(tmp_path / "Raw" / "-x_Y" / "1")
    with pytest.raises(FileNotFoundError, match="1 clips missing: -x_Y/0 "):
        clips("mosei", tmp_path)
    (source,) = clips("mosei", tmp_path, allow_missing=True).sources
    assert (source.split, source.metadata, source.subject) == ("val", {"sentiment": 2.0}, "-x_Y")
