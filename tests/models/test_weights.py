"""Folders of weights: what they hold, where they are found, and what is said when they are not."""

import json
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from maedfer import load_classifier, load_encoder
from maedfer.errors import UserError
from maedfer.models import weights
from maedfer.models.config import InputSpec, ModelConfig, OutputSpec, read_config
from maedfer.models.weights import save_encoder, write_unfinished

NAME = "lgi_former_tiny_patch8_64"
ARGS = {
    "img_size": 32,
    "num_frames": 8,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 2,
    "region_size": (2, 2, 4),
}
ARTEFACTS = Path(__file__).parents[1] / "artefacts" / "ba43b06"


def described(names=None):
    return ModelConfig(
        NAME,
        ARGS,
        InputSpec(geometry={"size": 32, "detector": "haar"}),
        OutputSpec("classify", tuple(names)) if names else None,
        {"synthetic": True, "steps": 10},
    )


def save(model, folder, names=None):
    return save_encoder(model, folder, described(names))


def test_an_encoder_comes_back_from_its_run_and_from_its_folder(build_tiny, clip, tmp_path):
    model = build_tiny()
    save(model, tmp_path / "run" / "encoder")
    assert sorted(p.name for p in (tmp_path / "run" / "encoder").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    for source in (tmp_path / "run", str(tmp_path / "run" / "encoder")):
        found = load_encoder(source)
        assert not found.training and torch.equal(found(clip), model(clip))
    assert load_file(tmp_path / "run/encoder/model.safetensors").keys() == model.state_dict().keys()


def test_the_config_has_exactly_its_keys_and_travels_with_the_model(build_tiny, tmp_path):
    save(build_tiny(num_classes=2), tmp_path, ["calm", "happy"])
    raw = json.loads((tmp_path / "config.json").read_text())
    assert raw.keys() == {field.name for field in fields(ModelConfig)}
    assert raw["output"] == {"task": "classify", "names": ["calm", "happy"], "columns": None}
    assert raw["input"]["frame_interval_s"] == 0.16 and raw["input"]["num_frames"] == 8
    assert raw["model_args"]["region_size"] == [2, 2, 4] and raw["model_args"]["num_classes"] == 2
    assert raw["weights_sha256"] == sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    config = load_classifier(tmp_path).config
    assert config == ModelConfig.from_json(raw) == read_config(tmp_path)
    assert json.loads(json.dumps(config.to_json())) == raw
    assert config.output == OutputSpec("classify", ("calm", "happy"))


def test_what_was_saved_before_the_schema_loads_as_before():
    config = load_classifier(ARTEFACTS / "finetuned").config
    assert config.output.task == "classify" and config.output.names[:2] == ("happy", "sad")
    assert config.output.columns is None and config.weights_sha256 is None
    assert config.input == InputSpec(
        geometry={"detector": "none", "margin": 0.0, "rotated": False, "size": 32}, sampling="correct"
    )
    assert config.provenance["trained_on"]["split"] == "train"
    config = load_encoder(ARTEFACTS / "pretrained").config
    assert config.output is None and config.input.frame_interval_s == 0.32
    assert config.input.mean == (0.485, 0.456, 0.406)


def test_settings_that_hid_in_the_provenance_are_read_from_there():
    raw = json.loads((ARTEFACTS / "finetuned" / "classifier" / "config.json").read_text())
    raw["provenance"] |= {
        "task": "regress",
        "columns": ["valence", "arousal"],
        "sampling": "official",
        "frame_crop": [0.1, 0.0, 0.8, 1.0],
    }
    config = ModelConfig.from_json(raw | {"labels": ["valence", "arousal"]})
    assert config.output == OutputSpec("regress", ("valence", "arousal"), ("valence", "arousal"))
    assert config.input.sampling == "official" and config.input.frame_crop == (0.1, 0.0, 0.8, 1.0)


def test_a_run_describes_its_model_before_there_are_weights(build_tiny, clip, tmp_path):
    run, model = tmp_path / "run", build_tiny(num_classes=2)
    (run / "checkpoints").mkdir(parents=True)
    write_unfinished(model, run / "classifier", described(["calm", "happy"]))
    assert read_config(run / "classifier").output.names == ("calm", "happy")
    assert read_config(run / "classifier").model_args["num_classes"] == 2
    for load in (load_classifier, load_encoder):
        with pytest.raises(FileNotFoundError, match=rf"{run} .*`maedfer consolidate {run}`.*--resume"):
            load(run)
    with pytest.raises(FileNotFoundError, match=r"`maedfer consolidate"):
        load_classifier(run / "classifier")
    save(model, run / "classifier", ["calm", "happy"])
    config = read_config(run / "classifier")
    assert config.weights_sha256 is not None
    write_unfinished(model, run / "classifier", described(["calm", "happy"]))  # resumed after `consolidate`
    assert read_config(run / "classifier") == config
    assert torch.equal(load_classifier(run)(clip), model(clip))


def test_the_card_says_what_the_model_is_and_is_not(build_tiny, tmp_path):
    save(build_tiny(num_classes=2), tmp_path, ["calm", "happy"])
    card = (tmp_path / "README.md").read_text()
    for words in ("synthetic faces", "calm, happy", "regulated", "load_classifier", '"detector": "haar"'):
        assert words in card


def test_a_fine_tuned_run_gives_a_classifier_and_an_encoder_with_its_norm(build_tiny, clip, tmp_path):
    model = build_tiny(num_classes=3, pool="token")
    save(model, tmp_path / "classifier", ["a", "b", "c"])
    assert torch.equal(load_classifier(tmp_path)(clip), model(clip))
    features = model.forward_head(model.forward_features(clip), pre_logits=True)
    headless = load_encoder(tmp_path)
    assert torch.equal(headless(clip), features)
    save(headless, tmp_path / "headless")
    assert torch.equal(load_encoder(tmp_path / "headless")(clip), features)


def test_an_encoder_that_became_a_classifier_is_saved_as_one(build_tiny, clip, tmp_path):
    model = build_tiny()
    model.reset_classifier(3)
    save(model, tmp_path, ["a", "b", "c"])
    assert torch.equal(load_classifier(tmp_path)(clip), model.eval()(clip))


def test_a_loaded_encoder_takes_a_head_and_overrides(build_tiny, clip, tmp_path):
    save(build_tiny(), tmp_path)
    model = load_encoder(tmp_path, num_classes=4, pool="all", drop_path_rate=0.2)
    assert model(clip).shape == (2, 4) and model.pool_mode == "all"
    assert isinstance(model.norm, torch.nn.Identity) and model.blocks[1].drop_path.drop_prob == 0.2


def test_a_registered_name_gives_fresh_weights():
    model = load_encoder(NAME, img_size=32, num_frames=8, region_size=(2, 2, 4))
    assert model.grid == (4, 4, 4) and model.num_classes == 0 and not model.training


def test_a_path_wins_over_a_name(build_tiny, tmp_path, monkeypatch):
    save(build_tiny(), tmp_path / NAME)
    monkeypatch.chdir(tmp_path)
    assert load_encoder(NAME).embed_dim == 24


def test_a_hub_id_is_fetched_when_nothing_else_fits(build_tiny, clip, tmp_path, monkeypatch):
    model = build_tiny()
    save(model, tmp_path)
    asked = []

    def fetch(source, **_):
        asked.append(source)
        return str(tmp_path)

    monkeypatch.setattr(weights.huggingface_hub, "snapshot_download", fetch)
    assert torch.equal(load_encoder("someone/faces")(clip), model(clip)) and asked == ["someone/faces"]

    def refuse(source, **_):
        raise OSError("offline")

    monkeypatch.setattr(weights.huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(FileNotFoundError, match=r"runs/x is not a file or folder here.*offline"):
        load_encoder("runs/x")


def test_what_is_not_there_is_explained(build_tiny, tmp_path):
    with pytest.raises(ValueError, match=r"did you mean lgi_former_tiny_patch8_64"):
        load_encoder("lgi_former_tiny")
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a file or folder here"):
        load_encoder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=rf"{NAME} names fresh weights.*give a fine-tuned run"):
        load_classifier(NAME)
    with pytest.raises(FileNotFoundError, match=r"lgi_former_tiny is not a file or folder here"):
        load_classifier("lgi_former_tiny")


def test_folders_without_weights_name_what_was_looked_for_or_what_to_do(build_tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    looked = r"looked for encoder/config.json, config.json, classifier/config.json"
    with pytest.raises(FileNotFoundError, match=rf"empty has no weights: {looked}"):
        load_encoder(tmp_path / "empty")
    run = tmp_path / "run"
    (run / "checkpoints" / "last.ckpt").mkdir(parents=True)
    for load, room in ((load_encoder, "encoder"), (load_classifier, "classifier")):
        with pytest.raises(
            FileNotFoundError, match=rf"no weights in {room}/ yet: .*maedfer consolidate.*--resume"
        ):
            load(run)
        with pytest.raises(ValueError, match=r"last.ckpt is a training checkpoint of a run"):
            load(run / "checkpoints" / "last.ckpt")
    save(build_tiny(), run / "encoder")
    with pytest.raises(ValueError, match=r"encoder without classes: fine-tune it first"):
        load_classifier(tmp_path / "run")


def test_damaged_or_foreign_folders_are_refused(build_tiny, tmp_path):
    save(build_tiny(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    with pytest.raises(
        ValueError, match=r"region_tokens is \(4, 24\) in the weights, \(8, 24\) in the model"
    ):
        load_encoder(tmp_path, region_size=(2, 2, 2))
    (tmp_path / "config.json").write_text(
        json.dumps(config | {"model_args": config["model_args"] | {"depth": 3}})
    )
    with pytest.raises(ValueError, match=r"missing: blocks\.2\."):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"extra": 1}))
    with pytest.raises(ValueError, match=r"expected exactly \['architecture'"):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"schema": 3}))
    with pytest.raises(UserError, match=r"config.json: schema 3"):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"output": {"task": "guess"}}))
    with pytest.raises(UserError, match=r"output has the keys \['task'\]"):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json is not JSON"):
        load_encoder(tmp_path)


def test_damaged_weights_are_refused(build_tiny, tmp_path):
    save(build_tiny(), tmp_path)
    weights_file = tmp_path / "model.safetensors"
    data = bytearray(weights_file.read_bytes())
    data[-1] ^= 1  # a single bit, which safetensors does not see
    weights_file.write_bytes(data)
    with pytest.raises(UserError, match=r"model.safetensors is damaged: its SHA-256"):
        load_encoder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"weights_sha256": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights_file.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(UserError, match=r"model.safetensors is damaged"):
        load_encoder(tmp_path)


def test_labels_must_be_as_many_as_classes(build_tiny, tmp_path):
    with pytest.raises(UserError, match=r"^names: 2 names .* 3 classes"):
        save(build_tiny(num_classes=3), tmp_path, ["a", "b"])
