"""A tower: a view of one encoder that answers `encode`, and names its parts in one vocabulary."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from .encoding import Encoding
from .layers import is_linear, is_norm
from .layouts import Part, layout_of
from .reading import masked
from .wrapped import BASE, innermost, is_wrapper

CACHED_STATE = "state"
CACHED_DEPTH = "state_depth"
KEPT_TOKENS = "keep_tokens"

# The tower that writes tokens beside an encoder; every other one is named after what it reads.
DECODER = "decoder"

_OWN_POOLING = "pooler"


class Tower:
    """One encoder of a model, whichever library it came from.

    module: the encoder; it owns its weights, the tower owns nothing.
    forward: (module, inputs) -> (tokens (B, T, D) or a map (B, D, H, W) or None, pooled (B, D) or None).
    pool: how a row becomes one vector: `mean` over real tokens, `first` or `last` real token, or `own` (the
        architecture's own pooled output).
    project: applied to the pooled vector (a dual encoder's projection).
    normalize: divide the pooled vector by its length (sentence encoders that were trained so).
    prepare: (dataset, role) -> model inputs by row, see `inputs.py`.
    prepare_pair: (dataset, role, role) -> two texts of every row as one sequence; None where the encoder has none.
    """

    prepare_pair: Callable | None = None

    def __init__(
        self,
        module: nn.Module,
        modality: str,
        forward: Callable,
        prepare: Callable,
        *,
        pool: str = "own",
        project: nn.Module | None = None,
        normalize: bool = False,
        skip_tokens: int = 0,
    ):
        self.module, self.modality, self.forward, self.prepare = module, modality, forward, prepare
        self.pool, self.project, self.normalize, self.skip_tokens = pool, project, normalize, skip_tokens
        self.layout = layout_of(module)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self.module.get_submodule(self.layout.blocks) if self.layout.blocks else ()

    @property
    def depth(self) -> int:
        return len(self.blocks)

    @property
    def prefix_tokens(self) -> int:
        """How many tokens (class, distillation, registers) stand before those of the patches."""
        return int(getattr(self.module, "num_prefix_tokens", self.layout.prefix_tokens))

    @property
    def patch(self) -> nn.Conv2d:
        """The convolution that turns square patches of an image into tokens.

        Raises LookupError where the encoder has none.
        """
        for module in self.module.modules():
            if isinstance(module, nn.Conv2d):
                if module.kernel_size == module.stride and len(set(module.stride)) == 1 and module.stride[0] > 1:
                    return module
                break
        raise LookupError(f"{type(self.module).__name__} does not read an image as square patches")

    def parts(self, *patterns: str) -> list[Part]:
        """The parts whose names match any of these patterns (`block.*.attention.*`, `block.5.ffn.in`, `norm`).

        Raises LookupError, naming what the layout knows, where a pattern matches nothing.
        """
        known = list(self._all_parts())
        found = [part for part in known if any(fnmatch.fnmatchcase(part.name, p) for p in patterns)]
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(part.name, pattern) for part in known):
                kinds = sorted({_without_index(part.name) for part in known})
                raise LookupError(
                    f"{type(self.module).__name__} has no part {pattern!r}; known here: {', '.join(kinds)}"
                )
        return found

    def _all_parts(self) -> Iterator[Part]:
        layout = self.layout
        if layout.embed:
            yield Part("embed", layout.embed, self.module.get_submodule(layout.embed))
        for i in range(self.depth):
            root = f"{layout.blocks}.{i}"
            yield Part(f"block.{i}", root, self.module.get_submodule(root))
            for name, place in (*layout.parts.items(), *layout.cross.items()):
                path = _with_last(self.module, f"{root}.{place.path}")
                try:
                    module = self.module.get_submodule(path)
                except AttributeError:
                    continue
                yield Part(f"block.{i}.{name}", path, module, place.slice, place.transposed)
        if layout.norm:
            yield Part("norm", layout.norm, self.module.get_submodule(layout.norm))

    def linears(self) -> list[tuple[str, nn.Module]]:
        """(path, module) of every linear or convolutional layer: what is known on any architecture.

        Where a layer is wrapped, the outermost wrapper.
        """
        return [(path, module) for path, module in self._layers() if is_linear(innermost(path, module)[1])]

    def norms(self) -> list[tuple[str, nn.Module]]:
        """(path, module) of every norm layer that has weights; where it is wrapped, the outermost wrapper."""
        return [(path, module) for path, module in self._layers() if is_norm(innermost(path, module)[1])]

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(path, parameter) of the encoder, in the order of its modules, but for a pooling of its own that is not
        read."""
        for name, parameter in self.module.named_parameters():
            if not self._is_unread(name):
                yield name, parameter

    def _layers(self) -> Iterator[tuple[str, nn.Module]]:
        for path, module in _called("", self.module, set()):
            if not self._is_unread(path):
                yield path, module

    def _is_unread(self, path: str) -> bool:
        return self.pool != "own" and path.partition(".")[0] == _OWN_POOLING

    def encode(self, inputs: dict[str, Tensor], keep: Sequence[str] = ()) -> Encoding:
        """inputs: what `prepare(...).batch(rows)` gives. keep: part names whose outputs are recorded.

        Where inputs hold a cached state (B, ...) of the first `state_depth` blocks, those blocks are left out.
        Where they hold `keep_tokens` (B, K), indices among the tokens after the prefix tokens, the blocks see those
        and the prefix tokens alone, in that order.
        """
        inputs = dict(inputs)
        state, depth = inputs.pop(CACHED_STATE, None), int(inputs.pop(CACHED_DEPTH, 0))
        kept = inputs.pop(KEPT_TOKENS, None)
        with self.recorded(*keep) as states, ExitStack() as stack:
            if state is not None:
                stack.enter_context(self._resumed(state, depth))
            if kept is not None:
                if state is not None or "attention_mask" in inputs:
                    raise ValueError("keep_tokens goes with neither a cached state nor an attention mask")
                stack.callback(self._keeping(kept).remove)
            mask = inputs.get("attention_mask")
            if mask is not None and mask.ndim != 2:
                # Who attends to whom, rather than which tokens are real.
                mask = None
            stack.enter_context(masked(mask))
            tokens, pooled = self.forward(self.module, inputs)
        mapped = tokens if tokens is not None and tokens.ndim == 4 else None
        tokens = None if mapped is not None else tokens
        pooled = self._pooled(tokens, pooled, mask)
        return Encoding(pooled, tokens, None if mask is None else mask.bool(), states, mapped)

    @contextmanager
    def recorded(self, *keep: str) -> Iterator[dict[str, Tensor]]:
        """Inside, what these parts return at their latest call stands in the dict, by part name."""
        states: dict[str, Tensor] = {}
        with ExitStack() as stack:
            for part in self.parts(*keep) if keep else ():
                stack.callback(part.module.register_forward_hook(_recorder(states, part.name)).remove)
            yield states

    def feature_map(self, encoding: Encoding) -> Tensor:
        """(B, D, H, W): the last states as a map, a vector a patch of the image.

        Raises LookupError where they are not those of a square grid.
        """
        if encoding.map is not None:
            return encoding.map
        patches = None if encoding.tokens is None else encoding.tokens[:, self.prefix_tokens :]
        side = 0 if patches is None else math.isqrt(patches.shape[1])
        if not side or side * side != patches.shape[1]:
            raise LookupError(f"{type(self.module).__name__} gives no square map of an image")
        return patches.transpose(1, 2).unflatten(2, (side, side))

    def _keeping(self, kept: Tensor):
        """Handle of a hook that gives the first block the prefix tokens and the kept ones, no others."""
        prefix = self.prefix_tokens
        positions = torch.arange(prefix, device=kept.device).expand(len(kept), -1)
        positions = torch.cat([positions, kept + prefix], dim=1)
        rows = torch.arange(len(kept), device=kept.device).unsqueeze(1)

        def select(module: nn.Module, args: tuple, kwargs: dict):
            if args:
                return (args[0][rows, positions], *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": kwargs["hidden_states"][rows, positions]}

        return self.blocks[0].register_forward_pre_hook(select, with_kwargs=True)

    def _pooled(self, tokens: Tensor | None, pooled: Tensor | None, mask: Tensor | None) -> Tensor:
        if self.pool != "own" and tokens is not None:
            pooled = pool_tokens(tokens[:, self.skip_tokens :], mask, self.pool)
        if self.project is not None:
            pooled = self.project(pooled)
        if self.normalize:
            pooled = nn.functional.normalize(pooled.float(), dim=-1)
        return pooled

    def state_before(self, inputs: dict[str, Tensor], depth: int) -> Tensor:
        """What block `depth` reads: (B, T, D) or (B, C, H, W). The blocks from there on are not run.

        At depth `self.depth`: what the last block returns.
        """

        class Reached(Exception):
            pass

        def stop_before(module: nn.Module, args: tuple, kwargs: dict):
            found.append(args[0] if args else kwargs["hidden_states"])
            raise Reached

        def stop_after(module: nn.Module, args: tuple, output):
            found.append(output[0] if isinstance(output, tuple) else output)
            raise Reached

        found: list[Tensor] = []
        if depth < self.depth:
            handle = self.blocks[depth].register_forward_pre_hook(stop_before, with_kwargs=True)
        else:
            handle = self.blocks[-1].register_forward_hook(stop_after)
        try:
            self.forward(self.module, inputs)
        except Reached:
            return found[0]
        finally:
            handle.remove()
        raise RuntimeError(f"{type(self.module).__name__} does not run block {depth}")

    @contextmanager
    def _resumed(self, state: Tensor, depth: int) -> Iterator[None]:
        """The architecture's own forward, entered at block `depth` with this state."""
        owner_path, _, name = self.layout.blocks.rpartition(".")
        owner = self.module.get_submodule(owner_path) if owner_path else self.module
        blocks = getattr(owner, name)
        with ExitStack() as stack:
            if depth < len(blocks):
                kept = blocks[depth:]
                handle = kept[0].register_forward_pre_hook(_enter_with(state), with_kwargs=True)
                stack.callback(handle.remove)
            else:
                kept = blocks[-1:]
                stack.enter_context(answering(kept[0], state))
            if self.layout.embed_is_state:
                stack.enter_context(answering(self.module.get_submodule(self.layout.embed), state))
            stack.callback(owner._modules.__setitem__, name, blocks)
            owner._modules[name] = type(blocks)(*kept) if isinstance(blocks, nn.Sequential) else nn.ModuleList(kept)
            yield


def _called(path: str, module: nn.Module, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    """(path, module) of the modules of the architecture, each once; of a layer with wrappers the outermost one."""
    if id(module) in seen:
        return
    seen.add(id(module))
    yield path, module
    children = module._modules
    if is_wrapper(module):
        core = innermost(path, module)[1]
        children = {} if is_linear(core) or is_norm(core) else {BASE: children[BASE]}
    elif isinstance(module, nn.MultiheadAttention):
        # Torch's computes with its children's weights and never calls them.
        children = {}
    for name, child in children.items():
        if child is not None:
            yield from _called(f"{path}.{name}" if path else name, child, seen)


def _enter_with(state: Tensor) -> Callable:
    def enter(module: nn.Module, args: tuple, kwargs: dict):
        if args:
            return (state, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": state}

    return enter


@contextmanager
def answering(module: nn.Module, state: Tensor) -> Iterator[None]:
    """The module answers with this state, and computes nothing."""
    module.forward = lambda *args, **kwargs: state
    try:
        yield
    finally:
        del module.forward


def pool_tokens(tokens: Tensor, mask: Tensor | None, how: str) -> Tensor:
    """(B, T, D) -> (B, D): `mean` over real tokens, the `first`, or the `last` real one."""
    if how == "first":
        return tokens[:, 0]
    if mask is None:
        return tokens.mean(1) if how == "mean" else tokens[:, -1]
    if how == "last":
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        last = (positions * mask.long()).argmax(1)
        return tokens[torch.arange(len(tokens), device=tokens.device), last]
    weights = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weights).sum(1) / weights.sum(1).clamp_min(1e-9)


def _recorder(states: dict[str, Tensor], name: str) -> Callable:
    def record(module: nn.Module, args: tuple, output):
        states[name] = output[0] if isinstance(output, tuple) else output

    return record


def _with_last(module: nn.Module, path: str) -> str:
    """The path with `-1` replaced by the name of the last child there."""
    start, found, rest = path.partition(".-1.")
    return f"{start}.{list(module.get_submodule(start)._modules)[-1]}.{rest}" if found else path


def _without_index(name: str) -> str:
    return ".".join("*" if piece.isdigit() else piece for piece in name.split("."))
