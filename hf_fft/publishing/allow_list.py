"""Which files of a run belong on the Hub, by name, and which of those in a repository an earlier model may have left.

Whatever is not named here stays on this machine: logs, checkpoints, predictions, `training_args.bin`, a model's code.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

MODEL = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "sentencepiece.model",
    "source.spm",
    "target.spm",
    "target_vocab.json",
    "vocab-src.json",
    "vocab-tgt.json",
    "bpe.codes",
    "dict.txt",
    "entity_vocab.json",
    "prophetnet.tokenizer",
    "tiktoken.model",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
)
ADAPTER = ("adapter/adapter_config.json", "adapter/adapter_model.safetensors")
TEXTS = ("README.md", "recipe.json", "result.json")

# In a repository that a trainer pushed to: other weights than ours would be loaded in their place.
LEFT_BY_OTHERS = (
    "pytorch_model.bin",
    "pytorch_model-*-of-*.bin",
    "pytorch_model.bin.index.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "training_args.bin",
)


def belongs(path: str, patterns: tuple[str, ...]) -> bool:
    """Say whether a path, from the top of the repository, is one of these."""
    # fnmatch's * also takes a slash, so folders must agree as well.
    return any(fnmatchcase(path, one) and path.count("/") == one.count("/") for one in patterns)


def may_be_stale(path: str) -> bool:
    """Say whether a file of a repository is part of a model, so that a new model takes its place."""
    return belongs(path, MODEL + ADAPTER + TEXTS + LEFT_BY_OTHERS)
