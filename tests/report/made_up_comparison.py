"""Comparisons that never were: strategies with scores, costs and differences as a test wants them."""

from made_up import made_up_recipe, made_up_result

from hf_fft.result import Curves, EvaluationPoint, Metric
from hf_fft.result.comparison import (
    ComparedRun,
    ComparedStrategy,
    ComparisonRecord,
    Convergence,
    DataRequired,
    Gain,
    LearningPoint,
    RateSearch,
    RateTried,
    Spread,
    Verdict,
)

SIZES = {
    "full": (22_713_986, 46.9, 746.0),
    "feature_based": (148_610, 13.4, 278.0),
    "gradual_unfreezing": (22_713_986, 38.2, 741.3),
    "probe_then_full": (22_713_986, 58.1, 746.9),
    "lora": (812_546, 28.4, 512.0),
}


def spread(mean, sd=None, runs=1):
    return Spread(mean=mean, sd=sd, runs=runs)


def gain(estimate, low, high, p_value=0.0002, corrected=None, **fields):
    corrected = p_value if corrected is None else corrected
    values = {
        "estimate": estimate,
        "low": low,
        "high": high,
        "p_value": p_value,
        "corrected_p_value": corrected,
        "decided": corrected < 0.05 and (low > 0 or high < 0),
        "rows": 800,
        "seeds": 1,
        "reference_seeds": 1,
    }
    return Gain(**{**values, **fields})


def searched(chosen, *rates, tuned=True):
    tried = [RateTried(learning_rate=rate, score=0.7 - abs(rate - chosen)) for rate in rates]
    return RateSearch(tried=tried, fraction=0.3, seed=1, chosen=chosen, tuned=tuned)


def strategy(label, score=None, *, sd=None, runs=1, **fields):
    """A row of the table; without a score it is one that has not run."""
    name = label.split()[0]
    trained, seconds, memory = SIZES[name]
    ratio = seconds / SIZES["feature_based"][1]
    values = {"label": label, "name": name, "planned": runs, "rate": "not searched"}
    values["learning_rate"] = 1e-3 if name == "feature_based" else 2e-4
    if score is not None:
        values |= {
            "finished": runs,
            "score": spread(score, sd, runs),
            "train_seconds": spread(seconds, 0.02 * seconds if runs > 1 else None, runs),
            "time_ratio": ratio,
            "peak_mib": spread(memory),
            "trainable_parameters": trained,
            "total_parameters": 22_713_986,
            "model_mib": 86.7,
            "predictions_per_second": spread(412.3),
            "convergence": Convergence(
                epoch=spread(2.0),
                seconds_to_pass=None if name == "feature_based" else spread(seconds / 2),
                passed=None if name == "feature_based" else runs,
                runs=runs,
            ),
            "learning_curve": [LearningPoint(fraction=1.0, train_rows=1080, score=spread(score, sd, runs))],
        }
        if name == "feature_based":
            values["is_reference"] = True
        else:
            values["verdict"] = verdict("undecided", ratio, memory)
    return ComparedStrategy(**{**values, **fields})


def verdict(kind, time_ratio=2.0, memory=278.0, **fields):
    cost = "same" if 0.95 <= time_ratio <= 1.05 else "more" if time_ratio > 1 else "less"
    values = {"cost": cost, "time_ratio": time_ratio, "extra_train_seconds": (time_ratio - 1) * 13.4}
    return Verdict(**{"kind": kind, **values, "memory_ratio": memory / 278.0, **fields})


def judged(label, score, kind, of_gain, **fields):
    """A strategy with a gain over the reference and what follows from it."""
    _, seconds, memory = SIZES[label.split()[0]]
    return strategy(label, score, gain=of_gain, verdict=verdict(kind, seconds / 13.4, memory), **fields)


def baseline(label, score, of_gain=None, **fields):
    """A baseline, which is compared with the reference like a strategy and takes no time worth naming."""
    values = {"label": label, "name": label, "kind": "baseline", "planned": 1, "finished": 1, "score": spread(score)}
    values |= {"train_seconds": spread(0.21), "time_ratio": 0.21 / 13.4, "peak_mib": spread(38.2), "model_mib": 0.9}
    values |= {"predictions_per_second": spread(9120.0), "trainable_parameters": 9000, "total_parameters": 9000}
    if of_gain is not None:
        kind = "undecided" if not of_gain.decided else "better" if of_gain.estimate > 0 else "worse"
        values["verdict"] = verdict(kind, 0.21 / 13.4, 38.2)
    return ComparedStrategy(**{**values, "gain": of_gain, **fields})


def run(label, seed, scores, *, fraction=1.0, probe=0, metric="accuracy", **fields):
    """A run with the given validation scores by epoch; the first `probe` of them stand at epochs up to zero."""
    points = [
        EvaluationPoint(step=10 * place, epoch=float(place), metrics={metric: score})
        for place, score in enumerate(scores, start=1 - probe)
    ]
    result = made_up_result(recipe=made_up_recipe(label.split()[0], seed=seed), curves=Curves(evaluation=points))
    name = f"{label}, seed {seed}, fraction {fraction:g}"
    values = {"name": name, "label": label, "seed": seed, "fraction": fraction, "folder": f"{label}/{seed}"}
    return ComparedRun(**{**values, "train_rows": 1080, "result": result, **fields})


def comparison(*rows, **fields):
    """A finished comparison of rows made by the functions above."""
    reference = next((one.label for one in rows if one.is_reference), None)
    values = {
        "status": "finished",
        "recipe": made_up_recipe(),
        "metric": Metric(name="accuracy"),
        "split": "test",
        "reference": reference,
        "seeds": (1,),
        "strategies": rows,
        "runs": [run(one.label, 1, [0.6, one.score.mean]) for one in rows if one.score and one.kind == "strategy"],
    }
    return ComparisonRecord(**{**values, **fields})


def quickstart():
    """What the first command of the README prints: two strategies, one seed, two baselines that cost nothing."""
    return comparison(
        judged("full", 0.774, "better", gain(0.124, 0.091, 0.156, clusters=212)),
        strategy("feature_based", 0.650),
        baseline("majority", 0.512, gain(-0.138, -0.171, -0.104, clusters=212)),
        baseline("tfidf_logistic_regression", 0.661, gain(0.011, -0.024, 0.047, 0.53, clusters=212)),
    )


FRACTIONS = (0.01, 0.1, 0.3, 1.0)
ROWS = (11, 108, 324, 1080)


def learning(*scores, sd=0.012):
    return [
        LearningPoint(fraction=share, train_rows=rows, score=spread(score, sd, 3))
        for share, rows, score in zip(FRACTIONS, ROWS, scores, strict=True)
    ]


def three_seeds():
    """Five strategies, three seeds and four shares of the rows: everything that a comparison can say."""
    both = {"seeds": 3, "reference_seeds": 3, "clusters": 212}
    many = {"runs": 3}
    rows = (
        judged(
            "full",
            0.774,
            "better",
            gain(0.079, 0.061, 0.097, 0.0002, 0.0008, **both),
            sd=0.006,
            **many,
            rate="searched",
            search=searched(2e-4, 1e-4, 2e-4, 4e-4),
            learning_curve=learning(0.512, 0.601, 0.702, 0.774),
            data_required=DataRequired(bound="about", rows=301, target=0.695),
        ),
        strategy(
            "feature_based",
            0.695,
            sd=0.004,
            **many,
            rate="searched",
            search=searched(1e-3, 5e-4, 1e-3, 2e-3),
            learning_curve=learning(0.548, 0.640, 0.671, 0.695),
        ),
        judged(
            "gradual_unfreezing",
            0.707,
            "undecided",
            gain(0.012, -0.004, 0.029, 0.14, 0.14, **both),
            sd=0.011,
            **many,
            rate="searched",
            search=searched(2e-4, 1e-4, 2e-4, 4e-4),
            learning_curve=learning(0.530, 0.622, 0.668, 0.707),
            data_required=DataRequired(bound="about", rows=815, target=0.695),
        ),
        strategy(
            "probe_then_full",
            0.781,
            sd=0.009,
            **many,
            gain=gain(0.086, 0.066, 0.105, **both),
            verdict=verdict("not tuned", 4.3, 746.9, concerns="probe_then_full"),
            rate="searched",
            learning_rate=4e-4,
            search=searched(4e-4, 1e-4, 2e-4, 4e-4, tuned=False),
            learning_curve=learning(0.550, 0.655, 0.715, 0.781),
            data_required=DataRequired(bound="about", rows=224, target=0.695),
        ),
        judged(
            "lora rank=4",
            0.766,
            "better",
            gain(0.071, 0.052, 0.090, 0.0002, 0.0008, **both),
            sd=0.008,
            **many,
            rate="searched",
            search=searched(2e-4, 1e-4, 2e-4, 4e-4),
            learning_curve=learning(0.520, 0.597, 0.690, 0.766),
            data_required=DataRequired(bound="about", rows=350, target=0.695),
        ),
        baseline("majority", 0.512, gain(-0.183, -0.215, -0.150, reference_seeds=3, clusters=212)),
        baseline(
            "tfidf_logistic_regression",
            0.661,
            gain(-0.034, -0.060, -0.008, 0.012, 0.024, reference_seeds=3, clusters=212),
        ),
        baseline("untrained_head", 0.497, gain(-0.198, -0.230, -0.161, reference_seeds=3, clusters=212)),
    )
    courses = {
        "full": (0.63, 0.74, 0.77),
        "feature_based": (0.64, 0.68, 0.69),
        "gradual_unfreezing": (0.62, 0.68, 0.71),
        "probe_then_full": (0.61, 0.66, 0.68, 0.75, 0.77, 0.78),
        "lora rank=4": (0.60, 0.72, 0.76),
    }
    runs = [
        run(label, seed, [score + 0.008 * (seed - 2) for score in scores], probe=3 * (label == "probe_then_full"))
        for label, scores in courses.items()
        for seed in (1, 2, 3)
    ]
    return comparison(*rows, seeds=(1, 2, 3), fractions=FRACTIONS, runs=runs)
