"""What people use today for the same work, at its defaults."""

from __future__ import annotations

import json
import tempfile
import time

import numpy as np


def texts_and_labels(rows) -> tuple[list[str], np.ndarray]:
    return rows.texts(), rows.labels


def trainer(rows, *, epochs=None, batch_size=8, rate=5e-5, prepare=None, steps=-1, head_factor=1.0):
    """transformers.Trainer on MiniLM; returns (trainer, tokenizer, seconds of training).

    head_factor: how much faster than the rest the new classifier learns; 1 is Trainer's default.
    """
    from warmstart.models.libraries import import_transformers

    transformers = import_transformers()
    from warmstart.models.loaders import _minilm_folder

    folder = str(_minilm_folder())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(rows.classes))
    model = prepare(model) if prepare else model
    arguments = transformers.TrainingArguments(
        tempfile.mkdtemp(),
        num_train_epochs=epochs or 3,
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=rate,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
    )
    collator = transformers.DataCollatorWithPadding(tokenizer)
    start = time.perf_counter()
    found = transformers.Trainer(
        model,
        arguments,
        train_dataset=tokenized(tokenizer, rows),
        data_collator=collator,
        processing_class=tokenizer,
        optimizers=(None if head_factor == 1 else _optimizer(model, rate, head_factor), None),
    )
    found.train()
    return found, tokenizer, time.perf_counter() - start


def _optimizer(model, rate: float, head_factor: float):
    import torch

    groups = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups["classifier" in name].append(parameter)
    head = {"params": groups[True], "lr": rate * head_factor}
    return torch.optim.AdamW([{"params": groups[False]}, head], lr=rate, weight_decay=0.0)


def tokenized(tokenizer, rows) -> list[dict]:
    texts, labels = texts_and_labels(rows)
    encoded = tokenizer(texts, truncation=True)
    return [
        {"input_ids": ids, "attention_mask": mask, "labels": int(label)}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], labels, strict=True)
    ]


def trainer_accuracy(found, tokenizer, rows) -> float:
    predicted = found.predict(tokenized(tokenizer, rows)).predictions.argmax(1)
    return float((predicted == rows.labels).mean())


def lora_peer(model):
    import peft

    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], task_type="SEQ_CLS")
    return peft.get_peft_model(model, config)


def top_two_blocks(model):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in ("layer.4.", "layer.5.", "pooler", "classifier")))
    return model


def main() -> None:
    """Trainer at its defaults on five labels a class, and its accuracy, as a process of its own."""
    from .work import five_shots

    train, test = five_shots()
    found, tokenizer, _ = trainer(train)
    print(json.dumps({"accuracy": trainer_accuracy(found, tokenizer, test)}))


if __name__ == "__main__":
    main()
