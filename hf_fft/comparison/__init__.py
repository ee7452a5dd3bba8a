"""Strategies side by side on one recipe: planned, run in processes of their own, gathered and judged.

Nothing here imports torch until something has to be computed, so that a comparison that is finished prints at once.
"""

from hf_fft.comparison.choices import STRATEGY_NAMES, Wish, for_strategy
from hf_fft.comparison.flow import COMPARISON_FILE, run_comparison, stored_record
from hf_fft.comparison.settings import RATES_FRACTION, Settings, SettingsKeywords

__all__ = [
    "COMPARISON_FILE",
    "RATES_FRACTION",
    "STRATEGY_NAMES",
    "Settings",
    "SettingsKeywords",
    "Wish",
    "for_strategy",
    "run_comparison",
    "stored_record",
]
