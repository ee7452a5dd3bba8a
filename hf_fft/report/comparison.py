"""A comparison of strategies as text: for the terminal, and as the page `comparison.md`.

Both hold the same tables and the same sentences. In the terminal the verdict comes last, where the eye is when a
command ends; on the page it comes first.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence

from hf_fft.report.comparison_columns import (
    Part,
    comparison_parts,
    finished_results,
    learning_curve_rows,
    reason_of,
)
from hf_fft.report.comparison_plots import PLOTS_FOLDER, comparison_plot_titles
from hf_fft.report.comparison_units import p_text, unit_of
from hf_fft.report.comparison_words import caution_sentences, comparison_sentences, verdict_sentences
from hf_fft.report.wording import MISSING, markdown_table, place_text, plain_table, share_text, without_local_paths
from hf_fft.result.comparison import ComparisonRecord, Gain

WIDTH = 110
LABEL_WIDTH = 26
UNBROKEN = "\N{NO-BREAK SPACE}"


def comparison_table(record: ComparisonRecord) -> str:
    """Show a comparison for the terminal: its tables, what the differences mean, and the verdict last."""
    parts = [_for_terminal(part) for part in comparison_parts(record)]
    parts += [
        _paragraphs(sentences)
        for sentences in (comparison_sentences(record), caution_sentences(record), verdict_sentences(record))
    ]
    return "\n\n".join(part for part in parts if part)


def comparison_markdown(record: ComparisonRecord) -> str:
    """Write a comparison as a page: the verdict, the tables, the pictures beside it, and how it was made."""
    sections = [
        ("", [_opening(record), *(f"**{sentence}**" for sentence in verdict_sentences(record)[:1])]),
        ("", [" ".join(verdict_sentences(record)[1:])]),
        *((part.title, [_sentence(part.note), _markdown(part)]) for part in comparison_parts(record)),
        ("What the differences mean", [_listed(comparison_sentences(record)), _significance(record)]),
        ("What to bear in mind", [_listed(caution_sentences(record))]),
        ("Pictures", [f"![{title}]({PLOTS_FOLDER}/{name}.png)" for name, title in comparison_plot_titles(record)]),
        ("By training rows", [_table(*learning_curve_rows(record))]),
        ("Learning rates that were tried", [_rates(record)]),
        ("Runs that failed", [_failures(record)]),
        ("Where it ran", [_environment(record)]),
        ("The recipe", [_recipe(record)]),
    ]
    texts = ["# Comparison of strategies"]
    for heading, paragraphs in sections:
        filled = [paragraph for paragraph in paragraphs if paragraph]
        texts += [*([f"## {heading}"] if heading and filled else []), *filled]
    return "\n\n".join(texts) + "\n"


def _for_terminal(part: Part) -> str:
    title = textwrap.fill(f"{part.title}: {part.note}.", WIDTH)
    rows, baselines = ([line for row in some for line in _wrapped(row)] for some in (part.rows, part.baselines))
    lines = plain_table(part.headings, [*rows, *baselines]).splitlines()
    if baselines:
        lines.insert(len(lines) - len(baselines), lines[1])
    return "\n".join([title, "", *lines])


def _wrapped(row: Sequence[str]) -> list[list[str]]:
    """Break a long name over several lines: a row whose name is too long would push the figures off the screen."""
    first, *others = textwrap.wrap(row[0], LABEL_WIDTH, subsequent_indent="  ", break_long_words=False)
    return [[first, *row[1:]], *([other, *[""] * (len(row) - 1)] for other in others)]


def _paragraphs(sentences: Sequence[str]) -> str:
    """Break sentences into lines, but never inside "p = 0.012" or "95 %"."""
    kept = (re.sub(r"\b(p) ([<=]) |(95) (?=%)", _unbroken, sentence) for sentence in sentences)
    filled = [textwrap.fill(sentence, WIDTH, break_long_words=False, break_on_hyphens=False) for sentence in kept]
    return "\n".join(filled).replace(UNBROKEN, " ")


def _unbroken(found: re.Match[str]) -> str:
    return found[0].replace(" ", UNBROKEN)


def _opening(record: ComparisonRecord) -> str:
    recipe = record.recipe
    where = f"`{recipe.task.name}` with `{place_text(recipe.model.name)}` on `{place_text(recipe.data.path)}`"
    seeds = ", ".join(map(str, record.seeds))
    return f"{where}; {'seed' if len(record.seeds) == 1 else 'seeds'} {seeds}."


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."


def _markdown(part: Part) -> str:
    return markdown_table(part.headings, [*part.rows, *part.baselines])


def _table(headings: list[str], rows: list[list[str]]) -> str:
    return markdown_table(headings, rows) if rows else ""


def _listed(sentences: Sequence[str]) -> str:
    return "\n".join(f"* {without_local_paths(sentence)}" for sentence in sentences)


def _significance(record: ComparisonRecord) -> str:
    unit = unit_of(record)
    gains = [(one.label, one.gain) for one in record.strategies if one.gain]
    headings = ["strategy", f"gain, {unit.name_of_gain}", "95 % interval", "p", "p after Holm", "McNemar's p"]
    rows = [
        [label, *unit.gain_cells(gain), _p_cell(gain.p_value), _p_cell(gain.corrected_p_value), _mcnemar(gain)]
        for label, gain in gains
    ]
    return _table(headings, rows)


def _p_cell(p_value: float) -> str:
    return p_text(p_value).removeprefix("p ").removeprefix("= ")


def _mcnemar(gain: Gain) -> str:
    return MISSING if gain.mcnemar_p_value is None else f"{_p_cell(gain.mcnemar_p_value)} (seed {gain.mcnemar_seed})"


def _rates(record: ComparisonRecord) -> str:
    unit = unit_of(record)
    rows = [
        [
            one.label,
            f"{tried.learning_rate:g}",
            f"failed: {reason_of(tried.error)}" if tried.error else unit.score(tried.score),
            "chosen" if tried.learning_rate == one.search.chosen else "",
        ]
        for one in record.strategies
        if one.search
        for tried in one.search.tried
    ]
    search = next((one.search for one in record.strategies if one.search), None)
    if search is None:
        return ""
    how = f"On validation, with {share_text(search.fraction, 1)} of the training rows and seed {search.seed}."
    return f"{how}\n\n{_table(['strategy', 'learning rate', 'validation score', ''], rows)}"


def _failures(record: ComparisonRecord) -> str:
    return _listed([f"{one.label}, {failure}" for one in record.strategies for failure in one.failures])


def _environment(record: ComparisonRecord) -> str:
    where = next((result.environment for result in finished_results(record) if result.environment), None)
    if where is None:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
    return (
        f"{where.device}, {where.cores} cores, {where.memory_gib:.0f} GiB of memory, {where.precision}, {where.date}; "
        f"Python {where.python}, {versions}."
    )


def _recipe(record: ComparisonRecord) -> str:
    values = record.recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    return f"```json\n{json.dumps(without_local_paths(values), indent=2, ensure_ascii=False)}\n```"
