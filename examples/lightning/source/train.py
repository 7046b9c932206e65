"""Train a small classifier with LightningCLI. The script does not depend on smsweep.

Run it without a sweep: `python train.py fit --config=config.yaml --model.lr=0.01 --trainer.max_epochs=3`.
"""

import lightning
import torch
from lightning.pytorch.cli import LightningCLI
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

N_FEATURES, N_CLASSES = 8, 4


class Classifier(lightning.LightningModule):
    def __init__(self, lr: float = 0.01, width: int = 32):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(N_FEATURES, width), nn.ReLU(), nn.Linear(width, N_CLASSES))

    def training_step(self, batch, batch_idx):
        points, labels = batch
        loss = functional.cross_entropy(self.layers(points), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        points, labels = batch
        scores = self.layers(points)
        self.log("val_loss", functional.cross_entropy(scores, labels))
        self.log("val_accuracy", (scores.argmax(1) == labels).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


class Clusters(lightning.LightningDataModule):
    """Points around one random center per class, the same each time."""

    def __init__(self, batch_size: int = 32):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage):
        generator = torch.Generator().manual_seed(0)
        centers = torch.randn(N_CLASSES, N_FEATURES, generator=generator)
        labels = torch.arange(800) % N_CLASSES
        points = centers[labels] + torch.randn(len(labels), N_FEATURES, generator=generator)
        self.train = TensorDataset(points[:600], labels[:600])
        self.val = TensorDataset(points[600:], labels[600:])

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, batch_size=200)


if __name__ == "__main__":
    LightningCLI(Classifier, Clusters, save_config_callback=None)
