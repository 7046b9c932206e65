"""Train a small convolutional network on CIFAR-10 and report its accuracy after each epoch, to W&B.

`wandb.init` provides the params. SM_CHANNEL_TRAINING is the folder of the data (cifar-10-python.tar.gz, or its
unpacked folder), and SM_MODEL_DIR is the folder for the model.
The script also runs without a sweep: `python train.py`.
"""

import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import torch
import wandb
from torch import nn
from torch.nn import functional

FOLDER = "cifar-10-batches-py"  # its name in the archive
DEFAULTS = {"epochs": 3, "batch_size": 128, "lr": 0.02, "momentum": 0.9}
CHECKPOINTS = Path(os.environ.get("SMSWEEP_ML_ROOT", "."), "checkpoints")  # kept after a spot interruption


def load(channel):
    """Return images in [-1, 1] and labels, for training and for testing."""
    archive, folder = channel / "cifar-10-python.tar.gz", channel / FOLDER
    if archive.exists():
        with tarfile.open(archive) as tar:
            return read(lambda name: tar.extractfile(f"{FOLDER}/{name}"))
    if folder.exists():
        return read(lambda name: (folder / name).open("rb"))
    print(f"no CIFAR-10 in {channel}; training on generated images")
    return generate()


def read(open_batch):
    parts = []
    for names in ([f"data_batch_{number}" for number in range(1, 6)], ["test_batch"]):
        images, labels = [], []
        for name in names:
            with open_batch(name) as file:
                batch = pickle.load(file, encoding="bytes")
            images.append(batch[b"data"].reshape(-1, 3, 32, 32))
            labels += batch[b"labels"]
        scaled = torch.from_numpy(np.concatenate(images)).float() / 127.5 - 1
        parts += [scaled, torch.tensor(labels)]
    return parts


def generate(n_train=1000, n_test=200):
    """Return noisy copies of ten patterns, the same each time."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(10, 3, 32, 32, generator=generator) * 2 - 1
    patterns += patterns.flip(-1)  # symmetric, because training mirrors images at random
    labels = torch.arange(n_train + n_test) % 10
    images = patterns[labels] + torch.randn(len(labels), 3, 32, 32, generator=generator)
    return [images[:n_train], labels[:n_train], images[n_train:], labels[n_train:]]


def build():
    def block(n_in, n_out):
        return [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(3, 32), *block(32, 64), *block(64, 128), nn.Flatten(), nn.Linear(128 * 4 * 4, 10))


def train_epoch(model, optimizer, images, labels, batch_size, device):
    model.train()
    total = 0.0
    for chosen in torch.randperm(len(images)).split(batch_size):
        batch = images[chosen]
        if torch.rand(()) < 0.5:
            batch = batch.flip(-1)
        loss = functional.cross_entropy(model(batch.to(device)), labels[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(chosen)
    return total / len(images)


@torch.no_grad()
def accuracy(model, images, labels, device):
    model.eval()
    n_correct = sum(
        (model(batch.to(device)).argmax(1).cpu() == truth).sum().item()
        for batch, truth in zip(images.split(500), labels.split(500), strict=True)
    )
    return n_correct / len(images)


def main():
    run = wandb.init(config=DEFAULTS)
    config = run.config
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train_images, train_labels, test_images, test_labels = load(
        Path(os.environ.get("SM_CHANNEL_TRAINING", "data"))
    )
    model = build().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.lr, momentum=config.momentum)
    saved, first = CHECKPOINTS / "last.pt", 0
    if saved.exists():
        state = torch.load(saved, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
        print(f"resuming at epoch {first}")
    for epoch in range(first, config.epochs):
        loss = train_epoch(model, optimizer, train_images, train_labels, config.batch_size, device)
        run.log({"loss": loss, "test_accuracy": accuracy(model, test_images, test_labels, device)}, step=epoch)
        CHECKPOINTS.mkdir(parents=True, exist_ok=True)
        state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, saved.with_suffix(".part"))
        saved.with_suffix(".part").replace(saved)  # a killed job leaves no incomplete checkpoint
    torch.save(model.state_dict(), Path(os.environ.get("SM_MODEL_DIR", "."), "model.pt"))
    run.finish()


if __name__ == "__main__":
    main()
