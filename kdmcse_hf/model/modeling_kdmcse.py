"""`KDMCSEModel`: a text encoder with the projection heads and objectives of the KDMCSE paper."""

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.initialization import normal_, zeros_
from transformers.utils import ModelOutput, logging

from ..encoding.declared_pooling import find_pooling, write_sentence_transformers_files
from ..encoding.directions import check_directions
from ..encoding.embed import embed_sentences
from ..encoding.loading import HUB_OPTIONS, hidden_size, load_config, load_text_encoder
from ..encoding.support import packing_support
from ..errors import InputError
from .configuration_kdmcse import KDMCSEConfig
from .objectives import Objective, all_values, load_objective, objective_class
from .repository import load_heads, save_heads

logger = logging.get_logger(__name__)


@dataclass
class KDMCSEOutput(ModelOutput):
    """
    loss (`torch.Tensor`, scalar, *optional*):
        What is minimised: the weighted sum that the objective makes of its parts.
    sentence_embeddings (`torch.Tensor`, (B, V, H)):
        Pooled last hidden states of the V views or sentences of each row.
    simcse_loss, image_loss, text_loss, rank_loss (`torch.Tensor`, scalar, *optional*):
        Unweighted parts of the package's objectives; all but the first on caption batches only. An objective of the
        user's own may add more, whose names end in `_loss`.
    """

    loss: torch.Tensor | None = None
    sentence_embeddings: torch.Tensor | None = None
    simcse_loss: torch.Tensor | None = None
    image_loss: torch.Tensor | None = None
    text_loss: torch.Tensor | None = None
    rank_loss: torch.Tensor | None = None


class KDMCSEModel(PreTrainedModel):
    """A text encoder f_theta with an objective: projection heads g_phi and losses.

    Args:
        config: the encoder's configuration and the values of the objective.
        encoder: a ready encoder; without it a fresh one is made from `config.encoder`.

    Raises:
        ValueError: an objective without the teacher width it needs, or an encoder that is no text encoder.
    """

    config: KDMCSEConfig
    objective: Objective
    config_class = KDMCSEConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    # The wrapper computes no attention itself. Backends depend on the encoder alone, which has validated them.
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True

    def __init__(self, config: KDMCSEConfig, encoder: PreTrainedModel | None = None):
        super().__init__(config)
        self.encoder = AutoModel.from_config(config.encoder, trust_remote_code=False) if encoder is None else encoder
        _freeze_unused_pooler(self.encoder)
        packing_support(self.encoder)  # now: an attention implementation set later would break checkpointing
        self.objective = objective_class(config.objective)(config, hidden_size(self.encoder))
        self.post_init()

    def _init_weights(self, module: nn.Module):
        """Heads start as BERT's dense layers do; the encoder's own weights are never touched."""
        if isinstance(module, nn.Linear):
            normal_(module.weight, std=getattr(self.config.encoder, "initializer_range", 0.02))
            zeros_(module.bias)

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's token embeddings."""
        return self.encoder.get_input_embeddings()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        image_embeds: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        image_ids: torch.Tensor | None = None,
        return_loss: bool = True,
        mini_batch_size: int | None = None,
        lengths: Sequence[int] | None = None,
        slots: torch.Tensor | None = None,
    ) -> KDMCSEOutput:
        """Embed V sentences a row, and train on them where they are V = 2 dropout views of one.

        Args:
            input_ids, attention_mask: (B, V, L) int.
            image_embeds, text_embeds: (B, image_dim), (B, text_dim) teacher features of a caption batch.
            image_ids: (B,) int; captions that share one are no negatives of each other, unless the configuration's
                `mask_same_image` is false.
            return_loss: False to embed only, as for sentences to be scored.
            mini_batch_size: rows whose activations are held at once (gradient caching); None for all.
            lengths: tokens of the B * V sentences, row by row, as Python numbers; read from the mask if None, for
                which a GPU has to wait.
            slots: (T,) places of their tokens (`encoding.slots`), under `torch.compile` in place of `lengths`.
        """
        views = input_ids.shape[1]
        batch_size = mini_batch_size and mini_batch_size * views
        flat = self.embed(input_ids.flatten(0, 1), attention_mask.flatten(0, 1), batch_size, lengths, slots)
        embeddings = flat.unflatten(0, input_ids.shape[:2])  # (B, V, H)
        output = KDMCSEOutput(sentence_embeddings=embeddings)
        if return_loss:
            columns = {"image_embeds": image_embeds, "text_embeds": text_embeds, "image_ids": image_ids}
            for name, part in self.compute_losses(embeddings, **columns).items():
                output[name] = part
        return output

    def embed(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        batch_size: int | None = None,
        lengths: Sequence[int] | None = None,
        slots: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(N, L) ids and mask -> (N, H) sentence embeddings, f_theta(x, z) of the paper.

        No padding is computed where the encoder allows it (`encoding.support`). With `batch_size`, only so many
        sentences' activations are held at a time: the embeddings are kept, and when their gradients are known the
        sentences are encoded again, part by part, under the same dropout masks.
        """
        pooling = self.config.pooling
        return embed_sentences(self.encoder, input_ids, attention_mask, pooling, lengths, batch_size, slots)

    def compute_losses(
        self,
        embeddings: torch.Tensor,
        image_embeds: torch.Tensor | None = None,
        text_embeds: torch.Tensor | None = None,
        image_ids: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """(B, 2, H) sentence embeddings -> `loss` and its parts (Algorithm 1: grounded ones for caption batches)."""
        if not self.config.mask_same_image:
            image_ids = None  # as if each caption had an image of its own
        columns = {"image_embeds": image_embeds, "text_embeds": text_embeds, "image_ids": image_ids}
        teacher = {name: column for name, column in columns.items() if column is not None}
        return self.objective(embeddings, teacher or None)

    @classmethod
    def from_encoder(
        cls, encoder: str | PreTrainedModel, *, dtype=torch.float32, revision: str = "main", **config_overrides
    ) -> "KDMCSEModel":
        """Start training from a plain encoder, with fresh heads.

        Args:
            encoder: Hub id or directory of any `AutoModel` text encoder, or one in memory.
            dtype: of the weights; float32 whatever the file holds, as training wants it.
            revision: branch, tag or commit on the Hub.
            config_overrides: fields of [`KDMCSEConfig`], such as `objective`, `image_dim` and `text_dim`; an objective
                of your own may be given as its class. `pooling` is by default what the repository declares (`kdmcse`
                dict, `1_Pooling`), else, and of an encoder in memory, `cls`.
        """
        if isinstance(encoder, str):
            pooling, subfolder = find_pooling(encoder, config_overrides.get("pooling"), revision)
            config_overrides = {**config_overrides, "pooling": pooling}
            made = load_text_encoder(encoder, dtype=dtype, revision=revision, subfolder=subfolder)
        else:
            made = encoder
            hidden_size(made)
            check_directions(made, "encoder")
        return cls(KDMCSEConfig.of(made.config, _checked(config_overrides)), made)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str, *, dtype="auto", config_overrides: dict | None = None, **kwargs
    ) -> "KDMCSEModel":
        """Load a KDMCSE repository whole, heads included.

        Args:
            pretrained_model_name_or_path: Hub id or directory.
            dtype: of encoder and heads; by default what the encoder's file holds.
            config_overrides: fields of [`KDMCSEConfig`] to change, to train on with another objective. Heads that
                the change adds start fresh, which a warning says.
            kwargs: `revision`, `cache_dir`, `token`, `local_files_only`, `attn_implementation`, `device_map` ...

        Raises:
            ValueError: a plain encoder, or heads that are missing, altered or of other widths.
        """
        hub = {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}
        stored = load_config(pretrained_model_name_or_path, **hub)
        overrides = _checked(config_overrides or {})
        sha256 = KDMCSEConfig.from_encoder_config(stored, **overrides).heads_sha256
        heads = load_heads(pretrained_model_name_or_path, sha256, **hub)
        encoder = load_text_encoder(pretrained_model_name_or_path, dtype=dtype, **kwargs)
        config = KDMCSEConfig.from_encoder_config(encoder.config, **overrides)
        model = cls(config, encoder)
        model.load_heads(heads, pretrained_model_name_or_path)
        return model.to(encoder.dtype).eval()  # type: ignore[arg-type]

    def load_heads(self, state: dict[str, torch.Tensor], source: str) -> None:
        """Put weights of heads in place; heads that `state` lacks altogether stay as they are, with a warning.

        Raises:
            ValueError: weights that fit no head of this model.
        """
        own = {name: tensor.shape for name, tensor in self.objective.state_dict().items()}
        heads = {name.split(".")[0] for name in own}
        if unused := sorted({name.split(".")[0] for name in state} - heads):
            logger.warning(f"{source} holds {', '.join(unused)}, which objective {self.config.objective} has not")
        state = {name: tensor for name, tensor in state.items() if name.split(".")[0] in heads}
        unexpected = [f"{name} {tuple(t.shape)}" for name, t in state.items() if own.get(name) != t.shape]
        if unexpected:
            raise InputError(
                f"heads of {source} do not fit this configuration (hidden size, projection_dim, image_dim, text_dim): "
                f"{', '.join(unexpected)}. Keep the checkpoint's values, or start with fresh heads by from_encoder"
            )
        if fresh := sorted(heads - {name.split(".")[0] for name in state}):
            logger.warning(f"{source} holds no {', '.join(fresh)}: they start fresh")
        self.objective.load_state_dict(state, strict=False)

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str,
        is_main_process: bool = True,
        state_dict: dict[str, torch.Tensor] | None = None,
        push_to_hub: bool = False,
        **kwargs,
    ) -> None:
        """Write one repository: the plain encoder, the heads beside it, sentence-transformers' files.

        Args:
            save_directory: made if it is not there.
            is_main_process: others write nothing.
            state_dict: weights gathered elsewhere (FSDP); the model's own by default.
            push_to_hub, kwargs: `max_shard_size`, `repo_id` ... as in transformers.
        """
        encoder, heads = _split_state(self.state_dict() if state_dict is None else state_dict)
        if is_main_process:
            write_sentence_transformers_files(save_directory, self.config.pooling, hidden_size(self.encoder))
            self.config.heads_sha256 = save_heads(save_directory, heads)
        vars(self.config.to_encoder_config()).pop("auto_map", None)  # code of the base's repository, not of this one
        repository = kwargs.pop("repo_id", os.path.basename(os.path.abspath(save_directory)))
        self.encoder.save_pretrained(save_directory, is_main_process=is_main_process, state_dict=encoder, **kwargs)
        if push_to_hub and is_main_process:
            self.push_to_hub(repository)


def _checked(overrides: dict) -> dict:
    """Known fields of a configuration alone, with the name of an objective that the caller names or gives."""
    if "objective" in overrides:
        overrides = {**overrides, "objective": load_objective(overrides["objective"])}
    known = [*KDMCSEConfig.__annotations__, *all_values()]
    if unknown := [name for name in overrides if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise InputError(f"{unknown[0]} is no field of KDMCSEConfig: {hint}")
    return overrides


def _split_state(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights of the encoder and those of the heads, each under their own names."""
    encoder, heads = (
        {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        for prefix in ("encoder.", "objective.")
    )
    return encoder, heads


def _freeze_unused_pooler(encoder: PreTrainedModel) -> None:
    """The encoder's own pooler takes no part in training, but stock AutoModel would draw a new one without it."""
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler.requires_grad_(False)
