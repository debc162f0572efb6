"""Every shipped recipe parses and builds what it says."""

import pytest

from maedfer.errors import UserError
from maedfer.resources import find_config
from maedfer.training.finetuning.cli import FinetuneCLI
from maedfer.training.pretraining.command import PretrainCLI
from maedfer.training.run.recipes import with_recipes, without_draws
from maedfer.training.steps.schedule import scaled_by_batch

pytestmark = pytest.mark.long

RECIPES = sorted(path.stem for path in find_config("pretrain/demo").parent.glob("*.yaml"))
FINE_TUNING_RECIPES = sorted(path.stem for path in find_config("finetune/demo").parent.glob("*.yaml"))

PUBLISHED = {
    "dfew": (96, 3.75e-4, 4, ("63.41", "74.43")),
    "ferv39k": (120, 4.6875e-4, 1, ("43.12", "52.07")),
    "mafw": (96, 3.75e-4, 4, ("41.62", "54.31")),
    "ravdess": (96, 3.75e-4, 4, ("75.91", "75.56")),
    "cremad": (96, 3.75e-4, 4, ("77.33", "77.38")),
    "enterface05": (96, 3.75e-4, 4, ("61.67", "61.64")),
}
"""Global batch, peak learning rate, sampling rate of upstream's scripts; UAR and WAR of the paper."""


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_builds_a_model_and_names_its_number(name, tmp_path):
    cli = PretrainCLI(
        with_recipes(["--config", f"pretrain/{name}", "--run", str(tmp_path / name)], PretrainCLI.default_run)
    )
    assert cli.model.mae.encoder.num_classes == 0
    assert "Should reach" in find_config(f"pretrain/{name}").read_text()


def test_the_fine_tuning_demo_builds_what_its_labels_need(tmp_path):
    words = ["--config", "finetune/demo", "--run", str(tmp_path / "demo")]
    cli = FinetuneCLI(with_recipes(words, FinetuneCLI.default_run))
    cli.save_config(cli.prepare(source=None))
    assert cli.model.classifier.head.out_features == len(cli.datamodule.outputs) == 7


@pytest.mark.parametrize("name", FINE_TUNING_RECIPES)
def test_a_fine_tuning_recipe_names_its_number(name):
    text = find_config(f"finetune/{name}").read_text()
    assert "Should reach" in text
    assert all(number in text for number in PUBLISHED.get(name, (None,) * 3 + ((),))[3])


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_fine_tuning_recipe_is_that_of_the_scripts(name, tmp_path):
    batch, peak, rate, _ = PUBLISHED[name]
    words = ["--config", f"finetune/{name}", "--run", str(tmp_path / name)]
    config = FinetuneCLI(with_recipes(words, FinetuneCLI.default_run)).config
    data, model = config.data, config.model
    assert data.batch_size == batch
    assert scaled_by_batch(model.base_lr, batch) == pytest.approx(peak)
    assert data.frame_interval_s * 25 == pytest.approx(rate)
    assert (model.drop_path_rate, model.label_smoothing, model.mixup, model.cutmix) == (0.1, 0.1, 0.8, 1.0)
    assert (model.erasing, model.weight_decay, model.layer_decay, model.pool) == (0.25, 0.05, 0.75, "region")
    assert tuple(data.crop_scale) == (0.08, 1.0) and data.flip == 0.5
    assert config.trainer.max_epochs == 100 and model.warmup_share == 0.05
    # Upstream's defects are in a recipe of their own.
    assert not config.official
    assert data.sampling == model.region_tokens == "correct"


def test_the_official_recipes_bring_every_defect_back(tmp_path):
    words = ["--config", "finetune/dfew", "--config", "official/finetune", "--run", str(tmp_path / "tuned")]
    tuned = FinetuneCLI(with_recipes(words, FinetuneCLI.default_run)).config
    assert tuned.official and tuned.data.views == 2
    assert tuned.data.sampling == tuned.model.region_tokens == "official"
    words = [
        "--config",
        "pretrain/voxceleb2",
        "--config",
        "official/pretrain",
        "--run",
        str(tmp_path / "run"),
    ]
    words += ["--run", str(tmp_path / "run"), "--model.architecture", "lgi_former_tiny_patch8_64"]
    run = PretrainCLI(with_recipes(words, PretrainCLI.default_run)).config
    assert run.model.decoder_positions == run.model.region_tokens == run.data.sampling == "official"


def test_the_published_recipe(tmp_path):
    cli = PretrainCLI(
        with_recipes(
            ["--config", "pretrain/voxceleb2", "--run", str(tmp_path / "run")], PretrainCLI.default_run
        )
    )
    assert sum(p.numel() for p in cli.model.mae.parameters()) == 92_760_192
    assert cli.model.num_masked == 720
    assert scaled_by_batch(cli.config.model.base_lr, 160) == pytest.approx(1.875e-4)
    assert cli.trainer.precision == "bf16-mixed"
    assert cli.trainer.max_epochs == 100


def test_settings_of_old_runs_lose_the_draws_and_official_ones_are_refused():
    text = "data:\n  views: 2\n  draws: correct\n  flip: 0.5\n"
    assert without_draws(text) == "data:\n  views: 2\n  flip: 0.5\n" == without_draws(without_draws(text))
    with pytest.raises(UserError, match=r"^draws: official was removed.*configs/README"):
        without_draws(text.replace("correct", "official"))
