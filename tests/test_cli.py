"""The command line as a user meets it: help at once, wrong words in one line with a remedy, exit code 2."""

import inspect
import os
import subprocess
import sys

import pytest

from maedfer import cli
from maedfer.__main__ import main
from maedfer.errors import UserError
from maedfer.files import make_folder
from maedfer.parsing import Flags, Parser, parse, unknown_name, with_values
from maedfer.resources import find_config
from maedfer.verbs import VERBS, Verb


def test_help_names_every_verb_and_loads_nothing():
    code = "import sys\nfrom maedfer.__main__ import main\nmain(['--help'])\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown, loaded = done.stdout.rsplit("\n", 2)[:2]
    assert all(f"  {verb.name} " in shown and verb.help in shown for verb in VERBS.values())
    assert not {"torch", "numpy", "jsonargparse", "maedfer.cli"} & set(loaded.split())


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    function = cli._import(VERBS[verb])
    assert f"maedfer {verb}" in shown
    if not VERBS[verb].trains:  # these are documented by their classes
        first = (inspect.getdoc(function) or "").split("\n\n")[0]
        assert "".join(first.split()) in "".join(shown.split())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["pak"], "did you mean `pack`"),
        (["pack", "x", "--out", "y", "--detecter", "haar"], "--detector"),
        (["pack", "x", "--out", "y", "--detector", "harr"], "--detector: Does"),
        (["pack", "x", "--out", "y", "--size", "1.5"], "--size: Expected a int. Got value: 1.5"),
        (
            ["pretrain", "--config", "pretrain/demo", "--data.batch_size", "many"],
            "--data.batch_size: Expected a int",
        ),
        (
            ["finetune", "--config", "finetune/demo", "--init-from", "nowhere"],
            "nowhere is not a file or folder",
        ),
        (
            ["pretrain", "--config", "pretrain/dmo"],
            "--config pretrain/dmo: no such file or recipe; did you mean pretrain/demo",
        ),
        (["pretrain", "--config", "pretrain/demo", "--data.shard", "x"], "--data.shards"),
        (["pretrain", "--config", "pretrain/demo", "--trainer.max_step", "3"], "--trainer.max_steps"),
        (["verify", "nowhere"], "nowhere"),
        (["pack", "x"], "missing: --out"),
        (["verify"], "missing: FOLDER"),
        (["pretrain", "--run", "nowhere", "--resume"], "nothing to continue without --config"),
    ],
)
def test_wrong_words_exit_2_with_one_line(args, words, capsys):
    assert main(args) == 2
    shown = capsys.readouterr().err.strip()
    assert words in shown
    assert "\n" not in shown


def test_flags_are_never_abbreviated(capsys):
    assert main(["pack", "x", "--out", "y", "--detect", "none"]) == 2
    assert "--detector" in capsys.readouterr().err


def test_boolean_flags_stand_alone_or_with_a_value():
    given = ["--resume", "--init-from", "x", "--resume", "False", "--resume=true", "--resume", "--run", "a=b"]
    spelt = [
        "--resume=true",
        "--init_from",
        "x",
        "--resume=false",
        "--resume=true",
        "--resume=true",
        "--run",
        "a=b",
    ]
    assert with_values(given, ["resume"]) == spelt


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("mask_ratio", "mask_ration"),
        ("batch_size", "batchsize"),
        ("max_steps", "max_stepps"),
        ("checkpoint_every", "checkpoint_evry"),
    ],
)
def test_a_recipe_with_a_wrong_key_names_the_nearest(right, wrong, tmp_path, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(find_config("pretrain/demo").read_text().replace(right, wrong))
    assert main(["pretrain", "--config", str(recipe), "--run", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err.strip()
    assert right in shown.split("did you mean")[1] and "\n" not in shown
    assert not (tmp_path / "run").exists()


class Data:
    def __init__(self, shards: str = "x", crop: str = "none", fold: str = "1") -> None:
        """Stands for a data module."""


class Model:
    def __init__(self, depth: int = 1, crop: str = "all") -> None:
        """Stands for a module."""


def training_parser() -> Parser:
    parser = Parser(prog="maedfer train")
    parser.add_argument("--config", action="config")
    parser.add_argument("--init_from", type=str, default="")
    parser.add_argument("--task", type=str, default="classify")
    parser.add_class_arguments(Data, "data")
    parser.add_class_arguments(Model, "model")
    parser.link_arguments("task", "data.fold")
    return parser


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (UserError("crop", "fits no frame"), "--data.crop: fits no frame"),  # the data module comes first
        (UserError("depth", "-1; leave out `crop`"), "--model.depth: -1; leave out --data.crop"),
        (UserError("init_from", "x, but `task=regress`"), "--init-from: x, but --task regress"),
        (UserError(None, "`maedfer verify`\nfinds `nothing`"), "`maedfer verify` finds `nothing`"),
        (UserError("fold", "is linked, so there is no flag"), "fold: is linked, so there is no flag"),
        (FileNotFoundError("`config` x is not there"), "--config x is not there"),
        (FileNotFoundError(2, "No such file", "a.csv"), "a.csv: No such file"),
    ],
)
def test_parameters_are_shown_as_the_flags_of_the_verb(error, shown):
    with Flags([]).active() as flags:
        parse(training_parser(), [])
        assert flags.describe(error) == shown


def test_before_any_parsing_the_typed_flags_are_known():
    flags = Flags(["--resume=true", "--data.fold", "3"])
    assert flags.describe(UserError("resume", "and `fold`")) == "--resume: and --data.fold"
    assert flags.describe(UserError("init_from", "`other`")) == "--init-from: `other`"


def test_the_first_parser_of_a_verb_is_its_own():
    with Flags([]).active() as flags:
        parse(Parser(), [])
        parse(training_parser(), [])
        assert flags.describe(UserError("crop", "x")) == "crop: x"


@pytest.mark.parametrize(
    ("args", "recipe", "name"),
    [
        (["--data.shard=x"], "", "data.shard"),
        (["--inid-from=x"], "", "inid_from"),
        ([], "model: {depht: 2}", "model.depht"),
        ([], "inid_from: x", "inid_from"),
    ],
)
def test_the_installed_jsonargparse_still_reports_unknown_names_in_these_words(args, recipe, name, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe)
    words = [*args, *(["--config", str(path)] if recipe else [])]
    with pytest.raises(UserError, match=f"no setting '{name}'; did you mean --") as refused:
        parse(training_parser(), words)
    assert unknown_name(str(refused.value.__cause__)) == name


def outcome(monkeypatch, capsys, function, args=()):
    """Exit code and stderr of a verb whose work is a function of this file."""
    verb = Verb("try", "", f"tests:{function.__name__}", positional="sources")
    monkeypatch.setitem(VERBS, "try", verb)
    monkeypatch.setattr(cli, "_import", lambda verb: function)
    return main(["try", *args]), capsys.readouterr().err


def test_wrong_input_is_one_line_in_the_words_of_the_command_line(monkeypatch, capsys):
    def refuse(sources: list[str], val_share: float = 0.0) -> None:
        raise UserError("sources", f"{sources} need `val_share`")

    code, shown = outcome(monkeypatch, capsys, refuse, ["a", "b"])
    assert code == 2
    assert shown == "maedfer try: SOURCES: ['a', 'b'] need --val-share\n"


@pytest.mark.parametrize("error", [ValueError("of numpy"), OSError(28, "No space left"), TypeError("a bug")])
def test_any_other_error_is_a_traceback_and_exit_1(error, monkeypatch, capsys):
    def fail(sources: list[str]) -> None:
        raise error

    code, shown = outcome(monkeypatch, capsys, fail, ["a"])
    assert code == 1
    assert "Traceback" in shown and str(error) in shown and "in fail" in shown


def test_a_missing_extra_is_one_line_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setitem(VERBS, "try", Verb("try", "", "no_such_library.part:function"))
    assert main(["try"]) == 2
    assert capsys.readouterr().err == "maedfer try: needs no_such_library: pip install 'maedfer[train]'\n"


def test_output_folders_that_cannot_be_written_are_refused(tmp_path, monkeypatch):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^out: .*file cannot be made"):
        make_folder(tmp_path / "file")
    with pytest.raises(UserError, match=r"^run: .*inside cannot be made"):
        make_folder(tmp_path / "file" / "inside", "run")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UserError, match=r"^out: .* is not writable"):
        make_folder(tmp_path)
