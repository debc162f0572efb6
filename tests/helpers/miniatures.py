"""Folders of corpora as their authors distribute them, generated: lists, and empty or drawn clips."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
from openpyxl import Workbook

from maedfer.data.synthetic.clips import SyntheticFaces

FRAMES = 6
Clip = Callable[[Path, int], object]
"""Makes a clip at a path without suffix, of a person and expression by number."""


@cache
def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def empty_video(place: Path, _: int = 0) -> None:
    os.close(os.open(f"{made(place.parent)}/{place.name}.mp4", os.O_CREAT))


def empty_frames(place: Path, _: int = 0) -> None:
    place.mkdir(parents=True)
    (place / "0001.jpg").touch()


@cache
def faces(number: int) -> np.ndarray:
    """A drawn clip, uint8 RGB (F, 32, 32, 3)."""
    return SyntheticFaces(size=32, num_frames=FRAMES, fps=25).clip(number).frames


def frame_folder(suffix: str = ".jpg") -> Clip:
    """Clips as folders of images."""

    def write(place: Path, number: int) -> None:
        place.mkdir(parents=True)
        for position, picture in enumerate(faces(number % 7)):
            cv2.imwrite(str(place / f"{position + 1:05d}{suffix}"), picture[..., ::-1])

    return write


def video(suffix: str, codec: str = "mpeg4") -> Clip:
    """Clips as videos."""

    def write(place: Path, number: int) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(place.with_name(place.name + suffix)), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            for picture in faces(number % 7):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))

    return write


def of_each(classes: Iterable[str], counts: int | Iterable[int]) -> list[str]:
    """Labels in order: so many of each class."""
    classes = list(classes)
    each = [counts] * len(classes) if isinstance(counts, int) else list(counts)
    return [name for name, count in zip(classes, each, strict=True) for _ in range(count)]


def spread(classes: Iterable[str], total: int) -> list[str]:
    """Labels of so many clips, the classes in turn."""
    classes = list(classes)
    return [classes[number % len(classes)] for number in range(total)]


def write_lines(path: Path, lines: Iterable[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())


def numbered(folds: Mapping[int, list[str]]) -> dict[int, list[tuple[int, str]]]:
    """Clip numbers, which go on from fold to fold, and labels."""
    start, result = 1, {}
    for fold, labels in folds.items():
        result[fold] = list(enumerate(labels, start))
        start += len(labels)
    return result


def dfew(
    root: Path,
    folds: Mapping[int, list[str]],
    clip: Clip,
    clips: str = "Clip/jpg_256",
    votes: bool = True,
) -> Path:
    """DFEW: labels as numbers in lists with Windows line ends, and the votes of ten raters."""
    names = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
    for fold, rows in numbered(folds).items():
        lines = [f"{number},{names.index(label) + 1}" for number, label in rows]
        path = root / f"EmoLabel_DataSplit/test(single-labeled)/set_{fold}.csv"
        write_lines(path, ["video_name,label", *lines], "\r\n")
        for number, _ in rows:
            clip(root / clips / f"{number:05d}", number)
    if votes:
        write_votes(
            root / "Annotation" / "annotation.xlsx",
            names,
            [row for rows in numbered(folds).values() for row in rows],
        )
    return root


def write_votes(path: Path, names: tuple[str, ...], rows: Iterable[tuple[int, str]]) -> None:
    """DFEW's sheet: seven of ten votes for the label, three for the class before it."""
    book = Workbook()
    book.active.append(["order", *(f"{place}{name}" for place, name in enumerate(names, 1)), "annotation"])
    for number, label in rows:
        before = names[names.index(label) - 1]
        votes = [7 * (name == label) + 3 * (name == before) for name in names]
        book.active.append([number, *votes, names.index(label) + 1])
    path.parent.mkdir(parents=True)
    book.save(path)


SCENES = (
    *("Action", "Argue", "Business", "Conflict", "Contest", "Crime", "Crisis", "DailyLife", "ElegantArt"),
    *(
        "Experiment",
        "History",
        "Interview",
        "Liveshow",
        "Medicine",
        "OfficialEvent",
        "ScholarReport",
        "School",
    ),
    *("SocialEvent", "Speech", "Terror", "Variety", "War"),
)


def ferv39k(root: Path, splits: Mapping[str, list[str]], clip: Clip) -> Path:
    """FERV39k: lists of all scenes."""
    for fold, rows in numbered(splits).items():
        names = [(f"{SCENES[number % 22]}/{label}/{number:04d}", label) for number, label in rows]
        write_lines(
            root / f"4_setups/All_scenes/{fold}_All.csv", [f"{name} {label}" for name, label in names]
        )
        for (number, _), (name, _) in zip(rows, names, strict=True):
            clip(root / "2_ClipsforFaceCrop" / name, number)
    return root


def mafw(root: Path, folds: Mapping[int, list[str]], clip: Clip, kind: str = "single") -> Path:
    """MAFW: lists of one of its sets."""
    for fold, rows in numbered(folds).items():
        path = root / f"Train & Test Set/{kind}/no_caption/set_{fold}/test.txt"
        write_lines(path, [f"{number:05d}.mp4 {label}" for number, label in rows])
        for number, _ in rows:
            clip(root / "data/frames" / f"{number:05d}", number)
    return root


def ravdess(root: Path, actors: Iterable[int], clip: Clip, clips: str = "") -> Path:
    """RAVDESS: clips of actors with and without sound, and a song, which are others."""
    for actor in actors:
        place = root / clips / f"Actor_{actor:02d}"
        for emotion, intensity, statement, repetition in product(range(1, 9), (1, 2), (1, 2), (1, 2)):
            if emotion > 1 or intensity == 1:
                code = f"{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}"
                clip(place / f"02-01-{code}", emotion)
        if not clips:
            empty_video(place / f"01-01-03-01-01-01-{actor:02d}")
            empty_video(place / f"02-02-03-01-01-01-{actor:02d}")
    return root


SENTENCES = ("TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")


def cremad_names(actor: int) -> list[str]:
    """The 82 clips that an actor was asked for."""
    emotions = ("ANG", "DIS", "FEA", "HAP", "SAD")
    levels = [f"{actor}_IEO_{emotion}_{level}" for emotion in emotions for level in ("LO", "MD", "HI")]
    others = [f"{actor}_{sentence}_{emotion}_XX" for sentence in SENTENCES for emotion in (*emotions, "NEU")]
    return [*levels, f"{actor}_IEO_NEU_XX", *others]


def cremad(root: Path, names: Iterable[str], clip: Clip, clips: str = "VideoFlash") -> Path:
    """CREMA-D: one folder of clips."""
    for name in names:
        clip(root / clips / name, ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"].index(name.split("_")[2]))
    return root


EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


def enterface05(root: Path, subjects: Iterable[int], clip: Clip, clips: str = "", gap: str = " ") -> Path:
    """eNTERFACE'05: folders of subjects, emotions and sentences; clips of subject 6 lie elsewhere."""
    for subject, emotion, sentence in product(subjects, EMOTIONS, range(1, 6)):
        if (subject, emotion) == (23, "happiness") and sentence < 4:
            continue
        place = root / clips / f"subject{gap}{subject}" / emotion
        name = f"s{subject}_{emotion[:2]}_{sentence}"
        clip(
            place / name if subject == 6 else place / f"sentence{gap}{sentence}" / name,
            EMOTIONS.index(emotion),
        )
    return root


def voxceleb2(root: Path, clip: Clip) -> Path:
    """VoxCeleb2: two people, three videos."""
    for place in ("id00012/21Uxsk56VDQ/00001", "id00012/21Uxsk56VDQ/00002", "id00015/0fijmz4vTVU/00001"):
        clip(root / "dev/mp4" / place, 0)
    return root
