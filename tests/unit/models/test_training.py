"""Training: resumable bit for bit, honest about bad settings, ending in a program."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restore_manifests.errors import ModelError, UsageError
from restore_models import training
from restore_models.architecture import PRESETS, Architecture
from restore_models.checkpoint import Checkpoint, load_checkpoint, load_network, mean_of, save_checkpoint
from restore_models.data import Batch
from restore_models.export import export_program
from restore_models.network import RestorationNet
from restore_models.program import load_program, made_for_grey, made_for_scale
from restore_models.restorer import refuse_colour
from restore_models.trainer import Cases, Trainer
from restore_models.training import learning_rate, train_restoration
from restore_models.training_config import DegradationKind, TrainingConfig, load_config
from restore_models.training_processes import Processes
from restore_models.vectors import load_vectors
from restore_models.views import CHANNEL_ORDERS
from restore_models.zoo import open_model

CONFIG = TrainingConfig(
    preset="tiny",
    steps=6,
    batch=2,
    patch=32,
    warmup=2,
    checkpoint_every=3,
    evaluate_every=100,
    page_share=0.2,
    bf16=False,
)


@pytest.mark.parametrize(
    "settings", [{}, {"optimiser": "muon", "detail_choices": 2}, {"quantised": True}], ids=str
)
def test_resumed_run_equals_unbroken_run(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    config = CONFIG.model_copy(update=settings)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_restoration(config, data=photographs, out=whole, resume=False)
    save = training.save_checkpoint

    def save_then_stop(path: Path, checkpoint: Checkpoint) -> None:
        save(path, checkpoint)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "save_checkpoint", save_then_stop)
        train_restoration(config, data=photographs, out=broken, resume=False)
    assert load_checkpoint(broken / "latest.safetensors").step == 3
    train_restoration(config, data=photographs, out=broken, resume=True)
    one, other = (load_checkpoint(run / "latest.safetensors") for run in (whole, broken))
    assert one.step == other.step == config.steps
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name


def test_new_run_starts_from_the_average_of_another(photographs: Path, tmp_path: Path) -> None:
    first = train_restoration(CONFIG, data=photographs, out=tmp_path / "first", resume=False)
    config = CONFIG.model_copy(update={"steps": 1, "learning_rate": 1e-12})
    average = tmp_path / "first" / "average.safetensors"
    train_restoration(config, data=photographs, out=tmp_path / "second", resume=False, start=[average])
    one, other = (load_checkpoint(tmp_path / run / "latest.safetensors") for run in ("first", "second"))
    assert first.steps == 6
    assert other.step == 1
    for name, tensor in one.group("average").items():
        assert torch.allclose(tensor, other.group("average")[name], atol=1e-3), name
    with pytest.raises(ModelError, match="another architecture"):
        train_restoration(
            CONFIG.model_copy(update={"preset": "small"}),
            data=photographs,
            out=tmp_path / "third",
            resume=False,
            start=[average],
        )


def test_new_run_starts_from_the_mean_of_several(photographs: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        config = CONFIG.model_copy(update={"seed": seed, "steps": 2})
        train_restoration(config, data=photographs, out=tmp_path / str(seed), resume=False)
    runs = [tmp_path / name / "average.safetensors" for name in ("1", "2")]
    config = CONFIG.model_copy(update={"steps": 1, "learning_rate": 1e-12})
    train_restoration(config, data=photographs, out=tmp_path / "mean", resume=False, start=runs)
    one, other, mean = (
        load_checkpoint(tmp_path / name / "average.safetensors") for name in ("1", "2", "mean")
    )
    assert any(not torch.allclose(t, other.tensors[name], atol=1e-2) for name, t in one.tensors.items())
    for name, tensor in mean.tensors.items():
        assert torch.allclose(
            tensor.float(), (one.tensors[name].float() + other.tensors[name].float()) / 2, atol=1e-3
        )
    wider = replace(one, architecture=PRESETS["small"])
    with pytest.raises(ModelError, match="one architecture"):
        mean_of([one, wider])


def test_network_with_more_blocks_begins_as_the_same_function(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_restoration(CONFIG, data=photographs, out=tmp_path / "first", resume=False)
    average = tmp_path / "first" / "average.safetensors"
    tiny = PRESETS["tiny"]
    monkeypatch.setitem(PRESETS, "deep", replace(tiny, blocks=(3, 4)))
    config = CONFIG.model_copy(update={"steps": 1, "learning_rate": 1e-12, "preset": "deep"})
    train_restoration(config, data=photographs, out=tmp_path / "deep", resume=False, start=[average])
    former, deep = (load_network(tmp_path / run / "average.safetensors") for run in ("first", "deep"))
    assert deep.shape.blocks == (3, 4)
    image = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32))
    with torch.no_grad():
        before, after = former(image), deep(image)
    for name, values in before.items():
        assert torch.allclose(values, after[name], atol=1e-4), name
    part, lacking = load_checkpoint(average), tmp_path / "lacking.safetensors"
    fewer = {name: tensor for name, tensor in part.tensors.items() if not name.endswith("stem.bias")}
    save_checkpoint(lacking, replace(part, tensors=fewer))
    with pytest.raises(ModelError, match="another architecture"):
        train_restoration(config, data=photographs, out=tmp_path / "none", resume=False, start=[lacking])


@pytest.mark.parametrize("term", ["ssim_weight", "frequency_weight"])
def test_terms_of_the_loss_reach_the_weights(photographs: Path, tmp_path: Path, term: str) -> None:
    plain, with_term = (
        train_restoration(
            CONFIG.model_copy(update={"steps": 2, term: weight}),
            data=photographs,
            out=tmp_path / f"{weight}",
            resume=False,
        )
        for weight in (0.0, 0.5)
    )
    one, other = (load_checkpoint(run.checkpoint).group("weights") for run in (plain, with_term))
    assert any(not torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_loss_falls(photographs: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 60, "checkpoint_every": 20, "learning_rate": 3e-3})
    result = train_restoration(config, data=photographs, out=tmp_path / "run", resume=False)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [20, 40, 60]
    assert log[-1]["loss"] < log[0]["loss"]
    assert result.metrics["psnr_gaussian50"] > 10


def test_export_makes_a_program_with_answers(photographs: Path, tmp_path: Path) -> None:
    result = train_restoration(CONFIG, data=photographs, out=tmp_path / "run", resume=False)
    target = tmp_path / "model.safetensors"
    program = export_program(result.checkpoint, target, data=photographs, licence="CC0-1.0")
    assert program.notes["licence"] == "CC0-1.0"
    assert len(program.notes["training_images"]) == 40
    assert {row["use"] for row in program.notes["training_images"]} == {"training", "validation"}
    for low, high in program.notes["estimate_error"].values():
        assert low <= high
    assert load_vectors(target.with_suffix(".vectors.json"), program)

    viewed = export_program(result.checkpoint, target, data=photographs, licence="CC0-1.0", views=8)
    assert (program.views, viewed.views) == (1, 8)
    assert load_program(target).notes["training_config"]["views"] == 8
    assert load_vectors(target.with_suffix(".vectors.json"), viewed)
    assert viewed.channel_orders == ()


def test_a_program_has_its_channels_in_other_orders_where_the_configuration_says_so(
    photographs: Path, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"steps": 2, "views": 8, "channels_reordered": True})
    result = train_restoration(config, data=photographs, out=tmp_path / "run", resume=False)
    target = tmp_path / "model.safetensors"
    export_program(result.checkpoint, target, data=photographs, licence="CC0-1.0")
    assert load_program(target).channel_orders == CHANNEL_ORDERS
    in_one = export_program(result.checkpoint, target, data=photographs, licence="CC0-1.0", views=1)
    assert in_one.channel_orders == ()
    with pytest.raises(UsageError, match="One view"):
        train_restoration(
            config.model_copy(update={"views": 1}), data=photographs, out=tmp_path / "other", resume=False
        )


def test_a_network_for_another_scale_takes_over_what_fits() -> None:
    """All but the first and the last convolutions, whose channels go by the scale."""
    whole, folded = (Trainer(CONFIG, replace(PRESETS["tiny"], fold=fold), Processes()) for fold in (2, 4))
    for parameter in whole.average.values():
        parameter.add_(1.0)
    before = {name: parameter.clone() for name, parameter in folded.average.items()}
    folded.start(whole.checkpoint({}))
    fresh = {name for name in before if torch.equal(folded.parameters[name], before[name])}
    assert fresh == {
        *("convs.stem.weight", "convs.residual_head.weight", "convs.residual_head.bias"),
        *("convs.interval_head.weight", "convs.interval_head.bias"),
    }
    for name in before.keys() - fresh:
        assert torch.equal(folded.parameters[name], whole.average[name])
        assert torch.equal(folded.average[name], whole.average[name])


def test_a_network_for_enlarged_pictures_says_so(photographs: Path, tmp_path: Path) -> None:
    shares: dict[DegradationKind, float] = {"enlarged2": 0.5, "worn_enlarged2": 0.5}
    config = CONFIG.model_copy(update={"scale": 2, "degradations": shares, "cropped_share": 0.0, "steps": 2})
    result = train_restoration(config, data=photographs, out=tmp_path / "run", resume=False)
    assert set(result.metrics) == {"psnr_enlarged2", "psnr_worn_enlarged2"}
    target = tmp_path / "model.safetensors"
    export_program(result.checkpoint, target, data=photographs, licence="CC0-1.0")
    assert made_for_scale(load_program(target)) == 2
    assert made_for_scale(open_model(None, tmp_path)[1]) is None
    with pytest.raises(UsageError, match="not cropped afterwards"):
        train_restoration(
            config.model_copy(update={"cropped_share": 0.5}),
            data=photographs,
            out=tmp_path / "other",
            resume=False,
        )


def test_a_network_for_grey_pictures_says_so(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is watched on grey crops, and refuses colour."""
    watched: list[Cases] = []
    evaluate = Trainer.evaluate

    def watch(trainer: Trainer, cases: Cases) -> dict[str, float]:
        watched.append(cases)
        return evaluate(trainer, cases)

    monkeypatch.setattr(Trainer, "evaluate", watch)
    config = CONFIG.model_copy(update={"grey": True, "steps": 2})
    result = train_restoration(config, data=photographs, out=tmp_path / "run", resume=False)
    pairs = [pair for cases in watched for case in cases.values() for pair in case]
    assert pairs
    assert all((image == image[:, :, :1]).all() for pair in pairs for image in pair)
    target = tmp_path / "model.safetensors"
    export_program(result.checkpoint, target, data=photographs, licence="CC0-1.0")
    program = load_program(target)
    assert made_for_grey(program)
    assert not made_for_grey(open_model(None, tmp_path)[1])
    colour = np.zeros((8, 8, 3), np.uint8)
    refuse_colour(program, colour, "mine")
    refuse_colour(program, colour[:, :, 0], "mine")
    colour[3, 4, 2] = 1
    refuse_colour(open_model(None, tmp_path)[1], colour, "the shipped one")
    with pytest.raises(UsageError, match="mine is for grey images"):
        refuse_colour(program, colour, "mine")


@pytest.mark.parametrize(("outlier", "stepped"), [(4.0, False), (0.0, True)])
def test_a_step_along_an_outlying_gradient_is_left_out(outlier: float, stepped: bool) -> None:
    trainer = Trainer(
        CONFIG.model_copy(update={"outlier": outlier, "steps": 1000}), PRESETS["tiny"], Processes()
    )
    trainer.begin()
    trainer.step, trainer.usual_norm = 100, 1e-6
    before = {name: p.detach().clone() for name, p in trainer.parameters.items()}
    rng = np.random.default_rng(0)
    clean = rng.random((2, 3, 32, 32), dtype=np.float32)
    trainer.advance(Batch(clean, clean[::-1].copy(), np.zeros((2, 4), np.float32)))
    changed = any(not torch.equal(before[name], p) for name, p in trainer.parameters.items())
    assert changed == stepped
    if outlier:  # counted at the limit, so that gradients which have really grown become usual
        assert trainer.usual_norm == pytest.approx(1e-6 * (1 + 0.02 * (outlier - 1)))


def test_a_run_from_before_lengths_were_kept_goes_on() -> None:
    trainer = Trainer(CONFIG.model_copy(update={"steps": 1000, "outlier": 4.0}), PRESETS["tiny"], Processes())
    trainer.begin()
    trainer.step = 500
    rng = np.random.default_rng(0)
    for _ in range(3):
        before = {name: p.detach().clone() for name, p in trainer.parameters.items()}
        clean = rng.random((2, 3, 32, 32), dtype=np.float32)
        trainer.advance(Batch(clean, clean[::-1].copy(), np.zeros((2, 4), np.float32)))
        assert any(not torch.equal(before[name], p) for name, p in trainer.parameters.items())


@pytest.mark.parametrize(("times", "bad"), [(20, False), (40, False), (20, True)])
def test_a_run_that_diverges_is_stopped(times: float, bad: bool) -> None:
    trainer = Trainer(CONFIG.model_copy(update={"steps": 1000}), PRESETS["tiny"], Processes())
    trainer.begin()
    trainer.step, trainer.usual_norm, trainer.least_norm = 100, times, 1.0
    clean = np.random.default_rng(0).random((2, 3, 32, 32), dtype=np.float32)
    batch = Batch(np.full_like(clean, np.nan) if bad else clean, clean, np.zeros((2, 4), np.float32))
    if times < 30 and not bad:
        trainer.advance(batch)
        return
    with pytest.raises(ModelError, match="The training has diverged at step 1") as stopped:
        for _ in range(50):  # that gradients are no numbers may happen once
            trainer.advance(batch)
    assert trainer.step > 105 or not bad
    assert stopped.value.hint is not None
    assert "learning_rate below 0.001," in stopped.value.hint


def test_a_resumed_run_remembers_what_gradients_were() -> None:
    trainer, other = (Trainer(CONFIG, PRESETS["tiny"], Processes()) for _ in range(2))
    trainer.usual_norm, trainer.least_norm = 20.0, 1.0
    other.resume(trainer.checkpoint({}))
    assert (other.usual_norm, other.least_norm) == (20.0, 1.0)


def test_kernels_are_tried_out_in_steps_only(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting is the process's, in which exact runs may follow."""
    seen: list[bool] = []
    real = Trainer.advance
    monkeypatch.setattr(
        Trainer, "advance", lambda *given: (seen.append(torch.backends.cudnn.benchmark), real(*given))[1]
    )
    config = CONFIG.model_copy(update={"steps": 2})
    train_restoration(config, data=photographs, out=tmp_path / "run", resume=False)
    assert seen == [True, True]
    assert not torch.backends.cudnn.benchmark


def test_running_folder_is_not_overwritten(photographs: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 1})
    train_restoration(config, data=photographs, out=tmp_path / "run", resume=False)
    with pytest.raises(UsageError, match="already holds"):
        train_restoration(config, data=photographs, out=tmp_path / "run", resume=False)


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No training image"):
        train_restoration(CONFIG, data=tmp_path, out=tmp_path / "run", resume=False)


def test_resume_with_another_architecture(photographs: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"steps": 1})
    train_restoration(config, data=photographs, out=tmp_path / "run", resume=False)
    with pytest.raises(ModelError, match="another architecture"):
        train_restoration(
            CONFIG.model_copy(update={"preset": "small"}), data=photographs, out=tmp_path / "run", resume=True
        )


def test_damaged_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "latest.safetensors"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="missing or damaged"):
        load_network(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = 0", "steps"),
        ("unknown = 1", "unknown"),
        ("steps = ", "cannot be read"),
        ("loss = 'x'", "loss"),
    ],
)
def test_wrong_configuration_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        load_config(path)


def test_rate_falls_to_zero_and_can_be_lengthened() -> None:
    config = TrainingConfig(steps=1000, schedule="constant_then_cosine", decay_share=0.25, warmup=10)
    assert learning_rate(config, 0) == pytest.approx(config.learning_rate / 10)
    assert learning_rate(config, 500) == learning_rate(config, 700) == config.learning_rate
    assert 0 < learning_rate(config, 999) < 1e-6
    cosine = TrainingConfig(steps=1000, warmup=10)
    assert learning_rate(cosine, 505) == pytest.approx(cosine.learning_rate / 2, rel=0.01)


def test_presets_are_of_the_promised_size() -> None:
    def parameters(shape: Architecture) -> int:
        return sum(p.numel() for p in RestorationNet(shape).parameters())

    assert 5_000_000 < parameters(PRESETS["small"]) < 6_000_000
    assert 30_000_000 < parameters(PRESETS["base"]) < 60_000_000


def test_architecture_refuses_what_does_not_fit() -> None:
    with pytest.raises(ModelError, match="folds blocks of 3 pixels"):
        Architecture(fold=3)
    with pytest.raises(ModelError, match="no skips"):
        Architecture(skip="both")
    with pytest.raises(ModelError, match="block counts"):
        Architecture(widths=(16, 32), blocks=(1,))
    with pytest.raises(ModelError, match="heads"):
        Architecture(widths=(16, 40), blocks=(1, 1))
    with pytest.raises(ModelError, match="unknown fields"):
        Architecture.from_dict({"depth": 3})
