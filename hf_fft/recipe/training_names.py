"""The `training` section: every field of `transformers.TrainingArguments` by HF's own name, and nothing else.

hf_fft adds no training options of its own. The names and types come from the installed transformers
(`training_source`), a few obvious ranges are added here because HF checks hardly any (a negative learning rate trains
happily), and the fields that hf_fft decides itself are refused with the reason (`renamed`).
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, create_model, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from hf_fft.recipe.renamed import REFUSED
from hf_fft.recipe.training_source import training_fields

POSITIVE = Field(gt=0)
NOT_NEGATIVE = Field(ge=0)
AT_LEAST_ONE = Field(ge=1)
BELOW_ONE = Field(ge=0, lt=1)

RANGES: dict[str, Any] = {
    "learning_rate": POSITIVE,
    "num_train_epochs": NOT_NEGATIVE,
    "max_steps": Field(ge=-1),
    "warmup_steps": NOT_NEGATIVE,
    "per_device_train_batch_size": AT_LEAST_ONE,
    "per_device_eval_batch_size": AT_LEAST_ONE,
    "gradient_accumulation_steps": AT_LEAST_ONE,
    "max_grad_norm": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "adam_beta1": BELOW_ONE,
    "adam_beta2": BELOW_ONE,
    "adam_epsilon": NOT_NEGATIVE,
    "label_smoothing_factor": BELOW_ONE,
    "neftune_noise_alpha": NOT_NEGATIVE,
    "torch_empty_cache_steps": AT_LEAST_ONE,
    "logging_steps": POSITIVE,
    "eval_steps": POSITIVE,
    "eval_delay": NOT_NEGATIVE,
    "eval_accumulation_steps": AT_LEAST_ONE,
    "save_steps": POSITIVE,
    "save_total_limit": AT_LEAST_ONE,
    "dataloader_num_workers": NOT_NEGATIVE,
    "dataloader_prefetch_factor": AT_LEAST_ONE,
    "ddp_bucket_cap_mb": AT_LEAST_ONE,
    "ddp_timeout": AT_LEAST_ONE,
}


@cache
def training_record() -> type[BaseModel]:
    """Return the strict record that checks a `training` section, built from the installed transformers."""
    taken = {name: annotation for name, annotation in training_fields().items() if name not in REFUSED}
    fields: dict[str, Any] = {
        name: (Annotated[annotation, RANGES[name]] if name in RANGES else annotation, None)
        for name, annotation in taken.items()
    }
    config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    return create_model("TrainingFields", __config__=config, **fields)


class TrainingRecipe(BaseModel):
    """Fields of `transformers.TrainingArguments`, by HF's own names; those left out keep the defaults."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _take_only_training_arguments(cls, values: Any) -> Any:
        # The default, an empty section, must not cost every import of the records a parse of transformers.
        if not isinstance(values, dict) or not values:
            return values
        return training_record().model_validate(values).model_dump(exclude_unset=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = training_record().model_json_schema()["properties"]
        properties = {
            name: {key: value for key, value in field.items() if key not in ("default", "title")}
            | {"description": name}
            for name, field in described.items()
        }
        return {
            "type": "object",
            "title": "TrainingRecipe",
            "description": (cls.__doc__ or "").strip(),
            "properties": properties,
            "additionalProperties": False,
        }

    def values(self) -> dict[str, Any]:
        """Return what the recipe says about training, as keyword arguments for TrainingArguments."""
        return dict(self.__pydantic_extra__ or {})
