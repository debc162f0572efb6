import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maedfer.data.pack.settings import Part
from maedfer.data.pack.sources import class_names, find_sources, split_of
from maedfer.data.shards.records import sample_key, slug
from maedfer.data.video.source import Source
from maedfer.errors import UserError


@pytest.fixture
def tree(tmp_path):
    """A folder `vox` with three videos in two sub-folders, and things that are none."""
    for name in ("b/2.mp4", "b/1.MOV", "a/1.mp4", "a/notes.txt", "a/.hidden.mp4"):
        path = tmp_path / "vox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "vox"


def names(*sources):
    return [source.name for source in find_sources(sources)]


def test_folders_files_and_globs_are_named_from_their_root(tree, monkeypatch):
    assert names(tree) == ["vox/a/1.mp4", "vox/b/1.MOV", "vox/b/2.mp4"]
    assert names(f"{tree}/**/*.mp4") == ["vox/a/1.mp4", "vox/b/2.mp4"]
    assert names(tree / "b" / "2.mp4") == ["b/2.mp4"]
    monkeypatch.chdir(tree)
    assert names(".") == ["vox/a/1.mp4", "vox/b/1.MOV", "vox/b/2.mp4"]
    assert names("b/2.mp4") == ["b/2.mp4"]
    assert names("*/1.*") == ["vox/a/1.mp4", "vox/b/1.MOV"]


def test_a_source_given_twice_is_taken_once(tree):
    assert names(tree, tree, f"{tree}/*/*.mp4") == ["vox/a/1.mp4", "vox/b/1.MOV", "vox/b/2.mp4"]


def test_two_files_of_one_name_are_refused(tree):
    other = tree.parent / "copy" / "vox" / "a"
    other.mkdir(parents=True)
    (other / "1.mp4").write_text("another")
    with pytest.raises(UserError, match=r"^sources: .*both be called vox/a/1\.mp4"):
        find_sources([tree, other.parent])


def test_a_csv_list_keeps_its_columns(tree):
    path = tree / "list.csv"
    path.write_text(
        "path, label, start, end, fold, subject, split, light\n"
        "a/1.mp4, happy, 1.5, 4, 2, anna, val, dim\n"
        "b/2.mp4, angry,,,,,,\n"
    )
    first, second = find_sources([path])
    assert first == Source(
        "vox/a/1.mp4", str(tree / "a/1.mp4"), 1.5, 4.0, "happy", 2, "anna", "val", {"light": "dim"}
    )
    assert second == Source("vox/b/2.mp4", str(tree / "b/2.mp4"), label="angry")
    assert first.title == "vox/a/1.mp4[1.5-4]" and second.title == "vox/b/2.mp4"
    assert class_names([first, second]) == ("angry", "happy")


def test_a_list_names_files_beside_it_and_behind_links(tree):
    lists, farm = tree.parent / "lists", tree.parent / "farm"
    lists.mkdir()
    farm.symlink_to(tree)
    (lists / "linked.mp4").symlink_to(tree / "a" / "1.mp4")
    named = ("../vox/a/1.mp4", f"{farm}/b/1.MOV", f"{lists}/linked.mp4")
    (lists / "list.csv").write_text("\n".join(("path", *named)))
    found = find_sources([lists / "list.csv"])
    assert [source.name for source in found] == ["a/1.mp4", "b/1.MOV", "lists/linked.mp4"]
    assert [Path(source.path).read_text() for source in found] == ["a/1.mp4", "b/1.MOV", "a/1.mp4"]


def test_folds_of_a_table_with_gaps_are_numbers(tree):
    (tree / "list.csv").write_text("path,fold\na/1.mp4,1.0\nb/1.MOV,\nb/2.mp4,one.0\n")
    assert [source.fold for source in find_sources([tree / "list.csv"])] == [1, None, "one.0"]


def test_a_jsonl_list_with_numbered_labels(tree):
    path = tree / "list.jsonl"
    rows = [{"path": "a/1.mp4", "label": 10, "au": [1, 12]}, {"path": "b/2.mp4", "label": 9}]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    found = find_sources([path])
    assert class_names(found) == ("9", "10")
    assert found[0].metadata == {"au": [1, 12]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.mp4,x\n", "line 2: no column path"),
        ("path,start\na.mp4,soon\n", "line 2: start 'soon'"),
        ("path,start\na.mp4,-1\n", "line 2: start '-1'"),
        ("path,end\na.mp4,inf\n", "line 2: end 'inf'"),
        ("path,start,end\na.mp4,3,2\n", "end 2 is not after start 3"),
        ("path\na.mp4,x\n", "more cells"),
        ("path\n", "has no rows"),
        ("path,label\na.mp4,x\na.mp4,y\n", "listed twice"),
    ],
)
def test_a_bad_list_names_its_line(tmp_path, text, message):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=f"^sources: .*{message}"):
        find_sources([path])


def test_missing_sources_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4 does not exist"):
        find_sources([tmp_path / "nowhere.mp4"])
    with pytest.raises(FileNotFoundError, match="no file matches"):
        find_sources([f"{tmp_path}/*.mp4"])
    with pytest.raises(FileNotFoundError, match="no video in"):
        find_sources([tmp_path])


@given(st.integers(0, 40), st.integers(1, 9))
def test_parts_cover_every_source_once(count, parts):
    sources = [Source(str(i), "") for i in range(count)]
    shares = [Part.parse(f"{i}/{parts}").of(sources) for i in range(1, parts + 1)]
    assert sorted((s for share in shares for s in share), key=lambda s: int(s.name)) == sources
    assert Part.parse(f"0/{parts}").of(sources) == shares[-1]


@pytest.mark.parametrize("part", ["3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_bad_part_is_refused(part):
    with pytest.raises(UserError, match=r"^part: "):
        Part.parse(part)


def test_the_val_share_depends_on_the_name_alone():
    sources = [Source(f"vox/{i}.mp4", "") for i in range(2000)]
    splits = [split_of(source, "train", 0.1) for source in sources]
    assert 150 < splits.count("val") < 250
    assert split_of(Source("vox/0.mp4", "elsewhere", 1.0, 2.0), "train", 0.1) == splits[0]
    assert split_of(Source("vox/0.mp4", "", split="test"), "train", 1.0) == "test"


@settings(max_examples=50)
@given(st.text(), st.text(), st.integers(0, 999))
def test_keys_are_safe_and_differ_by_source(one, other, track):
    key = sample_key(one, track)
    assert "." not in key and "/" not in key and key.isascii() and key == key.lower() and len(key) < 70
    assert (sample_key(other, track) == key) == (one == other)


def test_a_slug_tells_where_a_file_was():
    assert slug("VoxCeleb2/id001/Ab_1/00001.mp4") == "id001_ab_1_00001"
    assert slug("Größe.mp4") == "groe" and slug("日本.mp4") == "source"
