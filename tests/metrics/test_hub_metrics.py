"""A local script is loaded, a bare name never runs what lies in the working directory, and failures are in words."""

import pytest

from hf_fft.errors import DataError
from hf_fft.metrics import hub_metric

SCRIPT = """
import datasets
import evaluate
{extra_import}

class Same(evaluate.Metric):
    def _info(self):
        features = datasets.Features({{"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        if predictions == [0]:
            raise ValueError("zero is refused")
        same = [one == two for one, two in zip(predictions, references)]
        return {{"same": sum(same) / len(same), "endless": float("inf"), "rows": len(same), "each": same, "all": True}}
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    # One for all tests: Python keeps the package that evaluate makes in it.
    return tmp_path_factory.mktemp("modules")


@pytest.fixture
def script(tmp_path, modules, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", str(modules))
    path = tmp_path / "scripts" / "same_share.py"
    path.parent.mkdir()
    path.write_text(SCRIPT.format(extra_import=""))
    return path


def test_a_local_script_gives_its_finite_numbers(script):
    scores = hub_metric(str(script))(predictions=[1, 2], references=[1, 3])
    assert scores == {"same": 0.5, "rows": 2.0}


def test_a_metric_that_refuses_predictions_says_so(script):
    with pytest.raises(DataError, match=r"same_share.*cannot score these predictions: zero is refused"):
        hub_metric("./scripts/same_share.py")(predictions=[0], references=[1])


def test_a_folder_with_a_metrics_name_is_not_run_in_its_place(script, tmp_path):
    folder = tmp_path / "accuracy"
    folder.mkdir()
    (folder / "accuracy.py").write_text(f"open({str(tmp_path / 'hijacked')!r}, 'w')")
    with pytest.raises(DataError, match=r"accuracy/accuracy\.py in the working directory. Write \./accuracy if"):
        hub_metric("accuracy")
    assert not (tmp_path / "hijacked").exists()


def test_a_folder_is_a_metric_when_it_is_named_as_a_path(script, tmp_path):
    folder = tmp_path / "same_rows"
    folder.mkdir()
    (folder / "same_rows.py").write_text(script.read_text())
    assert hub_metric("./same_rows")(predictions=[1], references=[1])["same"] == 1


@pytest.mark.parametrize("name", ["./nowhere", "nowhere.py", "owner/metric", "..", "/"])
def test_a_path_without_a_script_never_becomes_a_hub_name(name, script, monkeypatch):
    monkeypatch.setattr("evaluate.load", lambda *_, **__: pytest.fail("went to evaluate"))
    with pytest.raises(DataError, match="there is no script"):
        hub_metric(name)


@pytest.mark.parametrize("fault", [FileNotFoundError("no"), ConnectionError("no")])
def test_an_unreachable_metric_says_what_is_computed_without_the_hub(fault, script, monkeypatch):
    def fail(*_, **__):
        raise fault

    monkeypatch.setattr("evaluate.load", fail)
    with pytest.raises(DataError, match=r"could not be fetched from the Hub.*computes, without the Hub, accuracy"):
        hub_metric("accuracy")


def test_a_missing_package_is_named(script):
    script.write_text(SCRIPT.format(extra_import="import no_such_package_at_all"))
    with pytest.raises(DataError, match=r"needs a package that is not installed.*no_such_package_at_all"):
        hub_metric(str(script))


def test_a_name_that_is_no_name_is_refused(script):
    with pytest.raises(DataError, match="is not the name of a metric"):
        hub_metric("exact match")
