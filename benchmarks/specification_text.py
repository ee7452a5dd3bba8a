"""The specification's tables in Markdown, from summaries alone: what was measured beside what was printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- specification tables: begin -->", "<!-- specification tables: end -->"
MISSING = "–"
NAMES = {
    "full": "full",
    "feature_based": "feature_based",
    "feature_based_frozen_pooler": "feature_based, pooler frozen",
    "gradual_unfreezing": "gradual_unfreezing",
    "probe_then_full": "probe_then_full",
    "lora": "lora",
    "majority": "majority",
    "tfidf_logistic_regression": "tfidf_logistic_regression",
}
# The specification's efficiency table, as printed.
PRINTED_COSTS = {
    "training time": ("2 hours", "10 minutes", "12× slower"),
    "memory": ("8 GB", "2 GB", "4× more"),
    "data required": ("10K samples", "1K samples", "10× more"),
    "convergence": ("15 epochs", "3 epochs", "5× slower"),
    "trained parameters": ("110M", "3K", "37,000× more"),
}

Summary = Mapping[str, Any]


def tables(summaries: Mapping[str, Summary]) -> str:
    """Return all tables with what is said below them."""
    some = list(summaries.values())
    return "\n\n".join(
        [
            "### Accuracy: full against feature-based",
            _accuracy(some),
            "\n".join(f"* {sentence(one)}" for one in some),
            "### Efficiency: full, feature-based, and their ratio",
            _efficiency(some),
            "\n".join(f"* {claim}" for claim in _claims(some)),
            _explained(),
            "### Every strategy",
            _every_strategy(some),
            "### How it was measured",
            "\n".join(f"* {_provenance(one)}" for one in some),
        ]
    )


def sentence(one: Summary) -> str:
    """Say whether full is better than feature_based here, and whether the specification's claim has the same sign."""
    claimed = f"the specification claims {one['specification']['gain']:+.1f}"
    gain = _gain(one)
    if gain is None:
        return f"{one['title']}: no difference could be computed; {claimed}."
    points, interval = 100 * gain["estimate"], f"95 % interval {_interval(gain)}"
    agrees = "the sign agrees" if points > 0 else "the sign does not agree"
    if not gain["decided"]:
        return f"{one['title']}: the data do not decide ({points:+.1f} points, {interval}); {claimed}, and {agrees}."
    word = "better" if points > 0 else "worse"
    return (
        f"{one['title']}: full is {word} than feature_based by {abs(points):.1f} points ({interval}); {claimed}, and "
        f"{agrees}."
    )


def put_between_markers(readme: Path, text: str) -> None:
    """Replace what stands between the two markers of a page.

    Ends the program if the page does not have both, in their order.
    """
    page = readme.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{readme} needs the lines {BEGIN} and {END}; the tables go between them.")
    readme.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _accuracy(some: Sequence[Summary]) -> str:
    head = ["", "training rows", "metric", "full", "feature-based", "gain, points", "95 % interval"]
    rows = []
    for one in some:
        gain, printed = _gain(one), one["specification"]
        rows.append(
            [
                one["title"],
                _training_rows(one),
                one["metric"],
                _score(one, "full"),
                _score(one, "feature_based"),
                MISSING if gain is None else f"{100 * gain['estimate']:+.1f}",
                MISSING if gain is None else _interval(gain),
                f"{printed['full']:.1f}",
                f"{printed['feature_based']:.1f}",
                f"{printed['gain']:+.1f}",
            ]
        )
    return _table([*head, "printed: full", "printed: feature-based", "printed: gain"], rows)


def _efficiency(some: Sequence[Summary]) -> str:
    measured = {
        "training time": lambda one: _pair(one, "train_seconds", _seconds),
        "memory": lambda one: _pair(one, "peak_mib", lambda mib: f"{mib:,.0f} MiB"),
        "data required": _data_required,
        "convergence": _convergence,
        "trained parameters": lambda one: _pair(one, "trainable_parameters", _count),
        "trained parameters, pooler frozen": lambda one: _pair(
            one, "trainable_parameters", _count, head="feature_based_frozen_pooler"
        ),
    }
    rows = []
    for name, cell in measured.items():
        printed = PRINTED_COSTS[name.partition(",")[0]]
        rows.append([name, f"{printed[0]}, {printed[1]}: {printed[2]}", *(cell(one) for one in some)])
    return _table(["", "printed", *(one["title"] for one in some)], rows)


def _claims(some: Sequence[Summary]) -> list[str]:
    """Say of each printed cost of full over feature-based whether it was found to be more, or less."""
    lines = []
    for cost, ratio in RATIOS.items():
        found = {one["title"]: value for one in some if (value := ratio(one)) is not None}
        if not found:
            continue
        against = [title for title, value in found.items() if value <= 1]
        agrees = "the sign agrees" if not against else "the sign does not agree"
        if against and len(against) < len(found):
            agrees += f" on {', '.join(against)}"
        span = " to ".join(dict.fromkeys(f"{value:.2g}×" for value in (min(found.values()), max(found.values()))))
        lines.append(f"{cost}: the specification claims {PRINTED_COSTS[cost][2]}; measured {span}, and {agrees}.")
    return lines


def _explained() -> str:
    return (
        "Training time is without evaluation and saving; the head alone trains for more epochs than the rest, as its "
        "settings say. Memory is the peak above the level before the model was loaded. Data required: training rows "
        "with which full reaches what feature_based reaches with all. Convergence: first epoch within one standard "
        "error of the best on validation."
    )


def _every_strategy(some: Sequence[Summary]) -> str:
    names = [name for name in NAMES if any(name in one["strategies"] or name in one["baselines"] for one in some)]
    rows = [[NAMES[name], *(_score_and_time(one, name) for one in some)] for name in names]
    head = "test score in %, mean ± sd over seeds; gain over feature_based; × its training time"
    return f"In each cell: {head}.\n\n" + _table(["", *(one["title"] for one in some)], rows)


def _score_and_time(one: Summary, name: str) -> str:
    row = _row(one, name)
    if row is None or row["score"] is None:
        return MISSING
    parts = [_score(one, name)]
    if row["gain"] is not None:
        mark = "" if row["gain"]["decided"] else " (undecided)"
        parts.append(f"{100 * row['gain']['estimate']:+.1f}{mark}")
    if name in one["strategies"] and row["time_ratio"] is not None:
        parts.append(f"{row['time_ratio']:.1f}×")
    return "; ".join(parts)


def _provenance(one: Summary) -> str:
    runs = [run for row in one["strategies"].values() for run in row["runs"]]
    dates = sorted({run["date"] for run in runs if run.get("date")})
    notes = sorted({run["beside"] for run in runs if run.get("beside")})
    machines = [f"{some['processor']}, {some['cores']} cores, {some['precision']}" for some in one["machines"]]
    packages = [(name, some["versions"].get(name)) for some in one["machines"] for name in ("torch", "transformers")]
    seeds = len(one["seeds"])
    parts = [
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}",
        " to ".join(dict.fromkeys(dates[:1] + dates[-1:])),
        *dict.fromkeys(machines),
        *(f"{name} {version}" for name, version in dict.fromkeys(packages)),
        f"commit {one['commit'] or 'unknown'}",
        f"speed {one['speed']}",
    ]
    return f"{one['title']}: {', '.join(parts)}." + (f" Meanwhile: {'; '.join(notes)}." if notes else "")


def _data_required(one: Summary) -> str:
    row, head = _row(one, "full"), _row(one, "feature_based")
    if row is None or head is None or row["data_required"] is None:
        return MISSING
    needed, used, ratio = row["data_required"], head["learning_curve"][-1]["train_rows"], _ratio_of_rows(one)
    return f"{needed['bound']} {needed['rows']:,}, {used:,}" + ("" if ratio is None else f": {ratio:.2g}×")


def _ratio_of_rows(one: Summary) -> float | None:
    row, head = _row(one, "full"), _row(one, "feature_based")
    if row is None or head is None or row["data_required"] is None or row["data_required"]["bound"] != "about":
        return None
    return row["data_required"]["rows"] / head["learning_curve"][-1]["train_rows"]


def _convergence(one: Summary) -> str:
    ours, theirs = _epochs(one, "full"), _epochs(one, "feature_based")
    if ours is None or theirs is None:
        return MISSING
    ratio = f": {ours / theirs:.1f}×" if theirs else ""
    return f"epoch {ours:.3g}, epoch {theirs:.3g}{ratio}"


def _ratio_of_epochs(one: Summary) -> float | None:
    ours, theirs = _epochs(one, "full"), _epochs(one, "feature_based")
    return ours / theirs if ours is not None and theirs else None


def _epochs(one: Summary, name: str) -> float | None:
    found = ((_row(one, name) or {}).get("convergence") or {}).get("epoch")
    return found["mean"] if found else None


def _pair(one: Summary, figure: str, write: Any, *, head: str = "feature_based") -> str:
    pair = _means(one, figure, head)
    if pair is None:
        return MISSING
    ratio = pair[0] / pair[1]
    return f"{write(pair[0])}, {write(pair[1])}: {f'{ratio:,.0f}' if ratio >= 100 else f'{ratio:.1f}'}×"


def _ratio(one: Summary, figure: str) -> float | None:
    pair = _means(one, figure, "feature_based")
    return None if pair is None else pair[0] / pair[1]


def _means(one: Summary, figure: str, head: str) -> tuple[float, float] | None:
    rows = [_row(one, name) for name in ("full", head)]
    values = [None if row is None else row[figure] for row in rows]
    ours, theirs = (value["mean"] if isinstance(value, Mapping) else value for value in values)
    return None if ours is None or theirs is None else (ours, theirs)


RATIOS: dict[str, Callable[[Summary], float | None]] = {
    "training time": lambda one: _ratio(one, "train_seconds"),
    "memory": lambda one: _ratio(one, "peak_mib"),
    "data required": _ratio_of_rows,
    "convergence": _ratio_of_epochs,
}


def _row(one: Summary, name: str) -> Mapping[str, Any] | None:
    return one["strategies"].get(name) or one["baselines"].get(name)


def _gain(one: Summary) -> Mapping[str, Any] | None:
    row = _row(one, "full")
    return row["gain"] if row is not None and one["reference"] == "feature_based" else None


def _score(one: Summary, name: str) -> str:
    row = _row(one, name)
    if row is None or row["score"] is None:
        return MISSING
    mean, sd = row["score"]["mean"], row["score"]["sd"]
    return f"{100 * mean:.1f}" if sd is None else f"{100 * mean:.1f} ± {100 * sd:.1f}"


def _training_rows(one: Summary) -> str:
    curves = [row["learning_curve"] for row in one["strategies"].values() if row["learning_curve"]]
    return f"{curves[0][-1]['train_rows']:,}" if curves else MISSING


def _interval(gain: Mapping[str, Any]) -> str:
    return f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"


def _count(number: float) -> str:
    if number < 1e3:
        return f"{number:.0f}"
    return f"{number / 1e6:.1f}M" if number >= 1e6 else f"{number / 1e3:.3g}K"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
