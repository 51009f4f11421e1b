"""The tiny student's tokenizer: byte-level BPE of 1,500 tokens with Qwen3's turn and tool tags and a ChatML template.

Text is split before BPE into words at case changes, single digits, and runs of everything else, so that a value has the
same tokens in a sentence and in JSON: that is what lets a small model copy it.
"""
from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END, PAD = "<|im_end|>", "<|endoftext|>"
TAGS = ("<think>", "</think>", "<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>",
        "</tool_response>")
TEMPLATE = ("{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
            "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
SPLIT = Regex(r"\p{Lu}?\p{Ll}+|\p{Lu}+|\p{L}|\p{N}|[^\p{L}\p{N}]+")


def build_tokenizer(texts: Iterable[str], size: int = 1500) -> PreTrainedTokenizerFast:
    """Train it on `texts`. The tool tags are added tokens but not special ones: verl drops special tokens from replies."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(SPLIT, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size - len(TAGS) - 3, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in (PAD, "<|im_start|>", END)])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in TAGS])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, bos_token=None,
                                   chat_template=TEMPLATE, model_max_length=4096, clean_up_tokenization_spaces=False)
