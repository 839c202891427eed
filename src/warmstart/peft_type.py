"""The classes behind peft's type `WARMSTART`; imported only where peft is."""

from __future__ import annotations

from dataclasses import dataclass, field

from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

PEFT_TYPE = "WARMSTART"
_IN_PEFT = "base_model.model."


@dataclass
class WarmstartConfig(PeftConfig):
    """tuners: specifications {name: {parameter: value}} in the order in which they were applied.

    towers: the encoders they were applied to, and how each pools: {modality: {pool, normalize, skip_tokens}}.
    """

    tuners: list[dict] = field(default_factory=list)
    towers: dict[str, dict] = field(default_factory=dict)
    target_modules: list[str] | None = None

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PEFT_TYPE


class WarmstartAdapter(BaseTuner):
    """Applies our tuners, built by name, to a model that transformers loaded.

    What they add is whatever lives in modules with a `base_layer`; it has the same names in the model and in the
    file, so a model holds one such adapter.
    """

    prefix = "warmstart_"
    tuner_layer_cls = BaseTunerLayer
    target_module_mapping: dict = {}

    def inject_adapter(self, model: nn.Module, adapter_name: str, **unused) -> None:
        from .engine.saving import shape_towers
        from .ingredients import build
        from .models.loaders import around

        config = self.peft_config[adapter_name]
        view = around(model)
        shape_towers(view, config.towers)
        tuners = [build("tuners", spec) for spec in config.tuners]
        for tuner in tuners:
            tuner.apply(view)
        if config.inference_mode:
            model.requires_grad_(False)
        # In a tuple, so that the view's weights are not registered a second time.
        self._applied = (view, tuners)

    @classmethod
    def _get_adapter_state_dict(cls, model, config, adapter_name, state_dict, unwanted_adapter_names):
        from .models.wrapped import split_state

        inner = model.base_model.model if hasattr(model, "base_model") else model
        return {_IN_PEFT + name: state_dict[_IN_PEFT + name] for name in split_state(inner)[1]}

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        return key

    @classmethod
    def _remap_adapter_state_dict_for_load(cls, model, config, adapter_name, state_dict) -> dict[str, Tensor]:
        return state_dict

    def merge_and_unload(self, *args, **kwargs) -> nn.Module:
        """The plain model with the change written into its weights.

        Raises ValueError where a tuner has no plain weights to fold into.
        """
        from .engine.folding import fold_all

        fold_all(*self._applied)
        return self.model

    def _unload_and_optionally_merge(self, *args, **kwargs):
        raise NotImplementedError("warmstart's tuners are merged with merge_and_unload, and cannot be unloaded")

    def _enable_adapter_layers(self, enabled: bool = True) -> None:
        if not enabled:
            raise NotImplementedError("warmstart's tuners cannot be switched off: load the base model alone")

    def _create_and_replace(self, *args, **kwargs) -> None:
        raise NotImplementedError("tuners find their layers themselves")
