"""The specification's tables: settings are recipes, a summary keeps the figures and no folder, and the text follows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from made_up_comparison import baseline, comparison, gain, strategy

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from specification_data_sets import DATA_SETS, STRATEGIES  # noqa: E402
from specification_summary import summary, write_note  # noqa: E402
from specification_tables import main  # noqa: E402
from specification_text import BEGIN, END, put_between_markers, sentence, tables  # noqa: E402

from hf_fft.compare import Comparison  # noqa: E402
from hf_fft.comparison.choices import choices_of  # noqa: E402
from hf_fft.recipe import recipe_from  # noqa: E402

DATA = Path("/somewhere/data")
FULL_GAIN = gain(0.079, 0.061, 0.097)


@pytest.mark.parametrize("name", DATA_SETS)
def test_the_settings_of_a_data_set_are_a_recipe_and_every_strategy_has_its_own_rate(name):
    data_set = DATA_SETS[name]
    recipe = recipe_from(data_set.recipe(DATA, rows=None, speed="off"), source=name)
    choices = choices_of(recipe, [data_set.wish(one) for one in data_set.strategies])
    rates = [one.recipe.training.values()["learning_rate"] for one in choices]
    assert rates == [data_set.rates[one] for one in data_set.strategies]
    epochs = {one.recipe.strategy.name: one.recipe.training.values()["num_train_epochs"] for one in choices}
    assert epochs["feature_based"] == data_set.head_epochs
    assert epochs["full"] == epochs["lora"] == data_set.epochs
    assert recipe.speed.name == "off"


def test_a_pooler_is_frozen_only_where_there_is_one():
    without = {name for name, one in DATA_SETS.items() if "feature_based_frozen_pooler" not in one.strategies}
    assert without == {"conll2003", "squad"}


def test_a_trial_caps_every_split():
    data = DATA_SETS["ag_news"].recipe(DATA, rows=20, speed="auto")["data"]
    assert {data[f"max_{split}_rows"] for split in ("train", "validation", "test")} == {20}


def made_up_summary(folder: Path, *, note: str | None = "a browser", **of_full) -> dict:
    """Return the summary of a comparison that never was, with the runs' folders there as a real one has them."""
    rows = [
        strategy("full", 0.774, **{"gain": FULL_GAIN, **of_full}),
        strategy("feature_based", 0.695, is_reference=True),
        baseline("majority", 0.512, gain(-0.183, -0.215, -0.150)),
    ]
    record = comparison(*rows)
    path = str(DATA / "ag_news")
    changed = record.recipe.model_copy(update={"data": record.recipe.data.model_copy(update={"path": path})})
    record = record.model_copy(update={"recipe": changed})
    if note is not None:
        write_note(folder, note)
        for one in record.runs:
            (folder / one.folder).mkdir(parents=True)
            (folder / one.folder / "result.json").write_text("{}")
    made = Comparison(record, folder)
    return summary(DATA_SETS["ag_news"], made, ["full", "feature_based"], data=DATA, speed="off")


def test_a_summary_keeps_figures_differences_and_notes_and_no_folder_of_the_machine(tmp_path):
    kept = made_up_summary(tmp_path)
    assert json.loads(json.dumps(kept)) == kept
    assert set(kept["strategies"]) == {"full", "feature_based"}
    full = kept["strategies"]["full"]
    assert (full["gain"]["low"], full["score"]["mean"]) == (0.061, 0.774)
    (one,) = full["runs"]
    assert (one["seed"], one["beside"]) == (1, "a browser")
    assert one["cost"]["train_seconds"] > 0
    assert kept["specification"]["gain"] == 2.3
    assert kept["recipe"]["data"]["path"] == "DATA/ag_news"
    assert str(DATA) not in json.dumps(kept)
    assert str(tmp_path) not in json.dumps(kept)


def test_a_run_keeps_the_note_of_its_own_time(tmp_path):
    (one,) = made_up_summary(tmp_path)["strategies"]["full"]["runs"]
    later = (tmp_path / "full" / "1" / "result.json").stat().st_mtime + 60
    notes = json.loads((tmp_path / "notes.json").read_text())
    (tmp_path / "notes.json").write_text(json.dumps([*notes, {"since": later, "note": "nothing"}]))
    again = made_up_summary(tmp_path, note=None)
    assert one["beside"] == "a browser"
    assert [run["beside"] for run in again["strategies"]["full"]["runs"]] == ["a browser"]


@pytest.mark.parametrize(
    ("of_full", "expected"),
    [
        (FULL_GAIN, "full is better than feature_based by 7.9 points (95 % interval +6.1 to +9.7); "),
        (gain(-0.03, -0.05, -0.01), "full is worse than feature_based by 3.0 points (95 % interval -5.0 to -1.0); "),
        (gain(0.01, -0.01, 0.03, 0.3), "the data do not decide (+1.0 points, 95 % interval -1.0 to +3.0); "),
        (None, "no difference could be computed; "),
    ],
)
def test_a_sentence_says_whether_the_sign_is_the_one_that_was_claimed(of_full, expected, tmp_path):
    start, _, claim = sentence(made_up_summary(tmp_path, gain=of_full)).partition("the specification claims ")
    assert start == f"AG News: {expected}"
    if of_full is None:
        assert claim == "+2.3."
    else:
        assert claim == f"+2.3, and the sign {'agrees' if of_full.estimate > 0 else 'does not agree'}."


def test_the_tables_set_what_was_measured_beside_what_was_printed(tmp_path):
    text = tables({"ag_news": made_up_summary(tmp_path)})
    assert "| 77.4 | 69.5 | +7.9 | +6.1 to +9.7 | 93.8 | 91.5 | +2.3 |" in text
    assert "| training time | 2 hours, 10 minutes: 12× slower | 47 s, 13 s: 3.5× |" in text
    assert "| memory | 8 GB, 2 GB: 4× more | 746 MiB, 278 MiB: 2.7× |" in text
    assert "| trained parameters | 110M, 3K: 37,000× more | 22.7M, 149K: 153× |" in text
    assert "| majority | 51.2; -18.3 |" in text
    assert "Meanwhile: a browser." in text


def test_tables_are_written_between_the_markers_of_a_page_and_again(tmp_path):
    page, results = tmp_path / "README.md", tmp_path / "results"
    results.mkdir()
    (results / "ag_news.json").write_text(json.dumps(made_up_summary(tmp_path / "runs")))
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    for _ in range(2):
        main(["tables", "--results", str(results), "--readme", str(page)])
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\n### Accuracy")
    assert text.endswith(f"\n\n{END}\nafter\n")
    assert text.count("### Accuracy") == 1


def test_a_page_without_markers_is_left_alone(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="needs the lines"):
        put_between_markers(page, "tables")
    assert page.read_text() == "nothing"


def test_a_summary_is_not_replaced_by_one_that_holds_less(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "ag_news.json").write_text(json.dumps(made_up_summary(tmp_path / "made")))
    asked = ["run", "--data", str(DATA), "--runs", str(tmp_path), "--results", str(results), "--only", "ag_news"]
    with pytest.raises(SystemExit, match=r"has more than this would write: --strategies full, --seeds 1"):
        main([*asked, "--strategies", "feature_based", "--seeds", "2"])


def test_the_page_has_the_markers_and_every_strategy_of_the_script_is_one_of_the_librarys():
    page = (BENCHMARKS / "README.md").read_text()
    assert page.index(BEGIN) < page.index(END)
    assert {one["name"] for one in STRATEGIES.values()} == {
        "full",
        "feature_based",
        "gradual_unfreezing",
        "probe_then_full",
        "lora",
    }
