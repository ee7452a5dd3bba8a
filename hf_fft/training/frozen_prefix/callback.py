"""The frozen prefix in a run: decided once, filled before it is needed, moved as layers open, gone at the end.

The decision is made when a new run begins and is saved with every checkpoint; a resumed run follows it. Where the
states do not fit, or the model cannot be cut, the run goes on as usual and the speed plan says why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from hf_fft.errors import TrainingError
from hf_fft.training.eval_mode import in_eval_mode
from hf_fft.training.frozen_prefix.filling import MOST_VECTORS_BYTES, fill, number_rows
from hf_fft.training.frozen_prefix.layers import NotUnderstoodError, anatomy_of
from hf_fft.training.frozen_prefix.prefix import FrozenPrefix, precision_now
from hf_fft.training.frozen_prefix.proof import Proof, prove
from hf_fft.training.frozen_prefix.small_steps import SmallSteps
from hf_fft.training.frozen_prefix.stages import Pass, Stage, frozen_layers, passes, stages_of
from hf_fft.training.frozen_prefix.store import BYTES_A_ROW, Room, cache_root
from hf_fft.training.memory import give_free_memory_back
from hf_fft.training.speed.batches import token_lengths
from hf_fft.training.speed.plan import with_choice

logger = logging.getLogger(__name__)

# Which rows are probed, as shares of the rows in order of length: short ones prove as much, for less.
PROBED = (0.0, 0.25, 0.5, 0.75)
GIB = 2**30


class PrefixDecision(TrainerCallback, ExportableState):
    """Whether a run uses the frozen prefix, and if not, why; None before it was decided. Saved with checkpoints."""

    def __init__(self, used: bool | None = None, one_vector: bool = False, why_not: str | None = None) -> None:
        self.used = used
        self.one_vector = one_vector
        self.why_not = why_not

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {"args": vars(self).copy(), "attributes": {}}


class FrozenPrefixCallback(TrainerCallback):
    """Decide, fill, move and remove the frozen prefix of one trainer."""

    def __init__(self, trainer: Any, max_cache_gib: float, *, why_not: str | None = None) -> None:
        """Take a trainer.

        Args:
            trainer: With the callbacks of its strategy; this one belongs behind them.
            max_cache_gib: What all prefixes may take on disk together.
            why_not: Why it must not be used, if it is known already; a clause.
        """
        self.trainer = trainer
        self.max_cache_gib = max_cache_gib
        self.why_not = why_not
        self.prefix: FrozenPrefix | None = None
        self.stages: list[Stage] = []
        self._moves: list[tuple[int, int]] = []
        self._passes: list[Pass] = []
        self._small = SmallSteps(trainer)
        self._proof = Proof(one_vector=False, bytes_a_token=0)
        self._loader: Any = None
        self._steps_per_epoch = 1

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Decide, or follow what was decided before a stop; fill what the first steps need."""
        if self.trainer.strategy.probe is not None:
            if state.global_step > 0:
                self._decision(state)
            return  # what comes before this trainer's own training has a trainer and a callback of its own
        self.leave()  # what a training that failed left behind
        model, self._loader = parts["model"], parts["train_dataloader"]
        self.stages = stages_of(model, self.trainer.callback_handler.callbacks, state)
        decision = self._decision(state)
        if decision.used is False:
            return
        why = None
        try:
            self._proof, self.prefix = self._proved(model)
        except NotUnderstoodError as error:
            why = str(error)
        if args.world_size > 1:  # all processes or none: they meet where rows are computed for all
            why = next(filter(None, gather_object([why])), None)
        if why is not None or self.prefix is None:
            self.prefix = None
            self._go_without(decision, str(why))
            return
        decision.used, decision.one_vector = True, self._proof.one_vector
        self._steps_per_epoch = max(1, len(self._loader) // args.gradient_accumulation_steps)
        prefix, proof = self.prefix, self._proof
        room = prefix.room.limit_bytes
        self._passes = passes(self._moves, state.max_steps, room, lambda one: self._bytes_at(one, prefix, proof))
        prefix.install()
        self._move(state)
        self._say()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Move where layers have opened."""
        if self.prefix is not None and any(step == state.global_step for step, _ in self._moves):
            self._move(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Put on disk what a run that goes on from the coming checkpoint looks up."""
        if control.should_save and self.prefix is not None:
            self.prefix.flush()

    on_epoch_end = on_step_end

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Put on disk what waits: the states of evaluation rows, or what a checkpoint was not known to come for."""
        if self.prefix is not None:
            self.prefix.flush()

    on_save = on_evaluate

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Give the model back as it was: it is scored and saved without what was kept."""
        self.leave()

    def attach_to(self, trainer: Any) -> FrozenPrefixCallback:
        """Let a trainer that trains before this one use the prefix too, on the same terms."""
        return attach_frozen_prefix(trainer, self.max_cache_gib, why_not=self.why_not)

    def leave(self) -> None:
        """Give model, trainer and threads back as they were; nothing happens where that was done already."""
        self._small.end()
        if self.prefix is not None:
            self.prefix.remove()
            self.prefix = None

    def _decision(self, state: TrainerState) -> PrefixDecision:
        decision = _decision_of(self.trainer)
        assert decision is not None
        states: Any = state.stateful_callbacks
        saved = states.get(PrefixDecision.__name__)
        if state.global_step == 0:
            decision.used = None
        else:
            # A checkpoint from before there were decisions was trained without.
            known = saved["args"] if isinstance(saved, Mapping) else {"used": False}
            vars(decision).update(vars(PrefixDecision(**known)))
            states[PrefixDecision.__name__] = decision.state()
        return decision

    def _proved(self, model: nn.Module) -> tuple[Proof, FrozenPrefix]:
        """Return what the probe showed, and a prefix that fits on disk.

        Raises:
            NotUnderstoodError: with the reason why there is none.
        """
        args = self.trainer.args
        if self.why_not is not None:
            raise NotUnderstoodError(self.why_not)
        for name in ("torch_compile", "fsdp", "deepspeed", "neftune_noise_alpha"):
            if getattr(args, name, None):
                raise NotUnderstoodError(f"training.{name} is set")
        if not isinstance(getattr(self._loader, "dataset", None), Sized):
            raise NotUnderstoodError("the training rows come as a stream")
        batch = _probe_batch(self.trainer, self._loader)
        with self.trainer.accelerator.autocast(), torch.random.fork_rng(devices=[]):
            anatomy = _watched(model, batch)
            proof = prove(model, anatomy, batch, self.stages)
        # Once and for all: layer groups take milliseconds, and steps may take few.
        self._moves = [(stage.step, frozen_layers(model, anatomy.layers, stage.learning)) for stage in self.stages]
        if not any(boundary for _, boundary in self._moves):
            raise NotUnderstoodError("no layer stays frozen")
        room = Room(cache_root(), int(self.max_cache_gib * GIB))
        prefix = FrozenPrefix(model, anatomy, room, one_vector=proof.one_vector)
        needed = max(self._bytes_at(boundary, prefix, proof) for _, boundary in self._moves)
        if needed > room.limit_bytes:
            raise NotUnderstoodError(
                f"what they give takes {needed / GIB:.2g} GiB and speed.max_cache_gib is {self.max_cache_gib:g}"
            )
        return proof, prefix

    def _bytes_at(self, boundary: int, prefix: FrozenPrefix, proof: Proof) -> int:
        """Return what the states of all rows take at a boundary."""
        if not boundary:
            return 0
        taken = 0
        for rows in (self.trainer.train_dataset, *_evaluated(self.trainer)):
            lengths = token_lengths(rows)
            if lengths is not None:
                vectors = len(lengths) if prefix.one_vector_at(boundary) else int(lengths.sum())
                taken += vectors * proof.bytes_a_token + len(lengths) * BYTES_A_ROW
        return taken

    def _move(self, state: TrainerState) -> None:
        """Go to the boundary of the present step, and fill where that pays."""
        prefix = self.prefix
        assert prefix is not None
        boundary = [each for step, each in self._moves if step <= state.global_step][-1]
        if not boundary:
            prefix.stack.remove()
        if boundary == prefix.boundary:
            return
        served = next((one for one in self._passes if boundary in one.boundaries), None)
        ahead = served.boundaries[served.boundaries.index(boundary) + 1 :] if served else ()
        new = boundary not in prefix.stores
        with self.trainer.accelerator.autocast():
            prefix.move_to(boundary, ahead, precision=precision_now(self.trainer.args.device.type))
        if served and new and served.ends - served.begins >= self._steps_per_epoch:
            self._fill(prefix)

    def _fill(self, prefix: FrozenPrefix) -> None:
        """Compute the training rows now, in batches of like length, before steps would do so one by one."""
        before = prefix.rows_computed
        filled = fill(self.trainer, prefix, self._loader)
        for rows in _evaluated(self.trainer):
            fill(self.trainer, prefix, self.trainer.get_eval_dataloader(rows))
        give_free_memory_back()  # a head's steps need little of what the backbone's took
        logger.info(
            "Frozen layers: %d rows of training and validation computed, the others were kept from before.",
            prefix.rows_computed - before,
        )
        counted = str(getattr(self.trainer.args, "include_num_input_tokens_seen", "no")).lower() not in ("no", "false")
        small = len(filled.addresses) * self._proof.bytes_a_token <= MOST_VECTORS_BYTES
        alone = self.trainer.args.world_size <= 1 and len(self._moves) == 1  # no later stage reads the rows' tokens
        if filled.labels is None or counted or not small or not alone:
            return
        if prefix.vectors_of(filled.addresses, self.trainer.args.device):
            number_rows(self._loader, filled.labels)
            self._small.begin(prefix.model)

    def _go_without(self, decision: PrefixDecision, why: str) -> None:
        if decision.used:
            raise TrainingError(
                f"this run used the frozen prefix before it was stopped, and now cannot: {why}. Make it possible "
                "again, or train anew."
            )
        decision.used, decision.why_not = False, why
        self._choose(f"frozen layers run as usual: {why}", used=False)

    def _say(self) -> None:
        prefix = self.prefix
        assert prefix is not None
        if not prefix.boundary:  # resumed when every layer was open
            return
        kind = "one vector a row" if prefix.one_vector_at(prefix.boundary) else "all its tokens"
        moves = ", and again where layers open" if len(self.stages) > 1 else ""
        self._choose(
            f"what the {prefix.boundary} frozen layers give is computed once a row and kept ({kind}){moves}", used=True
        )

    def _choose(self, reason: str, *, used: bool) -> None:
        self.trainer.speed = with_choice(self.trainer.speed, reason, frozen_prefix=used)
        logger.info("Speed: %s.", reason)


def attach_frozen_prefix(trainer: Any, max_cache_gib: float, *, why_not: str | None = None) -> FrozenPrefixCallback:
    """Let a trainer use the frozen prefix where that can be proved; its strategy's callbacks must be there already."""
    callback = FrozenPrefixCallback(trainer, max_cache_gib, why_not=why_not)
    trainer.add_callback(PrefixDecision())
    trainer.add_callback(callback)
    return callback


def prefix_callback_of(trainer: Any) -> FrozenPrefixCallback | None:
    """Return the callback that a trainer was given, if it was."""
    return next((one for one in trainer.callback_handler.callbacks if isinstance(one, FrozenPrefixCallback)), None)


@contextmanager
def leaving_prefix(trainer: Any) -> Iterator[None]:
    """See to it that a training that fails in this block leaves nothing replaced, nor torch with a single thread."""
    try:
        yield
    finally:
        if (callback := prefix_callback_of(trainer)) is not None:
            callback.leave()


def prefix_notes(trainer: Any) -> tuple[str, ...]:
    """Return why a finished run went without the frozen prefix; nothing where it used it, or was not to."""
    decision = _decision_of(trainer)
    return (f"Frozen layers ran as usual: {decision.why_not}.",) if decision and decision.why_not else ()


def follow_decision(trainer: Any, first: Any) -> None:
    """Let a trainer, its result and its checkpoints know what was decided for the part that was trained before it."""
    own, decided = _decision_of(trainer), _decision_of(first)
    if own is not None and decided is not None:
        vars(own).update(vars(decided))


def _decision_of(trainer: Any) -> PrefixDecision | None:
    return next((one for one in trainer.callback_handler.callbacks if isinstance(one, PrefixDecision)), None)


def _evaluated(trainer: Any) -> list[Any]:
    """Return the splits that are evaluated while training goes on."""
    if trainer.args.eval_strategy == "no" or trainer.eval_dataset is None:
        return []
    return list(trainer.eval_dataset.values()) if isinstance(trainer.eval_dataset, dict) else [trainer.eval_dataset]


def _probe_batch(trainer: Any, loader: Any) -> dict[str, Any]:
    """Return a few training rows of different lengths as the model reads them."""
    dataset = loader.dataset
    lengths = token_lengths(dataset)
    order = range(len(dataset)) if lengths is None else lengths.argsort(kind="stable").tolist()
    places = sorted({round(share * (len(order) - 1)) for share in PROBED})
    batch = dict(loader.collate_fn([dataset[order[place]] for place in places]))
    batch.pop("labels", None)
    prepared: dict[str, Any] = trainer._prepare_inputs(batch)
    return prepared


def _watched(model: nn.Module, batch: Mapping[str, Any]) -> Any:
    with in_eval_mode(model):
        return anatomy_of(model, batch)
