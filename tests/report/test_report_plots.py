"""Pictures are drawn from any run, however short, and their axes say what they show."""

import subprocess
import sys

import pytest
from made_up import made_up_curves, made_up_result, made_up_result_of

from hf_fft.errors import RunFolderError
from hf_fft.report import TrainingVisualizer, write_plots
from hf_fft.result import Curves, EvaluationPoint, TrainingPoint, write_result


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def with_rates(*rates):
    points = [
        TrainingPoint(step=step, epoch=step / 2, loss=0.5, learning_rates=one) for step, one in enumerate(rates, 1)
    ]
    return TrainingVisualizer(made_up_result(curves=Curves(training=points), best_step=None))


def test_training_curves_have_named_axes_and_mark_the_best_step():
    losses, scores = TrainingVisualizer(made_up_result()).plot_training_curves().axes
    assert losses.get_ylabel() == "loss per item"
    assert legend(losses) == ["training", "validation", "best, step 500"]
    assert (scores.get_xlabel(), scores.get_ylabel()) == ("optimizer step", "accuracy")
    assert list(scores.lines[0].get_xdata()) == [250, 500, 750]
    assert losses.child_axes[0].get_xlabel() == "epoch"


def test_a_perplexity_that_falls_far_is_drawn_on_a_logarithmic_scale_with_plain_numbers():
    figure = TrainingVisualizer(made_up_result_of("masked_language_modeling")).plot_training_curves()
    figure.draw_without_rendering()
    scores = figure.axes[1]
    assert (scores.get_ylabel(), scores.get_yscale()) == ("perplexity (lower is better)", "log")
    ticks = [text.get_text() for text in scores.get_yticklabels()]
    assert {"100", "1,000", "10,000"} <= set(ticks)


@pytest.mark.parametrize("task", ["causal_language_modeling", "token_classification", "text_generation"])
def test_scores_that_stay_near_each_other_are_drawn_on_a_plain_scale(task):
    scores = TrainingVisualizer(made_up_result_of(task)).plot_training_curves().axes[1]
    assert scores.get_yscale() == "linear"


def test_metrics_choose_the_panels():
    visualizer = TrainingVisualizer(made_up_result())
    (scores,) = visualizer.plot_training_curves(metrics=("accuracy", "f1_macro")).axes
    assert scores.get_ylabel() == "score" and legend(scores)[:2] == ["accuracy", "f1_macro"]
    assert len(visualizer.plot_training_curves(metrics=("loss",)).axes) == 1
    with pytest.raises(RunFolderError, match="have no f1; they have loss, accuracy, f1_macro"):
        visualizer.plot_training_curves(metrics=("loss", "f1"))


def test_pictures_are_read_from_a_run_folder_and_written_into_it(tmp_path):
    write_result(tmp_path, made_up_result())
    paths = write_plots(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        "plots/training_curves.png",
        "plots/learning_rates.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000 for path in paths)
    with pytest.raises(RunFolderError, match="holds no result"):
        write_plots(tmp_path / "nowhere")


def test_the_extension_chooses_the_format(tmp_path):
    TrainingVisualizer(made_up_result()).plot_lr_schedule(tmp_path / "rates.svg")
    assert "<svg" in (tmp_path / "rates.svg").read_text()


def test_a_result_that_is_not_written_yet_can_be_drawn(tmp_path):
    assert all(path.exists() for path in write_plots(tmp_path, made_up_result()))


def test_runs_of_one_point_or_none_are_drawn(tmp_path):
    curves = made_up_curves()
    one = Curves(training=curves.training[:1], evaluation=curves.evaluation[:1])
    figure = TrainingVisualizer(made_up_result(curves=one)).plot_training_curves()
    assert figure.axes[0].lines[0].get_marker() == "o"
    for path in write_plots(tmp_path, made_up_result(curves=Curves(), best_step=None)):
        assert path.stat().st_size > 5_000
    lost = Curves(
        training=[TrainingPoint(step=1, epoch=0.0, loss=None)],
        evaluation=[EvaluationPoint(step=1, epoch=0.0, metrics={"accuracy": None})],
    )
    write_plots(tmp_path, made_up_result(curves=lost))


def test_every_parameter_group_is_named():
    axes = TrainingVisualizer(made_up_result()).plot_lr_schedule().axes[0]
    assert legend(axes) == ["head", "layers"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("optimizer step", "learning rate", "linear")


def test_groups_that_move_as_one_share_a_line():
    visualizer = with_rates(dict.fromkeys("abcd", 1.0) | {"e": 0.5})
    assert legend(visualizer.plot_lr_schedule().axes[0]) == ["a … d (4 groups)", "e"]
    assert legend(with_rates({"a": 1.0, "b": 1.0}).plot_lr_schedule().axes[0]) == ["a, b"]


def test_the_scale_is_logarithmic_only_if_groups_lie_far_apart():
    near = with_rates({"head": 1e-3, "layers": 6e-5}, {"head": 0.0, "layers": 0.0})
    far = with_rates({"head": 1e-3}, {"head": 5e-4, "layers": 4e-5}, {"head": 0.0, "layers": 0.0})
    assert near.plot_lr_schedule().axes[0].get_yscale() == "linear"
    assert far.plot_lr_schedule().axes[0].get_yscale() == "log"


def test_many_groups_have_their_legend_outside():
    names = ["head", *(f"layer {number}" for number in range(11, -1, -1)), "embeddings"]
    figure = TrainingVisualizer(made_up_result(curves=made_up_curves(groups=names))).plot_lr_schedule()
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert legend(axes) == names
    assert axes.get_legend().get_window_extent().x0 > axes.get_window_extent().x1
    assert len({line.get_color() for line in axes.lines}) == len(names)


def test_importing_report_is_light_and_drawing_leaves_pyplot_alone():
    code = (
        "import sys, hf_fft.report as report\n"
        "print([n for n in ('torch', 'matplotlib', 'huggingface_hub', 'transformers') if n in sys.modules])\n"
        f"sys.path.insert(0, {str(__file__.rpartition('/')[0])!r}); import made_up\n"
        "report.TrainingVisualizer(made_up.made_up_result()).plot_training_curves()\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split("\n")[:2] == ["[]", "False"]
