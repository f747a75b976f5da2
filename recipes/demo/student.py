"""The demo's tokenizer and its tiny BERT, pretrained on the demo's corpus by masked-language modelling."""

import random

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    get_linear_schedule_with_warmup,
)

from . import progress

MAX_LENGTH = 32
# [SEP] must not have the id 2: CLIP's text model reads that one as "the end is at the highest id" (its old default).
SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}


def train_tokenizer(sentences: list[str], vocabulary_size: int = 800) -> PreTrainedTokenizerFast:
    """A lower-case WordPiece tokenizer with BERT's special tokens; also fit for a CLIP text model."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size, special_tokens=list(SPECIAL.values()), show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=MAX_LENGTH,
        **SPECIAL,
    )


def pretrain_student(
    sentences: list[str], tokenizer: PreTrainedTokenizerFast, steps: int, seed: int, batch_size: int = 64
) -> tuple[BertModel, float]:
    """A BERT of 2 layers after `steps` of masked-language modelling, and its mean loss over the last tenth of them.

    Masked-language modelling leaves BERT's pooler as it was drawn; the encoder is returned with it, as `AutoModel`
    expects it.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        initializer_range=0.05,  # at this width learns in half the steps that 0.02 takes
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertForMaskedLM(config)
    rows = [{"input_ids": ids} for ids in tokenizer(sentences, truncation=True, max_length=MAX_LENGTH)["input_ids"]]
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 20, steps)
    losses = []
    for _ in progress.steps("Pretraining a small BERT", steps):
        loss = model(**collate(rng.choices(rows, k=batch_size))).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    encoder = BertModel(config)
    encoder.load_state_dict(model.bert.state_dict(), strict=False)
    last = losses[-max(1, steps // 10) :]
    return encoder, sum(last) / len(last)
