"""The tiny student's tokenizer: byte-level BPE with Qwen3's turn and tool tags and a ChatML
template.

A small model learns to copy and to look up only what has the same tokens wherever it stands. So a
word has the same pieces in a sentence (" dessert"), at its beginning ("Dessert"), in a name
("hammerDessert") and in a value; its first piece alone comes in four forms, which build.py starts
with nearly the same embedding. Digits come in pairs, and what stands between words in the JSON of a
tool is one token.

Ordinary BPE cuts the four forms differently, since their counts differ; the same model then learned
none of this.
"""
from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END, PAD = "<|im_end|>", "<|endoftext|>"
TAGS = ("<think>", "</think>", "<tools>", "</tools>", "<tool_call>", "</tool_call>",
        "<tool_response>", "</tool_response>")
TEMPLATE = ("{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] "
            "}}<|im_end|>\n"
            "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
SPACE = "Ġ"
"""A space in the alphabet of byte-level BPE."""
KEYS = "type|description|parameters|properties|required|enum|items|default|arguments"
GLUE = rf'(?:[^\p{{L}}\p{{N}}]*"(?:{KEYS})": [{{\[]*)+"?|[^\p{{L}}\p{{N}}]*{{"name": "'
WORD, SIGNS = r"\p{Lu}?\p{Ll}+|\p{L}|\p{N}{1,2}", r"[^\p{L}\p{N}]+?(?= ?[\p{L}\p{N}]|$)"
BARE, SPACED = Regex(f"{GLUE}|{WORD}| |{SIGNS}"), Regex(f"{GLUE}| ?(?:{WORD})|{SIGNS}")
Merge = tuple[str, str]


def build_tokenizer(texts: Iterable[str], size: int = 2000) -> PreTrainedTokenizerFast:
    """Learn `size` pieces from `texts`, letters in lower case, and add their other forms.

    The tool tags are added tokens but not special ones, since verl drops special tokens from
    replies.
    """
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizer(BARE)
    learned.train_from_iterator((text.lower() for text in texts), trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    merges = all_forms(
        [(first, second) for first, second in json.loads(learned.to_str())["model"]["merges"]])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = dict.fromkeys([*alphabet, *(first + second for first, second in merges)])
    tokenizer = Tokenizer(models.BPE(vocab={piece: number for number, piece in enumerate(pieces)},
                                     merges=merges))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizer(SPACED), decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False)
                                  for text in (PAD, "<|im_start|>", END)])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in TAGS])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD,
                                   bos_token=None, chat_template=TEMPLATE, model_max_length=4096,
                                   clean_up_tokenization_spaces=False)


def pre_tokenizer(split: Regex) -> pre_tokenizers.PreTokenizer:
    """Cut text by a pattern, then write its bytes as letters."""
    return pre_tokenizers.Sequence([pre_tokenizers.Split(split, "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False,
                                                             use_regex=False)])


def all_forms(merges: list[Merge]) -> list[Merge]:
    """The merges, each followed by the same one with a capital, and behind them all the merges with
    a space.

    So a capital never changes where a word is cut, and a space joins its first piece when all cuts
    are made.
    """
    both = [form for first, second in merges
            for form in [(first, second), *with_capital(first, second)]]
    words = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", *(
        first + second for first, second in both if (first + second).isalnum())]
    return [*dict.fromkeys(both), *((SPACE, word) for word in dict.fromkeys(words))]


def with_capital(first: str, second: str) -> list[Merge]:
    """The merge of a word's beginning as it is with a capital; none for what begins with anything
    but a letter."""
    is_beginning = "a" <= first[0] <= "z" and (first + second).isalpha()
    return [(first[0].upper() + first[1:], second)] if is_beginning else []
