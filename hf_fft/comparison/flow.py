"""A comparison from beginning to end: what is finished is read, what is missing is run, and the record grows.

Two comparisons never work in one folder at once. What a comparison has computed is read again, and not computed anew,
where its runs are still the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from hf_fft.comparison.choices import Choice, Wish, choices_of
from hf_fft.comparison.plan import rate_runs
from hf_fft.comparison.processes import check_apart, compute_apart, finished_runs, run_apart
from hf_fft.comparison.rates import searched, with_rate
from hf_fft.comparison.rows import Design, record_of
from hf_fft.comparison.settings import Settings, baselines_for
from hf_fft.recipe import Recipe
from hf_fft.recipe.paths import with_absolute_paths
from hf_fft.recipe.validate import recipe_from
from hf_fft.result import Result, lock, write_json
from hf_fft.result.comparison import ComparisonRecord

COMPARISON_FILE = "comparison.json"

logger = logging.getLogger(__name__)


def run_comparison(
    recipe: Recipe, wishes: Sequence[Wish], *, folder: Path, settings: Settings
) -> tuple[ComparisonRecord, bool]:
    """Compare strategies; return the record, and whether anything is new in it.

    Raises:
        RecipeError: if a strategy or a setting makes no sense; nothing has run then.
        StrategyError: if a strategy cannot train the model; nothing has run then.
        RunFolderError: if a run's folder holds another run.
    """
    baselines = baselines_for(recipe, settings.baselines)
    choices = choices_of(recipe, wishes)
    design = Design(_in_place(recipe), choices, baselines, settings)
    with lock(folder):
        _check_new_strategies(choices, folder)
        if settings.rates:
            design = _with_searched_rates(design, folder)
        return _completed(design, folder)


def stored_record(folder: Path) -> ComparisonRecord | None:
    """Return the record that an earlier comparison left; None where there is none that can be read."""
    file = folder / COMPARISON_FILE
    try:
        return ComparisonRecord.model_validate_json(file.read_bytes()) if file.exists() else None
    except ValidationError:
        return None  # of another version; it is written anew


def write_record(folder: Path, record: ComparisonRecord) -> None:
    """Write `comparison.json`, whole or not at all."""
    write_json(folder / COMPARISON_FILE, record.model_dump(mode="json", by_alias=True))


def _in_place(recipe: Recipe) -> Recipe:
    """Return the recipe with absolute paths, for the runs' recipes lie elsewhere, and without a folder of its own."""
    values = with_absolute_paths(recipe.model_dump(mode="json", by_alias=True), str(Path.cwd()))
    return recipe_from({**values, "output_dir": None}, source="the recipe for this comparison")


def _check_new_strategies(choices: Sequence[Choice], folder: Path) -> None:
    """Refuse a strategy that cannot train the model before the others have taken their time; one that has, can."""
    stored = stored_record(folder)
    proven = {one.label for one in stored.strategies if one.finished} if stored is not None else set()
    if new := [choice for choice in choices if choice.label not in proven]:
        check_apart(new)


def _completed(design: Design, folder: Path) -> tuple[ComparisonRecord, bool]:
    """Run what is missing and judge the whole."""
    results = {} if design.settings.overwrite else finished_runs(design.runs, folder)
    stored = stored_record(folder)
    is_complete = len(results) == len(design.runs)
    if is_complete and stored is not None and _is_still_right(stored, record_of(design, results)):
        return stored, False
    _run_missing(design, results, folder)
    record = record_of(design, results)
    write_record(folder, record)
    # Not before it is needed: it reads predictions with numpy and scikit-learn.
    from hf_fft.comparison.judging import judged

    record = judged(record, folder)
    write_record(folder, record)
    return record, True


def _run_missing(design: Design, results: dict[str, Result], folder: Path) -> None:
    """Run what has no result yet, and write the record after each."""
    missing = [run for run in design.runs if run.name not in results]
    trained = [run for run in missing if run.is_trained]
    computed = [run for run in missing if not run.is_trained]
    for number, run in enumerate(trained, start=1):
        logger.info("── %s (%d of %d)", run.name, number, len(trained))
        results[run.name] = run_apart(run, folder, flags=design.settings.flags)
        write_record(folder, record_of(design, results))
    if computed:
        logger.info("── %s", ", ".join(dict.fromkeys(run.label for run in computed)))
        results |= compute_apart(computed, folder, flags=design.settings.flags)


def _with_searched_rates(design: Design, folder: Path) -> Design:
    """Search the learning rate of every strategy that names none of its own."""
    for choice in design.choices:
        if not choice.names_rate:
            runs = rate_runs(design.recipe, choice, design.settings)
            results = {} if design.settings.overwrite else finished_runs(runs, folder)
            missing = [run for run in runs if run.name not in results]
            for run in missing:
                logger.info("── %s, on %g of the rows", run.name, run.fraction)
                results[run.name] = run_apart(run, folder, flags=design.settings.flags)
            search = searched(choice.label, runs, [results[run.name] for run in runs])
            found = [with_rate(one, search) if one is choice else one for one in design.choices]
            design = replace(design, choices=found, searches={**design.searches, choice.label: search})
            if missing:
                write_record(folder, record_of(design, {}))
    return design


def _is_still_right(stored: ComparisonRecord, fresh: ComparisonRecord) -> bool:
    """Say whether a finished record tells of exactly these runs; what it adds to them follows from them alone."""
    return stored.status == "finished" and _runs_alone(stored) == _runs_alone(fresh)


def _runs_alone(record: ComparisonRecord) -> tuple[object, ...]:
    runs = [run.model_copy(update={"constant": False}) for run in record.runs]
    rows = [(one.label, one.kind, one.search) for one in record.strategies]
    return record.recipe, runs, rows, record.fractions, record.seeds
