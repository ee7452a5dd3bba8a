"""Train what a recipe says: `python -m hf_fft.run RECIPE`.

    python -m hf_fft.run imdb                                   a recipe that comes with the library
    python -m hf_fft.run mine.json --check                      everything but the training
    python -m hf_fft.run mine.json --set training.learning_rate=1e-4

Exit codes: 0 done, 1 a bug or a missing package, 2 a recipe or data to put right, 5 a run folder that is taken, 6 a
loss that is not a number, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hf_fft.command_line import add_recipe_arguments, run_door, spare_memory
from hf_fft.errors import RecipeError
from hf_fft.recipe import Recipe, load_recipe, recipe_name

if TYPE_CHECKING:
    from hf_fft.training import AnyTrainer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="hf_fft.run", description="Fine-tune one model as a recipe says.")
    add_recipe_arguments(parser)
    parser.add_argument("--check", action="store_true", help="show recipe, data, layer groups and steps; train nothing")
    options = parser.parse_args(arguments)
    return run_door(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    recipe = load_recipe(options.recipe, overrides=options.set)
    if recipe.speed.name == "auto":
        spare_memory()
    folder = Path(options.output_dir or recipe.output_dir or Path("runs") / recipe_name(options.recipe))
    if options.check:
        _check(recipe, trust_remote_code=options.trust_remote_code)
        return
    from hf_fft.pipeline import fine_tune
    from hf_fft.report import result_table

    result = fine_tune(recipe, folder, overwrite=options.overwrite, trust_remote_code=options.trust_remote_code)
    if os.environ.get("RANK", "0") == "0":
        print(result_table(result))
        print(f"\nThe run folder is {folder}; the model for plain transformers is {folder / 'model'}.")


def _check(recipe: Recipe, *, trust_remote_code: bool) -> None:
    """Print what a run would do: the filled recipe, the data, the layer groups, the choices for speed, the steps."""
    import tempfile

    from hf_fft.pipeline import fill_in, prepare, trainer_for
    from hf_fft.training import PeakMemory, preview, trains_on_gpu

    filled, notes = fill_in(recipe, trust_remote_code=trust_remote_code)
    prepared = prepare(filled, notes)
    with tempfile.TemporaryDirectory() as nowhere:
        memory, refusal = PeakMemory(on_gpu=trains_on_gpu(filled)), None
        trainer = trainer_for(prepared, Path(nowhere) / "checkpoints")
        sections = {
            "Recipe": filled.model_dump_json(by_alias=True, indent=2, exclude_none=True).splitlines(),
            "Data": prepared.report.lines(),
            "What learns": _learning(trainer),
            "Speed": list(trainer.speed.reasons),
            "Steps": _steps(trainer, len(prepared.encoded.train)),
            "Notes": list(notes),
        }
        try:
            sections["Estimate"] = preview(trainer, prepared.encoded, memory, folder=Path.cwd())
        except RecipeError as error:
            refusal = error
    print(
        "\n\n".join("\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in sections.items() if lines)
    )
    if refusal is not None:
        raise refusal


def _learning(trainer: AnyTrainer) -> list[str]:
    """Describe every layer group, top first: its parameters, and the rate at which they learn."""
    from hf_fft.strategies import layer_groups

    assert trainer.model is not None
    rates = {
        name: group.learning_rate
        for group in trainer.strategy.parameter_groups(trainer.model, trainer.args.learning_rate)
        for name in group.parameters
    }
    sizes = {name: parameter.numel() for name, parameter in trainer.model.named_parameters()}
    lines = []
    for group in reversed(layer_groups(trainer.model)):
        learning = [name for name in group.parameters if name in rates]
        rate = f"at {rates[learning[0]]:.3g}" if learning else ""
        total, trained = (sum(sizes[name] for name in names) for names in (group.parameters, learning))
        state = "learns" if trained == total else f"{trained:,} of them learn" if trained else "frozen"
        lines.append(f"{group.name:<20}{total:>14,} parameters  {state} {rate}".rstrip())
    return lines


def _steps(trainer: AnyTrainer, items: int) -> list[str]:
    from hf_fft.training import precision_of, steps_in_all, steps_per_epoch

    args, budget = trainer.args, trainer.speed.max_tokens_per_batch
    batches = len(trainer.get_train_dataloader())
    accumulated = args.gradient_accumulation_steps
    steps = steps_in_all(args, batches)
    per_step = (
        f"{args.train_batch_size * accumulated * args.world_size} items a step "
        f"({args.train_batch_size} × {accumulated} accumulated × {args.world_size} processes)"
        if budget is None
        else f"at most {budget * accumulated * args.world_size:,} tokens a step "
        f"({budget:,} × {accumulated} accumulated × {args.world_size} processes)"
    )
    assert trainer.model is not None
    stages = trainer.strategy.stages(trainer.model, max_steps=steps, steps_per_epoch=steps_per_epoch(args, batches))
    return [
        f"{items:,} training items, {args.num_train_epochs:g} epochs, {per_step}",
        f"{steps:,} optimizer steps in {precision_of(trainer)} on {args.device}",
        *stages,
    ]


if __name__ == "__main__":
    sys.exit(main())
