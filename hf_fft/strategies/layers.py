"""Layer groups: a model's parameters from the bottom up, each exactly once.

No table of architectures. The blocks are the children of the outermost `ModuleList`s inside the backbone
(`model.base_model`); whatever stands before them is the bottom group, whatever comes after them is the head. A
parameter between two blocks joins the block before it, and an embedding table that is only registered late (MPNet's
relative positions, DeBERTa's) belongs to the bottom, for every block reads it. Order of registration is not order of
use, so outside the blocks two kinds of names are read as well: BART's `layernorm_embedding` comes after its layers, and
OPT's `final_layer_norm` before them. Lists of equal length side by side (XLM's attentions, norms and feed-forwards) are
one stack cut lengthwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

BOTTOM = "embeddings"
HEAD = "head"

_READ_BY_EVERY_BLOCK = re.compile("embed|relative|rel_pos")
_AFTER_THE_BLOCKS = re.compile("(^|_)(final|out)(_|$)")


@dataclass(frozen=True)
class LayerGroup:
    """A named set of parameters that open, freeze and learn together.

    Attributes:
        name: `embeddings`, `layer 0`, …, `head`; with the list's name in front where there are several lists.
        parameters: Their names in the model.
    """

    name: str
    parameters: tuple[str, ...]


def layer_groups(model: nn.Module) -> list[LayerGroup]:
    """Split a model's parameters into layer groups, bottom first and head last.

    Every parameter stands in exactly one group. Groups without parameters are left out, so a language model whose head
    is tied to its embeddings has no head group, or one that holds the final norm alone. A model that adapters are
    wrapped around has the groups that it has without them.
    """
    unwrapped = getattr(model, "get_base_model", None)
    inner = model if unwrapped is None else unwrapped()
    prefix = next(f"{name}." if name else "" for name, module in model.named_modules() if module is inner)
    groups = [
        LayerGroup(group.name, tuple(f"{prefix}{name}" for name in group.parameters)) for group in _groups_of(inner)
    ]
    assert sum(len(group.parameters) for group in groups) == len(list(model.parameters()))
    return groups


def _groups_of(model: nn.Module) -> list[LayerGroup]:
    blocks = _blocks(model)
    names = _group_names(blocks)
    members: dict[str, list[str]] = {BOTTOM: [], **{name: [] for name in names.values()}, HEAD: []}
    here = BOTTOM
    for parameter in (name for name, _ in model.named_parameters()):
        block = next((path for path in blocks if parameter.startswith(path + ".")), None)
        if block is not None:
            here = names[block]
            members[here].append(parameter)
        else:
            members[_place_outside(model, parameter, blocks, here)].append(parameter)
    return [LayerGroup(name, tuple(parameters)) for name, parameters in members.items() if parameters]


def new_head(model: nn.Module) -> set[str]:
    """Return the names of the parameters outside the backbone: the head that the task brought."""
    inside = {id(parameter) for parameter in backbone(model).parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) not in inside}


def has_tied_output(model: nn.Module) -> bool:
    """Say whether the output layer is the backbone's embeddings again: what stands around it is pretrained, not new."""
    output = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
    inside = {id(parameter) for parameter in backbone(model).parameters()}
    return output is not None and any(id(parameter) in inside for parameter in output.parameters())


def shared_layers(model: nn.Module) -> tuple[int, int] | None:
    """Return how deep a model is and how many sets of weights its layers have; None where each has its own."""
    config = getattr(model, "config", None)
    depth = getattr(config.get_text_config(), "num_hidden_layers", None) if config is not None else None
    modules = dict(model.named_modules())
    blocks = [modules[path] for path in _blocks(model)]
    sets = sum(len(block) if isinstance(block, nn.ModuleList) else 1 for block in blocks)
    return (depth, sets) if isinstance(depth, int) and 0 < sets < depth else None


def layer_lists(model: nn.Module) -> list[nn.ModuleList]:
    """Return the lists of layers inside the backbone, in the model's order."""
    modules = dict(model.named_modules())
    lists = [modules[path] for path in dict.fromkeys(_blocks(model).values())]
    return [one for one in lists if isinstance(one, nn.ModuleList)]


def backbone(model: nn.Module) -> nn.Module:
    """Return the pretrained body: `model.base_model`, or the model itself where there is none."""
    return getattr(model, "base_model", model)


def _blocks(model: nn.Module) -> dict[str, str]:
    """Map the path of every block to the path of the list that holds it, in the model's order."""
    body = backbone(model)
    prefix = next((name for name, module in model.named_modules() if module is body), "")
    found: dict[str, str] = {}
    for name, module in body.named_modules(prefix=prefix):
        if not isinstance(module, nn.ModuleList) or any(f"{name}.".startswith(f"{path}.") for path in found):
            continue
        children = [(f"{name}.{child}", block) for child, block in module.named_children()]
        if children and all(_has_parameters(block) for _, block in children):
            found.update({path: name for path, _ in children})
    return found


def _group_names(blocks: dict[str, str]) -> dict[str, str]:
    sizes = Counter(blocks.values())
    first: dict[tuple[str, int], str] = {}
    stack = {path: first.setdefault((path.rpartition(".")[0], size), path) for path, size in sizes.items()}
    lists = list(first.values())
    stems = {path: f"{path.split('.')[-2]} " if len(lists) > 1 and "." in path else "" for path in lists}
    if len(set(stems.values())) < len(lists):
        stems = {path: f"{part} " for path, part in _first_difference(lists).items()}
    if len(set(stems.values())) < len(lists):
        stems = {path: f"{path} " for path in lists} if len(lists) > 1 else stems
    return {block: f"{stems[stack[owner]]}layer {block.rsplit('.', 1)[1]}" for block, owner in blocks.items()}


def _first_difference(paths: list[str]) -> dict[str, str]:
    """Map each path to its part at the first place where the paths are not all the same."""
    parts = {path: path.split(".") for path in paths}
    columns = zip(*parts.values(), strict=False)
    place = next((index for index, column in enumerate(columns) if len(set(column)) > 1), 0)
    return {path: some[place] for path, some in parts.items()}


def _place_outside(model: nn.Module, parameter: str, blocks: dict[str, str], here: str) -> str:
    """Say which group takes a parameter that stands in no block; `here` is the last block's group so far."""
    owner, _, _ = parameter.rpartition(".")
    body = backbone(model)
    inside = any(module is model.get_submodule(owner) for module in body.modules()) if owner else body is model
    if not inside:
        return HEAD if blocks or body is not model else BOTTOM
    container_of_owner, _, role = owner.rpartition(".")
    if isinstance(model.get_submodule(owner), nn.Embedding) or _READ_BY_EVERY_BLOCK.search(role):
        return BOTTOM
    names = _group_names(blocks)
    if here == BOTTOM:
        beside = [block for block, path in blocks.items() if path.rpartition(".")[0] == container_of_owner]
        if not beside or not _AFTER_THE_BLOCKS.search(role):
            return BOTTOM
        here = names[beside[-1]]
    last_block, last_list = list(blocks.items())[-1]
    container = last_list.rpartition(".")[0]
    passed_every_block = here == names[last_block]
    beside_the_blocks = parameter.startswith(container + ".") and model.get_submodule(container) is not body
    return HEAD if passed_every_block and not beside_the_blocks else here


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def trainable_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters that receive gradients, with their names."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
