"""A comparison's pictures hold every strategy by its name, and no name covers another or leaves the picture."""

from itertools import combinations

import matplotlib
import pytest
from made_up_comparison import baseline, comparison, learning, run, spread, strategy, three_seeds

from hf_fft.report import write_comparison_plots
from hf_fft.report.comparison_plots import DRAWERS, STYLE, comparison_plot_titles
from hf_fft.report.labels import spread_apart
from hf_fft.result import Metric

ALL = ["score_by_time", "learning_curves", "score_by_epoch"]


def drawn(name, record):
    with matplotlib.rc_context(STYLE):
        figure = DRAWERS[name](record)
        figure.draw_without_rendering()
    return figure


def names(figure):
    return [note.get_text().replace("\n", " ") for note in figure.axes[0].texts]


def boxes(figure):
    from matplotlib.text import Text

    return [Text.get_window_extent(note) for note in figure.axes[0].texts]


def overlap(one, other):
    shared = one.intersection(one, other)
    return shared is not None and shared.width > 1 and shared.height > 1


def test_pictures_are_written_as_png_and_svg_beside_the_page(tmp_path):
    paths = write_comparison_plots(tmp_path, three_seeds())
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        f"plots/{name}.{extension}" for name in ALL for extension in ("png", "svg")
    ]
    assert all(path.stat().st_size > 10_000 for path in paths)
    assert all("<svg" in path.read_text() for path in paths[1::2])


def test_only_pictures_with_something_in_them_are_drawn(tmp_path):
    titles = comparison_plot_titles(comparison(strategy("feature_based", 0.695)))
    assert titles == [
        ("score_by_time", "Test accuracy against training time"),
        ("score_by_epoch", "Validation accuracy by epoch"),
    ]
    assert write_comparison_plots(tmp_path, comparison(strategy("full", failures=["seed 1: killed"]))) == []


@pytest.mark.parametrize("name", ALL)
def test_every_strategy_is_named_and_no_name_covers_another(name):
    figure = drawn(name, three_seeds())
    wanted = {"full", "feature_based", "gradual_unfreezing", "probe_then_full (not tuned)", "lora rank=4"}
    assert wanted <= set(names(figure))
    assert not any(overlap(*pair) for pair in combinations(boxes(figure), 2))
    width, height = figure.bbox.width, figure.bbox.height
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes(figure))


@pytest.mark.parametrize("name", ["score_by_time", "score_by_epoch"])
def test_strategies_at_the_same_place_keep_names_apart(name):
    label = "full rate={} layer_decay=0.8 head_learning_rate=0.001"
    same = [strategy(label.format(place), 0.774, sd=0.004, runs=3) for place in range(5)]
    figure = drawn(name, comparison(*same, strategy("feature_based", 0.77), seeds=(1, 2, 3)))
    assert len(set(names(figure))) == 6
    assert not any(overlap(*pair) for pair in combinations(boxes(figure), 2))


def test_strategies_that_are_not_drawn_and_baselines_that_are_far_away_are_named_below():
    record = comparison(
        strategy("full", 0.91),
        strategy("feature_based", 0.90),
        strategy("lora", failures=["seed 1: out of memory"]),
        baseline("majority", 0.5),
        baseline("tfidf_logistic_regression", 0.895),
    )
    figure = drawn("score_by_time", record)
    assert figure.get_supxlabel() == "Not drawn: lora (failed). Outside the picture: majority 0.500."
    assert names(figure) == ["tfidf_logistic_regression", "full", "feature_based"]
    assert figure.axes[0].get_ylim()[0] > 0.85


def test_training_times_far_apart_have_a_logarithmic_axis():
    near, far = strategy("full", 0.8), strategy("full", 0.8).model_copy(update={"train_seconds": spread(9400.0)})
    for one, scale in ((near, "linear"), (far, "log")):
        figure = drawn("score_by_time", comparison(one, strategy("feature_based", 0.7)))
        assert figure.axes[0].get_xscale() == scale


def test_learning_curves_stand_over_their_counts_of_rows_and_show_the_level_to_reach():
    figure = drawn("learning_curves", three_seeds())
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1,080", "324", "108", "11"]
    assert axes.get_xscale() == "log" and axes.get_ylabel() == "test accuracy"
    assert figure.get_supxlabel() == "Dashed: feature_based with all rows."
    assert any(list(line.get_ydata()) == [0.695, 0.695] for line in axes.lines)


def test_counts_of_rows_that_lie_close_are_not_written_over_one_another():
    shares = [(0.98, 1060), (0.99, 1070), (1.0, 1080)]
    curve = [
        point.model_copy(update={"fraction": share, "train_rows": rows})
        for point, (share, rows) in zip(learning(0.5, 0.6, 0.7, 0.8)[1:], shares, strict=True)
    ]
    low = learning(0.5, 0.6, 0.7, 0.8)[:1]
    record = comparison(strategy("full", 0.8, learning_curve=low + curve), fractions=(0.01, 0.98, 0.99, 1.0))
    axes = drawn("learning_curves", record).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1,080", "11"]


def test_the_course_of_a_strategy_is_the_mean_where_all_seeds_have_one():
    runs = [run("full", 1, [0.6, 0.7, 0.8]), run("full", 2, [0.7, 0.8]), run("feature_based", 1, [0.5, None, 0.6])]
    record = comparison(strategy("full", 0.8), strategy("feature_based", 0.6), runs=runs, seeds=(1, 2))
    lines = drawn("score_by_epoch", record).axes[0].lines
    thick = [line for line in lines if line.get_linewidth() > 1]
    assert [list(line.get_xdata()) for line in thick] == [[1, 2], [1, 3]]
    assert list(thick[0].get_ydata()) == pytest.approx([0.65, 0.75])
    assert len(lines) == 4


def test_a_probe_stands_at_epochs_up_to_zero_and_is_shaded():
    runs = [run("probe_then_full", 1, [0.6, 0.7, 0.8], probe=2)]
    figure = drawn("score_by_epoch", comparison(strategy("probe_then_full", 0.8), runs=runs))
    assert list(figure.axes[0].lines[0].get_xdata()) == [-1, 0, 1]
    assert figure.get_supxlabel() == "Shaded: the head alone learns, on a frozen backbone."


def test_axes_say_where_lower_is_better():
    rmse = Metric(name="rmse", greater_is_better=False)
    runs = [run("full", 1, [0.5, 0.4], metric="rmse")]
    record = comparison(strategy("full", 0.41), strategy("feature_based", 0.6), metric=rmse, runs=runs)
    assert drawn("score_by_time", record).axes[0].get_ylabel() == "test rmse, lower is better"
    assert drawn("score_by_epoch", record).axes[0].get_ylabel() == "validation rmse, lower is better"


def test_things_are_moved_apart_as_little_as_they_must_be_and_stay_inside():
    assert spread_apart([0.2, 0.8], [0.1, 0.1]) == pytest.approx([0.2, 0.8])
    assert spread_apart([0.5, 0.5], [0.1, 0.1]) == pytest.approx([0.45, 0.55])
    assert spread_apart([0.0, 0.0], [0.1, 0.3]) == pytest.approx([0.05, 0.25])
    assert spread_apart([0.98, 1.0, 1.0], [0.1, 0.1, 0.1]) == pytest.approx([0.75, 0.85, 0.95])
    assert spread_apart([], []) == []
