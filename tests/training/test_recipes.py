"""Every shipped recipe parses and builds what it says."""

import pytest

from maedfer.resources import find_config
from maedfer.training.finetune import FinetuneCLI, build
from maedfer.training.pretrain import PretrainCLI
from maedfer.training.run_cli import with_recipes
from maedfer.training.schedule import scaled_by_batch

RECIPES = sorted(path.stem for path in find_config("pretrain/demo").parent.glob("*.yaml"))
FINE_TUNING_RECIPES = sorted(path.stem for path in find_config("finetune/demo").parent.glob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_builds_a_model_and_names_its_number(name, tmp_path):
    cli = PretrainCLI(
        with_recipes(["--config", f"pretrain/{name}", "--run", str(tmp_path / name)], PretrainCLI.default_run)
    )
    assert cli.model.mae.encoder.num_classes == 0
    assert "Should reach" in find_config(f"pretrain/{name}").read_text()


@pytest.mark.parametrize("name", FINE_TUNING_RECIPES)
def test_a_fine_tuning_recipe_builds_what_its_labels_need(name, tmp_path):
    words = ["--config", f"finetune/{name}", "--run", str(tmp_path / name)]
    cli = FinetuneCLI(with_recipes(words, FinetuneCLI.default_run))
    build(cli, checkpoint=None)
    assert cli.model.classifier.head.out_features == len(cli.datamodule.outputs) == 7
    assert "Should reach" in find_config(f"finetune/{name}").read_text()


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
