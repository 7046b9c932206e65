"""Train a tiny BERT with the Trainer of Hugging Face. The script does not depend on smsweep.

Model, tokenizer and sentences are created in the script, so that nothing is downloaded. For your own task, replace
them with `from_pretrained` and `load_dataset`.
Run it without a sweep: `python train.py --output_dir=out --learning_rate=1e-3`.
"""

import random
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    HfArgumentParser,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

GOOD = ["good", "great", "fine", "lovely"]
BAD = ["bad", "poor", "awful", "dull"]
OTHER = ["the", "a", "film", "plot", "actor", "was", "is", "and", "very", "rather"]
SPECIAL = ["[PAD]", "[UNK]"]


def build_tokenizer():
    words = {word: index for index, word in enumerate([*SPECIAL, *GOOD, *BAD, *OTHER])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def build_examples(tokenizer, n, seed):
    """Return tokenized sentences. Label 1: most of the judging words are good."""
    chance, examples = random.Random(seed), []
    for _ in range(n):
        label = chance.randrange(2)
        judging = chance.choices(GOOD, k=1 + 2 * label) + chance.choices(BAD, k=3 - 2 * label)
        words = judging + chance.choices(OTHER, k=chance.randint(4, 8))
        chance.shuffle(words)
        examples.append({**tokenizer(" ".join(words)), "labels": label})
    return examples


def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def last_checkpoint(folder):
    """Return the last complete checkpoint, or None. The Trainer writes trainer_state.json last."""
    complete = [file.parent for file in Path(folder).glob("checkpoint-*/trainer_state.json")]
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def main():
    (args,) = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses()
    set_seed(args.seed)
    tokenizer = build_tokenizer()
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, num_labels=2, **size)
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=args,
        train_dataset=build_examples(tokenizer, 320, seed=1),
        eval_dataset=build_examples(tokenizer, 160, seed=2),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
    )
    last = last_checkpoint(args.output_dir)
    trainer.train(resume_from_checkpoint=str(last) if last else None)


if __name__ == "__main__":
    main()
