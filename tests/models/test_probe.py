"""Attentive pooling as a part of the encoders, and probes of frozen ones that become plain classifiers."""

import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from maedfer import load_classifier, load_encoder
from maedfer.models import MaskedAutoencoder
from maedfer.models.config import ModelConfig
from maedfer.models.pooling import POOLINGS, AttentivePool, Pooling
from maedfer.models.probe import LinearProbe, StandardisedHead
from maedfer.models.weights import save_encoder

BOTH = pytest.mark.parametrize("architecture", ["lgi_former_tiny_patch8_64", "vit_joint_tiny_patch8_64"])
ARGS = {"img_size": 32, "num_frames": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


def save(model, folder):
    name = "lgi_former_tiny_patch8_64" if hasattr(model, "region_tokens") else "vit_joint_tiny_patch8_64"
    region = {"region_size": (2, 2, 4)} if "lgi" in name else {}
    return save_encoder(model, folder, ModelConfig(name, ARGS | region))


def many_clips(count=12):
    coarse = torch.randn(count, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=(8, 32, 32), mode="trilinear")


@BOTH
def test_attentive_pooling_is_attention_of_one_query_to_all_tokens(build_tiny, clip, architecture):
    model = build_tiny(architecture, pool="attentive").double()
    features, pool = model.forward_features(clip.double()), model.attentive_pool
    tokens = torch.cat((features.region_tokens, features.tokens), dim=1)
    query = pool.attn.q.weight @ pool.query + pool.attn.q_bias
    key, value = (tokens @ pool.attn.kv.weight.T).chunk(2, dim=-1)
    heads = []
    for head in range(2):
        part = slice(12 * head, 12 * (head + 1))
        weights = (key[..., part] @ query[part] / 12**0.5).softmax(dim=1)
        heads.append((weights[..., None] * (value + pool.attn.v_bias)[..., part]).sum(dim=1))
    expected = torch.cat(heads, dim=-1) @ pool.attn.proj.weight.T + pool.attn.proj.bias
    torch.testing.assert_close(model.pool(features), expected)
    torch.testing.assert_close(model.pool(features, "token"), features.tokens.mean(1))
    with torch.no_grad():
        torch.testing.assert_close(model(clip.double()), expected)


@BOTH
def test_attentive_pooling_comes_fresh_stays_and_goes(build_tiny, architecture):
    assert isinstance(build_tiny(architecture, num_classes=5, pool="attentive").norm, nn.LayerNorm)
    model = build_tiny(architecture)
    without = set(model.state_dict())
    norm = model.norm
    model.reset_classifier(5, "attentive")
    assert model.norm is norm and isinstance(model.fc_norm, nn.Identity)
    pool = model.attentive_pool
    model.reset_classifier(3)
    assert model.attentive_pool is pool and model.pool_mode == "attentive"
    model.reset_classifier(3, "attentive")
    assert model.attentive_pool is not pool
    model.reset_classifier(0, "token")
    assert set(model.state_dict()) == without
    with pytest.raises(ValueError, match=r"^pool: .*reset_classifier\(num_classes, 'attentive'\)"):
        model.pool(model.forward_features(many_clips(1)), "attentive")


def test_a_fresh_query_attends_evenly_and_belongs_to_the_head(build_tiny):
    model = build_tiny(num_classes=7)
    model.reset_classifier(7, "attentive")
    groups = param_groups_layer_decay(model, 0.05, model.no_weight_decay(), layer_decay=0.5)
    of = {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert of[id(model.attentive_pool.attn.kv.weight)] == of[id(model.head.weight)] == (1.0, 0.05)
    assert of[id(model.attentive_pool.query)] == (1.0, 0.0)
    pool = AttentivePool(24, 2)
    key, _ = pool.attn.kv.weight.chunk(2)
    query = pool.attn.q.weight @ pool.query
    assert (key @ query).abs().max() < 0.01


@BOTH
def test_attentive_classifiers_come_back(build_tiny, clip, architecture, tmp_path):
    for number, model in enumerate(
        (build_tiny(architecture, num_classes=3, pool="attentive"), build_tiny(architecture))
    ):
        if number:
            model.reset_classifier(3, "attentive")
        save(model.eval(), tmp_path / str(number))
        loaded = load_classifier(tmp_path / str(number))
        assert torch.equal(loaded(clip), model(clip))
        headless = load_encoder(tmp_path / str(number))
        assert torch.equal(headless(clip), model.forward_head(model.forward_features(clip), pre_logits=True))


def test_a_fine_tuned_model_comes_back_with_an_attentive_head(build_tiny, clip, tmp_path):
    model = build_tiny(num_classes=4)
    model.reset_classifier(3, "attentive")
    assert isinstance(model.fc_norm, nn.LayerNorm)
    save(model.eval(), tmp_path / "tuned")
    assert torch.equal(load_classifier(tmp_path / "tuned")(clip), model(clip))


def test_a_pretrained_encoder_is_loaded_with_another_pooling(build_tiny, clip, tmp_path):
    pretrained = build_tiny()
    save(pretrained, tmp_path / "mean")
    model = load_encoder(tmp_path / "mean", pool="attentive")
    torch.testing.assert_close(model.forward_features(clip), pretrained.forward_features(clip))
    save(model, tmp_path / "attentive")
    again = load_encoder(tmp_path / "attentive", pool="attentive", num_classes=2)
    assert torch.equal(again.attentive_pool.query, model.attentive_pool.query)
    assert torch.equal(load_encoder(tmp_path / "attentive", pool="region")(clip), pretrained(clip))


def test_pretraining_refuses_a_query_it_would_not_train(build_tiny):
    with pytest.raises(ValueError, match=r"^pool: 'attentive' has weights that pre-training does not train"):
        MaskedAutoencoder(build_tiny(pool="attentive"))


def test_the_head_standardises_and_folds_into_one_matrix():
    torch.manual_seed(0)
    features = torch.randn(64, 10, dtype=torch.float64) * torch.logspace(-3, 3, 10) + torch.arange(10.0) * 5
    head = StandardisedHead(10, 4).double()
    nn.init.normal_(head.linear.weight)
    nn.init.normal_(head.linear.bias)
    standard = (features - features.mean(0)) / (features.var(0, unbiased=False) + 1e-6).sqrt()
    torch.testing.assert_close(head(features), head.linear(standard))
    for _ in range(400):
        head(features)
    head.eval()
    standard = (features - features.mean(0)) / (features.var(0) + 1e-6).sqrt()
    torch.testing.assert_close(head(features), head.linear(standard), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(head.folded()(features), head(features), rtol=1e-9, atol=1e-9)


@BOTH
@pytest.mark.parametrize("pool", ["token", "all", "attentive"])
def test_a_probe_trains_its_head_alone_and_is_exported_as_a_classifier(
    build_tiny, architecture, pool, tmp_path
):
    pretrained, clips = build_tiny(architecture, drop_path_rate=0.5), many_clips()
    frozen = {name: tensor.clone() for name, tensor in pretrained.state_dict().items()}
    probe = LinearProbe(pretrained, 3, pool)
    trained = {name for name, parameter in probe.named_parameters() if parameter.requires_grad}
    attentive = {name for name, _ in probe.named_parameters() if ".attentive_pool." in name}
    assert trained == {"head.linear.weight", "head.linear.bias"} | attentive
    assert bool(attentive) == (pool == "attentive")

    targets = torch.arange(12) % 3
    groups = param_groups_layer_decay(probe, 0.0, probe.no_weight_decay(), layer_decay=0.5)
    assert {group["lr_scale"] for group in groups} == {1.0}
    assert sum(len(group["params"]) for group in groups) == len(trained)
    optimizer = torch.optim.AdamW(groups, lr=0.02)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(probe.train()(clips), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert all(torch.equal(tensor, pretrained.state_dict()[name]) for name, tensor in frozen.items())

    expected = probe.eval()(clips)
    classifier = probe.exported()
    torch.testing.assert_close(classifier(clips), expected, rtol=1e-3, atol=1e-3)
    assert isinstance(classifier.norm, nn.LayerNorm) and isinstance(classifier.fc_norm, nn.Identity)
    assert all(parameter.requires_grad for parameter in classifier.parameters())
    save(classifier, tmp_path)
    torch.testing.assert_close(load_classifier(tmp_path)(clips), classifier(clips))


def test_a_frozen_encoder_is_never_dropped_from_nor_trained(build_tiny):
    clips = many_clips(4)
    probe = LinearProbe(build_tiny(drop_path_rate=0.9, drop_rate=0.9), 2).train()
    assert probe.training and probe.head.training and not any(m.training for m in probe.encoder.modules())
    torch.testing.assert_close(probe(clips), probe(clips))
    assert probe(clips).grad_fn is not None


def test_a_fine_tuned_classifier_is_probed_behind_its_own_norm(build_tiny):
    clips, classifier = many_clips(4), build_tiny(num_classes=7)
    pooled = classifier.forward_head(classifier.forward_features(clips), pre_logits=True)
    probe = LinearProbe(classifier, 2).eval()
    torch.testing.assert_close(probe(clips), probe.head(pooled))
    torch.testing.assert_close(probe.exported()(clips), probe(clips), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_probed_is_refused(build_tiny):
    with pytest.raises(ValueError, match=r"^num_outputs: 0"):
        LinearProbe(build_tiny(), 0)
    with pytest.raises(ValueError, match="joint attention has none"):
        LinearProbe(build_tiny("vit_joint_tiny_patch8_64"), 2, "region")
    with pytest.raises(ValueError, match=r"^batch_size: .*take 2 or more"):
        LinearProbe(build_tiny(), 2)(many_clips(1))


class MaxPool(Pooling):
    """A pooling that the package does not have: one class and one entry of `POOLINGS`."""

    reads = frozenset(("local",))
    learned = True

    def __init__(self, dim, num_heads):
        super().__init__(dim, num_heads)
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, features):
        return features.tokens.amax(dim=1) * self.scale


@BOTH
def test_a_pooling_is_added_by_its_class_alone(build_tiny, clip, tmp_path, monkeypatch, architecture):
    monkeypatch.setitem(POOLINGS, "max", MaxPool)
    model = build_tiny(architecture)
    expected = model.forward_features(clip).tokens.amax(dim=1)
    model.reset_classifier(3, "max")
    assert isinstance(model.norm, nn.LayerNorm) and torch.equal(
        model.pool(model.forward_features(clip)), expected
    )
    save(model.eval(), tmp_path)
    assert torch.equal(load_classifier(tmp_path)(clip), model(clip))
    probe = LinearProbe(load_encoder(tmp_path), 2, "max")
    trained = {name for name, parameter in probe.named_parameters() if parameter.requires_grad}
    assert trained == {"encoder.max_pool.scale", "head.linear.weight", "head.linear.bias"}
    with pytest.raises(ValueError, match=r"^pool: 'max' has weights"):
        MaskedAutoencoder(build_tiny(architecture, pool="max"))
