"""Through Trainer's own loop, with the frozen prefix and without: the same losses, names and weights to rounding."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from prefix_case import Losses, assert_same_weights, build, model_of, rows, trainer_of, weights_of
from safetensors.torch import load_file
from transformers import TrainerCallback, set_seed

from hf_fft.errors import TrainingError
from hf_fft.recipe import GradualUnfreezingRecipe, ProbeThenFullRecipe
from hf_fft.strategies import FeatureBased, GradualUnfreezing, ProbeThenFull
from hf_fft.training.frozen_prefix import callback, filling, store
from hf_fft.training.frozen_prefix.callback import leaving_prefix, prefix_notes
from hf_fft.training.frozen_prefix.layers import LayerStack
from hf_fft.training.frozen_prefix.prefix import FrozenPrefix
from hf_fft.training.frozen_prefix.store import StateStore

SCRIPT = Path(__file__).with_name("prefix_on_two_processes.py")
BEST = {
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "load_best_model_at_end": True,
    "metric_for_best_model": "loss",
    "num_train_epochs": 3,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, one_thread):
    monkeypatch.setenv("HF_FFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "frozen_prefix"


class Watch(TrainerCallback):
    """Note how many rows were computed by real frozen layers, and stop the run where that is asked for."""

    def __init__(self, callback=None, *, stops_after: int | None = None) -> None:
        self.callback = callback
        self.stops_after = stops_after
        self.rows_computed = 0
        self.boundaries: list[int] = []

    def on_step_end(self, args, state, control, **parts) -> None:
        if self.callback is not None and self.callback.prefix is not None:
            self.boundaries.append(self.callback.prefix.boundary)
            self.rows_computed = self.callback.prefix.rows_computed
        if state.global_step == self.stops_after:
            control.should_training_stop = True

    on_evaluate = on_step_end


def trained(
    name, folder, *, strategy, prefix, head="SequenceClassification", seed=1, stops_after=None, resume=None, **options
):
    set_seed(seed)
    data = rows(labels="token") if head == "TokenClassification" else None
    trainer, callback = trainer_of(model_of(name, head), folder, strategy=strategy, prefix=prefix, data=data, **options)
    watch = Watch(callback, stops_after=stops_after)
    trainer.add_callback(watch)
    trainer.train(resume_from_checkpoint=resume)
    return trainer, watch


def losses_of(trainer) -> Losses:
    return next(one for one in trainer.callback_handler.callbacks if isinstance(one, Losses))


def assert_alike(with_prefix, without) -> None:
    assert losses_of(with_prefix).train == pytest.approx(losses_of(without).train, abs=1e-4)
    assert losses_of(with_prefix).evaluation == pytest.approx(losses_of(without).evaluation, abs=1e-4)
    assert_same_weights(weights_of(with_prefix.model), weights_of(without.model))


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
@pytest.mark.parametrize("name", ["Bert", "DistilBert", "ModernBert"])
def test_a_head_alone_ends_with_the_weights_of_the_run_without(name, head, tmp_path):
    options = {"strategy": FeatureBased(), "head": head, **BEST}
    ours, watch = trained(name, tmp_path / "with", prefix=True, **options)
    plain, _ = trained(name, tmp_path / "without", prefix=False, **options)
    assert_alike(ours, plain)
    assert watch.rows_computed == 24 + 10
    assert ours.speed.frozen_prefix
    assert all("forward" not in vars(module) for module in ours.model.modules())


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("Bert", {"schedule": "epochs"}),
        ("Bert", {"schedule": "spread"}),
        ("Bert", {"schedule": "steps", "every": 7}),
        ("MPNet", {"schedule": "epochs"}),
        ("DebertaV2", {"schedule": "epochs"}),
    ],
)
def test_gradual_unfreezing_through_all_stages_ends_with_the_weights_of_the_run_without(name, schedule, tmp_path):
    options = {"strategy": GradualUnfreezing(GradualUnfreezingRecipe(**schedule)), **BEST, "num_train_epochs": 5}
    options["learning_rate"] = 1e-3
    ours, watch = trained(name, tmp_path / "with", prefix=True, **options)
    plain, _ = trained(name, tmp_path / "without", prefix=False, **options)
    assert_alike(ours, plain)
    assert ours.speed.frozen_prefix
    assert sorted(set(watch.boundaries), reverse=True) == [3, 2, 1, 0]
    # Every boundary in one pass: each row is computed once in all.
    assert watch.rows_computed == 24 + 10


@pytest.mark.parametrize(("kibibytes", "passes"), [(20, 2), (14, 3), (100, 1)])
def test_one_pass_keeps_the_boundaries_that_fit_and_the_others_have_a_pass_of_their_own(kibibytes, passes, tmp_path):
    # One vector a row of the last layer takes 2 KiB, all tokens of a boundary below it 12.
    options = {"strategy": GradualUnfreezing(GradualUnfreezingRecipe(schedule="epochs")), "eval_strategy": "epoch"}
    trainer, callback = trainer_of(model_of("Bert"), tmp_path, prefix=True, num_train_epochs=5, **options)
    callback.max_cache_gib = kibibytes / 2**20
    trainer.add_callback(watch := Watch(callback))
    trainer.train()
    assert trainer.speed.frozen_prefix and watch.rows_computed == passes * (24 + 10)


def test_two_seeds_and_two_rates_compute_nothing_twice(tmp_path):
    options = {"strategy": FeatureBased(), "eval_strategy": "epoch", "prefix": True}
    _, first = trained("Bert", tmp_path / "1", **options)
    set_seed(1)
    model = model_of("Bert")
    for seed, rate in ((11, 1e-2), (12, 1e-3)):
        again = model_of("Bert")
        again.load_state_dict(
            {**model.state_dict(), **{k: v for k, v in again.state_dict().items() if "classifier" in k}}
        )
        trainer, callback = trainer_of(
            again,
            tmp_path / "2",
            strategy=FeatureBased(),
            prefix=True,
            learning_rate=rate,
            seed=seed,
            eval_strategy="epoch",
        )
        watch = Watch(callback)
        trainer.add_callback(watch)
        trainer.train()
        assert (first.rows_computed, watch.rows_computed) == (34, 0)


def test_a_changed_weight_a_changed_row_and_another_precision_are_computed_anew(tmp_path):
    options = {"strategy": FeatureBased(), "eval_strategy": "no", "prefix": True}
    trained("Bert", tmp_path / "1", **options)

    def computed(change=None, data=None, **more) -> int:
        set_seed(1)
        model = model_of("Bert")
        if change is not None:
            change(model)
        trainer, callback = trainer_of(model, tmp_path / "2", strategy=FeatureBased(), prefix=True, data=data, **more)
        watch = Watch(callback)
        trainer.add_callback(watch)
        trainer.eval_dataset = rows(10, seed=5)
        trainer.train()
        return watch.rows_computed

    def flip(model) -> None:
        weight = model.bert.encoder.layer[1].output.dense.weight
        with torch.no_grad():
            weight.view(torch.int32)[0, 0] ^= 1

    def change_head(model) -> None:
        with torch.no_grad():
            model.classifier.weight.add_(1)
            model.bert.pooler.dense.weight.add_(1)

    one_id = rows().to_list()
    one_id[3]["input_ids"][1] ^= 1
    assert computed() == 0
    assert computed(change_head) == 0
    assert computed(flip) == 24
    assert computed(data=rows().from_list(one_id)) == 1
    assert computed(bf16=True) == 24


@pytest.mark.parametrize(
    ("strategy", "stopped_after"), [(FeatureBased(), 4), (FeatureBased(), 6), (GradualUnfreezing(), 9)]
)
def test_a_run_that_is_stopped_and_resumed_ends_as_the_run_without_and_with_its_checkpoints_names(
    strategy, stopped_after, tmp_path
):
    options = {
        "strategy": strategy,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 1,
        "save_steps": 1,
        "load_best_model_at_end": True,
        "num_train_epochs": 3,
    }
    plain, _ = trained("Bert", tmp_path / "without", prefix=False, **options)
    trained("Bert", tmp_path / "with", prefix=True, stops_after=stopped_after, **options)
    shutil.rmtree(tmp_path / "cache")  # on another machine, say
    checkpoint = tmp_path / "with" / f"checkpoint-{stopped_after}"
    resumed, _ = trained("Bert", tmp_path / "with", prefix=True, resume=str(checkpoint), **options)
    assert losses_of(resumed).train == pytest.approx(losses_of(plain).train[stopped_after:], abs=1e-4)
    assert_same_weights(weights_of(resumed.model), weights_of(plain.model))
    files = [sorted(path.name for path in (tmp_path / one).glob("checkpoint-18/*")) for one in ("with", "without")]
    assert files[0] == files[1]
    ours, theirs = (load_file(tmp_path / one / "checkpoint-18" / "model.safetensors") for one in ("with", "without"))
    assert_same_weights(ours, theirs)


class Killed(Exception):
    """Stands for the end of the process."""


def killed(monkeypatch, owner, name, *, after: int) -> None:
    """Let a function fail from its so many-th call on, and what was not on disk by then be lost."""
    own, calls = getattr(owner, name), []

    def dies(*given, **named):
        calls.append(name)
        if len(calls) > after:
            monkeypatch.setattr(StateStore, "flush", lambda store: None)
            raise Killed
        return own(*given, **named)

    monkeypatch.setattr(owner, name, dies)


def let_rows_depend_on_the_rows_beside_them(monkeypatch) -> None:
    """Exaggerate what padding and the shape of a product do by rounding, which tiny models seldom show."""
    own = LayerStack.states

    def states(stack, arguments, boundaries):
        taken = own(stack, arguments, boundaries)
        beside = 1e-3 * arguments["input_ids"].float().mean()
        kept = isinstance(stack._answer.__self__, FrozenPrefix)
        return {number: one + beside for number, one in taken.items()} if kept else taken

    monkeypatch.setattr(LayerStack, "states", states)


def weights_after_a_kill(tmp_path, monkeypatch, kill, *, save_steps=None, **options):
    """Return the weights of a run that goes on after a kill, and those of one that was never stopped."""
    let_rows_depend_on_the_rows_beside_them(monkeypatch)
    options |= {"prefix": True, "num_train_epochs": 4}
    if save_steps is not None:
        options |= {"save_strategy": "steps", "save_steps": save_steps}
    monkeypatch.setenv("HF_FFT_CACHE", str(tmp_path / "other"))
    whole, _ = trained("Bert", tmp_path / "whole", **options)
    monkeypatch.setenv("HF_FFT_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as while_it_lives, pytest.raises(Killed):
        kill(while_it_lives)
        trained("Bert", tmp_path / "killed", **options)
    again, watch = trained("Bert", tmp_path / "killed", resume=save_steps is not None or None, **options)
    return weights_of(again.model), weights_of(whole.model), watch


@pytest.mark.parametrize("chunks", [2, 5])
def test_a_run_that_is_killed_while_it_fills_ends_with_the_same_bits(chunks, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SEGMENT_BYTES", 2048)  # some are on disk when it happens
    monkeypatch.setitem(filling.TOKENS_AT_ONCE, "cpu", 24)
    again, whole, watch = weights_after_a_kill(
        tmp_path,
        monkeypatch,
        lambda patch: killed(patch, filling, "_filled", after=chunks),
        strategy=FeatureBased(),
        head="TokenClassification",
    )
    assert 0 < watch.rows_computed < 24
    assert all(torch.equal(again[name], whole[name]) for name in whole)


@pytest.mark.parametrize("segment_bytes", [2**11, 2**24])
@pytest.mark.parametrize("steps", [12, 13, 14])
def test_a_run_that_is_killed_between_checkpoints_ends_with_the_same_bits(steps, segment_bytes, tmp_path, monkeypatch):
    # The lowest boundary does not fit beside the others, and its five steps are too few to fill it: the first two are
    # of one epoch, the others of the next, and meet rows again.
    monkeypatch.setattr(callback, "GIB", 16 * 2**10)
    monkeypatch.setattr(store, "SEGMENT_BYTES", segment_bytes)
    again, whole, watch = weights_after_a_kill(
        tmp_path,
        monkeypatch,
        lambda patch: killed(patch, FrozenPrefix, "_gathered", after=steps),
        strategy=GradualUnfreezing(GradualUnfreezingRecipe(schedule="steps", every=5)),
        save_steps=2,
    )
    assert 1 in watch.boundaries  # it went on in the stage that is not filled, or before it
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_run_that_is_killed_in_an_earlier_stage_keeps_to_the_passes_of_the_whole_run(tmp_path, monkeypatch):
    # The last two boundaries fit together, but the whole run keeps the first two in one pass and never fills the last.
    lengths = [len(ids) for ids in rows()["input_ids"]]
    vector, tokens = (many * 16 * 4 + len(lengths) * store.BYTES_A_ROW for many in (len(lengths), sum(lengths)))
    monkeypatch.setattr(callback, "GIB", 2 * tokens + vector - 200)
    again, whole, watch = weights_after_a_kill(
        tmp_path,
        monkeypatch,
        lambda patch: killed(patch, FrozenPrefix, "_gathered", after=7),
        strategy=GradualUnfreezing(GradualUnfreezingRecipe(schedule="steps", every=5)),
        save_steps=2,
    )
    assert watch.boundaries[:1] == [2] and 1 in watch.boundaries
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_run_that_goes_on_in_its_last_epoch_steps_as_before(tmp_path):
    options = {"strategy": FeatureBased(), "save_strategy": "steps", "save_steps": 1, "num_train_epochs": 3}
    trained("Bert", tmp_path, prefix=True, stops_after=16, **options)
    trainer, callback = trainer_of(model_of("Bert"), tmp_path, prefix=True, **options)
    by_number = []

    class Looks(TrainerCallback):
        def on_step_end(self, *positional, **named) -> None:
            by_number.append(callback.prefix._vectors is not None)

    trainer.add_callback(Looks())
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-16"))
    assert by_number == [True, True]


def test_whether_it_is_used_is_not_decided_anew(tmp_path):
    options = {"strategy": FeatureBased(), "save_strategy": "steps", "save_steps": 2, "num_train_epochs": 2}
    trained("Bert", tmp_path / "without", prefix=False, **options)
    checkpoint = str(tmp_path / "without" / "checkpoint-4")
    resumed, watch = trained("Bert", tmp_path / "without", prefix=True, resume=checkpoint, **options)
    assert not resumed.speed.frozen_prefix and not watch.boundaries
    trained("Bert", tmp_path / "with", prefix=True, **options)
    state = json.loads((tmp_path / "with" / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["PrefixDecision"]["args"] == {
        "used": True,
        "one_vector": True,
        "why_not": None,
    }
    with pytest.raises(TrainingError, match=r"now cannot: training.neftune_noise_alpha is set"):
        checkpoint = str(tmp_path / "with" / "checkpoint-4")
        trained("Bert", tmp_path / "with", prefix=True, resume=checkpoint, neftune_noise_alpha=5.0, **options)


@pytest.mark.parametrize("strategy", [FeatureBased(), ProbeThenFull(ProbeThenFullRecipe(probe_epochs=1))])
def test_why_it_is_not_used_is_still_said_after_a_resume(strategy, tmp_path):
    said = []
    for checkpoint in (None, str(tmp_path / "checkpoint-4")):
        saving = {"save_strategy": "steps", "save_steps": 4}
        trainer, callback = trainer_of(model_of("Bert"), tmp_path, strategy=strategy, prefix=True, **saving)
        callback.max_cache_gib = 1e-9
        trainer.train(resume_from_checkpoint=checkpoint)
        said.append(prefix_notes(trainer))
    assert said[0] == said[1] and "speed.max_cache_gib is 1e-09" in said[0][0]


@pytest.mark.parametrize("prefix", [True, False])
def test_noise_on_embeddings_outlives_the_first_part_of_probe_then_full(prefix, tmp_path):
    strategy = ProbeThenFull(ProbeThenFullRecipe(probe_epochs=1))
    noisy, _ = trained("Bert", tmp_path / "noisy", strategy=strategy, prefix=prefix, neftune_noise_alpha=5.0)
    quiet, _ = trained("Bert", tmp_path / "quiet", strategy=strategy, prefix=prefix)
    # The backbone is in eval mode while the head learns, and so without noise.
    assert losses_of(noisy).train[0] != losses_of(quiet).train[0]
    assert not noisy.model.get_input_embeddings()._forward_hooks


def test_the_first_part_of_probe_then_full_uses_it_and_the_second_does_not(tmp_path):
    options = {"strategy": ProbeThenFull(ProbeThenFullRecipe(probe_epochs=3)), "learning_rate": 1e-3}
    ours, watch = trained("Bert", tmp_path / "with", prefix=True, **options)
    plain, _ = trained("Bert", tmp_path / "without", prefix=False, **options)
    assert_alike(ours, plain)
    assert ours.speed.frozen_prefix and not watch.boundaries
    assert list((tmp_path / "cache").rglob("*.safetensors"))


def test_what_cannot_be_cut_trains_as_usual_and_says_why(tmp_path):
    options = {"strategy": FeatureBased()}
    sizes = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "embedding_size": 8,
    }

    def run(folder, *, prefix):
        set_seed(1)
        model = build(
            "AlbertForSequenceClassification", "AlbertConfig", {**sizes, "num_hidden_layers": 2, "num_labels": 3}
        )
        trainer, _ = trainer_of(model, folder, prefix=prefix, **options)
        trainer.train()
        return trainer

    ours, plain = run(tmp_path / "with", prefix=True), run(tmp_path / "without", prefix=False)
    assert_same_weights(weights_of(ours.model), weights_of(plain.model), within=0)
    assert ours.speed.reasons == ("frozen layers run as usual: its layers share weights",)
    assert not ours.speed.frozen_prefix


@pytest.mark.processes
def test_two_processes_end_with_the_same_weights_as_without(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    finished = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for kind, used in (("head", True), ("gradual", True), ("one cannot", False)):
        ranks = [torch.load(tmp_path / f"{kind}-True-{rank}.pt") for rank in (0, 1)]
        assert torch.equal(*ranks)
        torch.testing.assert_close(ranks[0], torch.load(tmp_path / f"{kind}-False-0.pt"), atol=1e-5, rtol=0)
        chosen = [json.loads((tmp_path / f"{kind}-True-{rank}.json").read_text()) for rank in (0, 1)]
        assert chosen == [used, used]


def test_a_training_that_fails_leaves_nothing_replaced(tmp_path):
    class Fails(TrainerCallback):
        def on_step_end(self, args, state, control, **parts) -> None:
            raise TrainingError("enough")

    model = model_of("Bert")
    trainer, callback = trainer_of(model, tmp_path, strategy=FeatureBased(), prefix=True)
    trainer.add_callback(Fails())
    with pytest.raises(TrainingError, match="enough"), leaving_prefix(trainer):
        torch.set_num_threads(2)
        trainer.train()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert trainer.speed.frozen_prefix and callback.prefix is None and threads == 2
    assert not any({"forward", "train"} & set(vars(module)) for module in model.base_model.modules())
    assert "_clip_grad_norm" not in vars(trainer)
