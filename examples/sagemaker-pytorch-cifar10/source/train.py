"""Train a convolutional network on CIFAR-10. Report losses, accuracies and example images to W&B after each epoch.

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

CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DEFAULTS = {
    "epochs": 10,
    "lr": 0.001,
    "momentum": 0.9,
    "batch_size": 128,
    "hidden_nodes": 100,
    "conv1_channels": 32,
    "conv2_channels": 64,
}
FOLDER = "cifar-10-batches-py"  # its name in the archive
N_EXAMPLES = 16  # images that each epoch logs
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
    labels = torch.arange(n_train + n_test) % 10
    images = patterns[labels] + torch.randn(len(labels), 3, 32, 32, generator=generator)
    return [images[:n_train], labels[:n_train], images[n_train:], labels[n_train:]]


def build(config):
    return nn.Sequential(
        nn.Conv2d(3, config.conv1_channels, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(config.conv1_channels, config.conv2_channels, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(config.conv2_channels * 5 * 5, config.hidden_nodes),
        nn.ReLU(),
        nn.Linear(config.hidden_nodes, len(CLASSES)),
    )


def train_epoch(model, optimizer, images, labels, batch_size, device):
    model.train()
    total = 0.0
    for chosen in torch.randperm(len(images)).split(batch_size):
        loss = functional.cross_entropy(model(images[chosen].to(device)), labels[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(chosen)
    return total / len(images)


@torch.no_grad()
def predict(model, images, device):
    model.eval()
    return torch.cat([model(batch.to(device)).argmax(1).cpu() for batch in images.split(500)])


def accuracies(predicted, labels):
    """Return the percentage of correct predictions of all images, and of the images of each class."""
    is_correct = (predicted == labels).float() * 100
    by_class = {
        f"Accuracy of {name}": is_correct[labels == number].mean().item()
        for number, name in enumerate(CLASSES)
        if (labels == number).any()
    }
    return is_correct.mean().item(), by_class


def examples(images, predicted):
    """Return images for W&B, with the predicted class as the caption."""
    pixels = ((images[:N_EXAMPLES] + 1) * 127.5).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    labels = predicted[:N_EXAMPLES].tolist()
    return [wandb.Image(image, caption=CLASSES[label]) for image, label in zip(pixels, labels, strict=True)]


def main():
    run = wandb.init(config=DEFAULTS)
    config = run.config
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train_images, train_labels, test_images, test_labels = load(
        Path(os.environ.get("SM_CHANNEL_TRAINING", "data"))
    )
    model = build(config).to(device)
    run.watch(model, log_freq=50)
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
        predicted = predict(model, test_images, device)
        accuracy, by_class = accuracies(predicted, test_labels)
        print(f"Test Accuracy: {accuracy:.4f}", flush=True)  # the metric definition reads this line
        run.log(
            {"Loss": loss, "Test Acc": accuracy, **by_class, "Examples": examples(test_images, predicted)},
            step=epoch,
        )
        CHECKPOINTS.mkdir(parents=True, exist_ok=True)
        state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, saved.with_suffix(".part"))
        saved.with_suffix(".part").replace(saved)  # a killed job leaves no incomplete checkpoint
    torch.save(model.state_dict(), Path(os.environ.get("SM_MODEL_DIR", "."), "model.pt"))
    run.finish()


if __name__ == "__main__":
    main()
