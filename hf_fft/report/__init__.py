"""How results are shown: tables, pictures and a model card. Draws and writes; computes nothing anew."""

from hf_fft.report.card import model_card
from hf_fft.report.comparison import comparison_markdown, comparison_table
from hf_fft.report.comparison_plots import write_comparison_plots
from hf_fft.report.plots import TrainingVisualizer, write_plots
from hf_fft.report.published import publication_message, published_texts
from hf_fft.report.table import result_table, scores_table

__all__ = [
    "TrainingVisualizer",
    "comparison_markdown",
    "comparison_table",
    "model_card",
    "publication_message",
    "published_texts",
    "result_table",
    "scores_table",
    "write_comparison_plots",
    "write_plots",
]
