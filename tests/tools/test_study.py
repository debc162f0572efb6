"""The study as a user runs it, at a fraction of its length, and what it concludes from given answers."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from matplotlib.figure import Figure

from maedfer.demo.table import PIXELS
from maedfer.models import build_encoder
from maedfer.models.config import InputSpec, ModelConfig
from maedfer.models.weights import save_encoder
from maedfer.processes.parallel_runs import is_done
from maedfer.resources import find_config
from maedfer.training.finetuning.start import starting_encoder
from maedfer.training.pretraining.module import MaskedPretraining

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]

import study  # noqa: E402
from studies import answers, faces, trials  # noqa: E402
from studies.answers import Answer, by_seed, gains  # noqa: E402
from studies.asked import Asked  # noqa: E402
from studies.budget import table, verdicts  # noqa: E402
from studies.cost import at_equal_operations, gflop, model_settings  # noqa: E402
from studies.faces import Faces  # noqa: E402
from studies.pieces import signed  # noqa: E402
from studies.pieces_figure import draw_pieces  # noqa: E402
from studies.trials import LINEAR, PROBED, RANDOM, SCRATCH, TUNED, Bench, Pretraining, Use  # noqa: E402
from studies.variants import CLIPS_PER_STEP, DEMO, JOINT, LEVERS, PUBLISHED, VARIANTS, batch_of  # noqa: E402


@pytest.fixture
def tiny(monkeypatch):
    """Few clips and steps; pre-training of the shape that is shipped."""
    for module, name, value in (
        (faces, "MOST_LABELS", 2),
        (faces, "TEST_CLIPS", 14),
        (trials, "TRAINING_STEPS", 1),
        (trials, "PROBE_STEPS", 1),
    ):
        monkeypatch.setattr(module, name, value)


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_the_questions_share_their_runs_and_are_answered_again(tiny, tmp_path, capsys, monkeypatch):
    out = ["--out", str(tmp_path), "--clips", "32", "--seeds", "1", "--faces", "[clean]"]
    few = ["--steps", "[2]", "--labels", "[2]", "--variants", f"[{DEMO}]"]
    assert study.main(["budget", *out, *few]) == 0
    shown = capsys.readouterr().out
    assert f"clean, {TUNED}, {DEMO}, 2 labels: " in shown and PIXELS in shown
    assert (tmp_path / "budget.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "budget.json").read_text())["machine"]["cores"]
    found = {
        (row["row"], row["variant"], row["clips"]): float(row["uar"]) for row in rows(tmp_path / "budget.csv")
    }
    assert set(found) == {
        *((row, DEMO, clips) for row in (TUNED, PROBED) for clips in ("32",)),
        *((row, "", "0") for row in (SCRATCH, RANDOM, PIXELS)),
    }
    assert all(0 <= uar <= 100 for uar in found.values())

    def none_is_missing(runs, title):
        assert all(map(is_done, runs))

    with monkeypatch.context() as patched:
        patched.setattr(answers, "run_in_parallel", none_is_missing)
        assert study.main(["budget", *out, *few]) == 0
    capsys.readouterr()

    words = ["--steps", "2", "--labels", "2", "--variants", "[tube masks]"]
    assert study.main(["pieces", *out, *words]) == 0
    shown = capsys.readouterr().out
    assert "tube masks" in shown and (tmp_path / "pieces-demo.png").stat().st_size > 5_000
    known = {
        row["variant"]: float(row["uar"]) for row in rows(tmp_path / "pieces-demo.csv") if row["row"] == TUNED
    }
    assert known[DEMO] == found[(TUNED, DEMO, "32")] and set(known) == {DEMO, "tube masks"}

    assert study.main(["pieces", *out, "--equal", "operations", *words[:-1], "[batches of 8]"]) == 0
    assert "the operations of 32 clips of demo recipe" in capsys.readouterr().out
    clips = {row["variant"]: row["clips"] for row in rows(tmp_path / "pieces-demo-operations.csv")}
    assert clips == {DEMO: "32", "batches of 8": "16"}

    assert study.main(["pooling", *out, "--steps", "2", "--labels", "2", "--pools", "[attentive,token]"]) == 0
    assert "token pooling" in capsys.readouterr().out and (tmp_path / "pooling.png").stat().st_size > 5_000
    pooled = {(row["row"], row["variant"]): float(row["uar"]) for row in rows(tmp_path / "pooling.csv")}
    assert set(pooled) == {
        (row, f"{pool} pooling") for row in (TUNED, LINEAR) for pool in ("attentive", "token")
    }
    # what the row has anyway
    assert pooled[TUNED, "attentive pooling"] == known[DEMO]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_changes_the_shipped_recipe(name):
    """Its flags, laid over the recipe, build a model; what the name says is in it."""
    recipe = yaml.safe_load(find_config("pretrain/demo").read_text())["model"]
    words = VARIANTS[name]
    of_data = [flag for flag in words[::2] if flag.startswith("--data.")]
    assert (model_settings(name) != recipe or bool(of_data)) == (name != DEMO)
    module = MaskedPretraining(**model_settings(name))
    assert (module.num_predicted < module.num_masked) == ("tokens predicted" in name)
    published = (name.startswith("published") and "Muon" not in name) or "AdamW" in name
    assert module.optimizer_name == ("adamw" if published else "muon")
    reference = VARIANTS[PUBLISHED if name in LEVERS else DEMO]
    assert name in (DEMO, PUBLISHED) or (words[: len(reference)] == reference and len(words) > len(reference))


@pytest.mark.parametrize(
    ("name", "factor"),
    [("four times", 4), ("twice", 2), ("half", 0.5), ("AdamW, half", 0.5), ("AdamW, a quarter of", 0.25)],
)
def test_a_learning_rate_is_the_share_of_the_shipped_one_that_its_name_says(name, factor):
    shipped, changed = model_settings(DEMO), model_settings(f"{name} the learning rate")
    assert changed["optimizer"] == ("adamw" if "AdamW" in name else shipped["optimizer"])
    for rate in ("base_lr", "min_lr"):
        assert changed[rate] == pytest.approx(factor * shipped[rate])


def test_budgets_are_clips_whatever_the_batch(tmp_path):
    assert yaml.safe_load(find_config("pretrain/demo").read_text())["data"]["batch_size"] == CLIPS_PER_STEP
    shown = {}
    for name in (DEMO, "batches of 8", "batches of 32"):
        words = Pretraining("clean", name, 70, 0).words(Faces("clean", tmp_path, tmp_path))
        given = dict(zip(words[1::2], words[2::2], strict=True))
        shown[name] = int(given["--trainer.max_steps"]), given["--trainer.val_check_interval"]
    assert shown == {DEMO: (70, "70"), "batches of 8": (140, "140"), "batches of 32": (35, "35")}


def test_a_variant_costs_what_its_matrices_do():
    """Two operations for each multiplication: a block of the decoder, counted by hand, and its update."""
    recipe = model_settings(DEMO)
    width, hidden, visible = recipe["decoder_dim"], 108, 36  # 4 x 6 x 6 tokens, three quarters masked
    # Queries and an output for masked tokens, keys and values for all it looks at, an MLP four times as wide.
    matrices = 4 * hidden * width**2 + 4 * visible * width**2 + 16 * hidden * width**2
    attention = 2 * 2 * hidden * visible * width
    # Five times A = X X', A A and B X, of each matrix with its shorter side first.
    longer_sides = (1, 1, 2, 4, 4)  # in widths: queries, output, keys with values, MLP
    muon = sum(5 * 2 * width**3 * (2 * side + 1) for side in longer_sides)
    one_block = gflop(DEMO) - gflop("decoder of one block")
    assert one_block == pytest.approx((3 * (matrices + attention) + muon / 16) / 1e9, rel=1e-6)
    assert gflop("4 clips of each sample") == gflop(DEMO) < gflop("joint decoder")
    assert gflop("a sixth of the tokens predicted") < gflop("half of the tokens predicted") < gflop(DEMO)
    assert gflop("AdamW") < gflop("batches of 32") < gflop(DEMO) < gflop("batches of 8")


@pytest.mark.parametrize("name", ["mask ratio 0.6", "batches of 8", "batches of 32", "AdamW", JOINT, DEMO])
def test_at_equal_operations_what_costs_less_sees_more(name):
    one = Pretraining("clean", name, 700, 1)
    fair = at_equal_operations(one, DEMO)
    assert replace(fair, steps=700) == one
    assert fair.clips * gflop(name) == pytest.approx(one.clips * gflop(DEMO), rel=2e-3)
    assert fair.clips % batch_of(name) == 0


def test_equal_operations_are_whole_steps_and_one_at_least(tmp_path):
    assert at_equal_operations(Pretraining("clean", "batches of 8", 1, 0), "AdamW").steps == 1
    lists = ("clean",), (7,), (DEMO, "batches of 32"), (16,)
    question = Asked(tmp_path, *lists, seeds=1, clips=1, videos=None, equal_to=DEMO)
    assert [one.steps for one in question.pretrainings] == [7, 8]
    assert question.budget == "the operations of 112 clips of demo recipe"


def test_the_figure_of_pieces_names_its_lines_as_it_is_told(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: told.append(figure))
    uars = {DEMO: [70.0, 72.0], "a": [60.0, 64.0], "b": [75.0, 71.0]}
    known = [one for row in (TUNED, PROBED) for name in uars for one in made_up(uars[name], row, name)]
    draw_pieces(tmp_path / "x.png", known, DEMO, "title", str.upper)
    (axis,) = told[0].axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["A", "B"]
    assert [list(line.get_xdata()) for line in axis.lines][:4] == [[-10.0, -8.0], [-9.0], [5.0, -1.0], [2.0]]


@pytest.mark.parametrize("name", [DEMO, PUBLISHED, JOINT])
def test_an_encoder_is_used_in_the_shape_it_was_trained_in(name, tmp_path):
    recipe, words = yaml.safe_load(find_config("pretrain/demo").read_text())["model"], VARIANTS[name]
    flags = dict(zip(words[::2], map(yaml.safe_load, words[1::2]), strict=True))
    shape = {"architecture": recipe["architecture"], "model_args": recipe["model_args"]}
    shape |= {key: flags[f"--model.{key}"] for key in shape if f"--model.{key}" in flags}
    geometry = {"detector": "none", "margin": 0.0, "rotated": False, "size": 48}
    encoder = build_encoder(shape["architecture"], shape["model_args"])
    save_encoder(encoder, tmp_path, ModelConfig(**shape, input=InputSpec(geometry=geometry)))

    use = Use(TUNED, "clean", 16, 0, Pretraining("clean", name, 1, 0))
    words = use.words(Faces("clean", tmp_path, tmp_path), tmp_path)
    told = {
        flag: yaml.safe_load(words[words.index(flag) + 1])
        for flag in ("--model.architecture", "--model.model_args")
    }
    start = starting_encoder(told["--model.architecture"], told["--model.model_args"] or {}, str(tmp_path))
    assert (start.architecture, start.model_args) == (shape["architecture"], shape["model_args"])
    assert start.encoder.pos_embed.equal(encoder.pos_embed)


def test_folders_tell_runs_apart_and_may_be_moved(tmp_path, monkeypatch):
    def bench(folder, text):
        for part in ("unlabelled", "labelled"):
            (folder / part).mkdir(parents=True)
            (folder / part / "index.json").write_text(text)
        return Bench(folder, {"clean": Faces("clean", folder / "unlabelled", folder / "labelled")})

    one, moved, other = (bench(tmp_path / name, text) for name, text in (("a", "x"), ("b", "x"), ("c", "y")))
    pretraining = Pretraining("clean", DEMO, 2, 0)
    uses = [Use(TUNED, "clean", 16, 0), Use(TUNED, "clean", 16, 0, pretraining)]
    asked = [
        pretraining,
        *uses,
        replace(uses[1], encoder=replace(pretraining, seed=1)),
        replace(uses[0], seed=1),
    ]
    names = [one.folder_of(run).name for run in asked]
    assert len(set(names)) == len(asked)
    assert [moved.folder_of(run).name for run in asked] == names
    assert not {other.folder_of(run).name for run in asked} & set(names)
    monkeypatch.setitem(trials.ROWS, TUNED, ("--model.base_lr", "1"))
    assert [one.folder_of(run).name == name for run, name in zip(asked, names, strict=True)] == [
        True,
        *[False] * 4,
    ]


def made_up(uars, row=TUNED, variant=DEMO, clips=0, labels=16):
    return [Answer("clean", variant, clips, row, labels, seed, uar) for seed, uar in enumerate(uars)]


def test_a_budget_counts_from_where_every_seed_gains_and_keeps_its_gain():
    known = [
        *made_up([50.0, 60.0], SCRATCH, ""),
        *made_up([70.0, 80.0], PIXELS, ""),
        *made_up([65.0, 69.0], clips=16),  # the second seed gains 9
        *made_up([61.0, 71.0], clips=32),
        *made_up([59.0, 90.0], clips=64),  # lost again
        *made_up([60.0, 70.0], clips=128),
        *made_up([75.0, 81.0], clips=256),
    ]
    (said,) = verdicts(known)
    assert said == (
        f"clean, {TUNED}, {DEMO}, 16 labels: +10 from 128 clips, +20 from 256 clips "
        "(worst seed after 256: +21.0, over pixels +1.0)"
    )
    (never,) = verdicts(known[:6])
    assert never.endswith("+10 at none, +20 at none (worst seed after 16: +9.0, over pixels -11.0)")
    assert [row["16 labels"] for row in table(known)][:3] == ["55.0 ± 7.1", "75.0 ± 7.1", "67.0 ± 2.8"]


def test_answers_of_one_seed_are_not_mixed():
    with pytest.raises(ValueError, match="two answers of seed 0"):
        by_seed(made_up([1.0]) + made_up([2.0]), lambda answer: True)
    assert gains({0: 3.0, 1: 5.0}, {0: 1.0, 1: 6.0, 2: 9.0}) == [2.0, -1.0]
    assert signed([2.0, -1.0]) == "+0.5 (+2.0 -1.0)"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say which: budget, pieces, pooling"),
        (("pooling", "--pools", "[mean]"), "--pools: ['mean']: name some of region, token, all, attentive"),
        (("pooling", "--pools", "[all,all]"), "each once"),
        (("pooling", "--pools", "[]"), "--pools: []: name some"),
        (("budget", "--variants", "[fast]"), "no recipe is called fast: take demo recipe"),
        (("budget", "--labels", "[101]"), "take 1 to 100"),
        (("pieces", "--variants", "[x]"), "no recipe is called x"),
        (("budget", "--variants", "[published + Moon]"), "no recipe is called published + Moon: take"),
        (
            ("budget", "--faces", "[real]"),
            "--faces: real and --videos, a folder of face videos, need each other",
        ),
        (("pieces", "--videos", "x"), "--faces: real and --videos, a folder of face videos, need each other"),
        (("budget", "--faces", "[clean,ugly]"), "--faces: ugly: take clean, diverse, messy or real"),
        (("budget", "--steps", "[]"), "--steps: []: name one or more"),
        (("budget", "--steps", "[7,7]"), "--steps: [7, 7]: name one or more, each once"),
        (("budget", "--seeds", "0"), "--seeds 0 and --clips"),
        (("pieces", "--steps", "0"), "--steps: [0]"),
        (
            ("pieces", "--faces", "[real]", "--videos", "x", "--variants", "[4 clips of each sample]"),
            "--faces: real has --data.clips_per_sample 4 anyway: leave out 4 clips of each sample",
        ),
        (
            ("pieces", "--steps", "175"),
            "--steps: 175: 2800 clips are not a whole number of steps of 'batches of 32'",
        ),
        (("pieces", "--stepz", "3"), "stepz"),
        (("pieces", "--recipe", "other"), "recipe"),
    ],
)
def test_wrong_words_are_one_line(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert study.main(list(words)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and said in lines[0]
    assert not list(tmp_path.iterdir())
