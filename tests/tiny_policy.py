"""A real but tiny policy for tests: random weights, a tokenizer and a chat template of one family,
made in a second."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

TAGS = ["<tool_call>", "</tool_call>", "<think>", "</think>", "<tools>", "</tools>"]


class Family(NamedTuple):
    """How a family of models writes a chat."""

    model: str
    """Its classes of transformers: <model>Config, <model>ForCausalLM."""
    special: list[str]
    """Tokens for padding, for the beginning (of the text, or of a turn) and for the end of a turn,
    then others."""
    tags: list[str]
    template: str


FAMILIES = {
    "qwen": Family("Qwen3", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], TAGS,
                   "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] "
                   "}}<|im_end|>\n{% endfor %}"
                   "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"),
    "chatml": Family("Qwen2", ["<pad>", "<|im_start|>", "<|im_end|>"], [],
                     "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] "
                     "}}<|im_end|>\n{% endfor %}"
                     "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"),
    "llama": Family("Llama", ["<|pad|>", "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>",
                              "<|end_header_id|>"], [],
                    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] "
                    "}}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
                    "{% if add_generation_prompt "
                    "%}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"),
}


def make_policy(folder: Path, family: str = "qwen") -> Path:
    """Write a policy's Hugging Face folder; the tags are added tokens that are not special, as in
    Qwen3, or none."""
    import torch
    import transformers
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind, special, tags, template = FAMILIES[family]
    tokens = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)},
                               merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(special)
    raw.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in tags])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token=special[0],
                                                     bos_token=special[1],
                                                     eos_token=special[2])
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    end = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, head_dim=16, max_position_embeddings=2048,
        tie_word_embeddings=True, **end)
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    model.save_pretrained(folder)
    transformers.GenerationConfig(**end).save_pretrained(folder)
    return folder
