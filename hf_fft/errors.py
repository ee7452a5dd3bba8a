"""Everything that hf_fft raises on purpose, in one tree.

    HfFftError
    ├── RecipeError         what is asked for cannot be asked for
    ├── DataError           the data are not what the task needs
    ├── StrategyError       this model cannot be trained that way
    ├── TrainingError       training had to stop: a loss that is not a number
    ├── RunFolderError      the run folder belongs to another run, or is not one
    ├── PublishingError     the model could not be brought to the Hub; it is safe in the run folder
    └── MissingExtraError   an optional package is not installed

A message says what was expected, what was found, and what to do. Every class carries the exit code with which the
command line ends when it meets one.
"""

from __future__ import annotations


class HfFftError(Exception):
    """Base of all errors that a user can do something about."""

    exit_code = 1


class RecipeError(HfFftError):
    """A recipe that cannot be run; `faults` holds one line for each fault."""

    exit_code = 2

    def __init__(self, message: str, faults: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults or (message,)


class DataError(HfFftError):
    """Rows, columns, labels or files that the task cannot use."""

    exit_code = 2


class StrategyError(HfFftError):
    """A strategy that makes no sense for this model."""

    exit_code = 2


class TrainingError(HfFftError):
    """Training that cannot go on, for example after a loss that is not finite."""

    exit_code = 6


class RunFolderError(HfFftError):
    """A folder that is not a run folder, is in use, or holds another run."""

    exit_code = 5


class PublishingError(HfFftError):
    """A model that did not reach the Hub, or should not."""

    exit_code = 9


class MissingExtraError(HfFftError):
    """An optional dependency that is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs an optional package: pip install "hf_fft[{extra}]"')
