"""What is asked for: the recipe, its parts, and how one is read from JSON."""

from hf_fft.recipe.override import with_values
from hf_fft.recipe.read import load_recipe, recipe_from, recipe_name, shipped_recipes
from hf_fft.recipe.records import (
    DEFAULT_LEARNING_RATES,
    AutoSpeedRecipe,
    DataRecipe,
    EarlyStoppingRecipe,
    FeatureBasedRecipe,
    FullRecipe,
    GradualUnfreezingRecipe,
    LoraRecipe,
    ModelRecipe,
    PlainSpeedRecipe,
    ProbeThenFullRecipe,
    Recipe,
    SpeedRecipe,
    StrategyRecipe,
)
from hf_fft.recipe.task_records import (
    CausalLanguageModelingRecipe,
    GenerationRecipe,
    GenerativeQuestionAnsweringRecipe,
    MaskedLanguageModelingRecipe,
    QuestionAnsweringRecipe,
    TaskRecipe,
    TextClassificationRecipe,
    TextGenerationRecipe,
    TokenClassificationRecipe,
)
from hf_fft.recipe.training_names import TrainingRecipe

__all__ = [
    "DEFAULT_LEARNING_RATES",
    "AutoSpeedRecipe",
    "CausalLanguageModelingRecipe",
    "DataRecipe",
    "EarlyStoppingRecipe",
    "FeatureBasedRecipe",
    "FullRecipe",
    "GenerationRecipe",
    "GenerativeQuestionAnsweringRecipe",
    "GradualUnfreezingRecipe",
    "LoraRecipe",
    "MaskedLanguageModelingRecipe",
    "ModelRecipe",
    "PlainSpeedRecipe",
    "ProbeThenFullRecipe",
    "QuestionAnsweringRecipe",
    "Recipe",
    "SpeedRecipe",
    "StrategyRecipe",
    "TaskRecipe",
    "TextClassificationRecipe",
    "TextGenerationRecipe",
    "TokenClassificationRecipe",
    "TrainingRecipe",
    "load_recipe",
    "recipe_from",
    "recipe_name",
    "shipped_recipes",
    "with_values",
]
