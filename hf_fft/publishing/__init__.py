"""A finished run goes to the Hub: chosen by an allow-list, looked through for secrets, committed once."""

from hf_fft.publishing.publication import PUBLICATION_FILE, Destination, Publication, read_publication
from hf_fft.publishing.publish import planned_files, publish, retry_command

__all__ = [
    "PUBLICATION_FILE",
    "Destination",
    "Publication",
    "planned_files",
    "publish",
    "read_publication",
    "retry_command",
]
