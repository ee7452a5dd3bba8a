"""Raw text: data sets in, data sets out.

Any source (Hub, files, wheels) becomes three splits of rows with typed columns, and a report says what is in them.
Nothing here knows tokens or models.
"""

from hf_fft.data.columns import numbers, require_columns, require_text
from hf_fft.data.hub_faults import hub_fault
from hf_fft.data.labels import class_labels, label_columns, label_lists
from hf_fft.data.report import DataReport, SplitReport, TokenLengths, data_report, label_counts
from hf_fft.data.sources import read_source
from hf_fft.data.splits import Splits, TaskColumns, load_splits
from hf_fft.data.tag_columns import count_types, require_words, tag_lists
from hf_fft.data.tags import entity_type, join_tag, spell_entities
from hf_fft.data.wheels import fetch, is_wheel_path

__all__ = [
    "DataReport",
    "SplitReport",
    "Splits",
    "TaskColumns",
    "TokenLengths",
    "class_labels",
    "count_types",
    "data_report",
    "entity_type",
    "fetch",
    "hub_fault",
    "is_wheel_path",
    "join_tag",
    "label_columns",
    "label_counts",
    "label_lists",
    "load_splits",
    "numbers",
    "read_source",
    "require_columns",
    "require_text",
    "require_words",
    "spell_entities",
    "tag_lists",
]
