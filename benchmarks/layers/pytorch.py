"""PyTorch: `nn.RNN`, `nn.GRU` and `nn.LSTM`, all cores."""

import os

import torch

from benchmarks.work import Work

CELLS = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


class TorchLayer:
    """Runs on the GPU if there is one, else on all cores of the CPU."""

    def __init__(self, work: Work) -> None:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.layer = CELLS[work.family](work.D, work.H)
        self.layer.load_state_dict({name: torch.tensor(leaf) for name, leaf in work.weights().items()})
        self.layer.to(self.device)
        self.xs = torch.tensor(work.inputs(), device=self.device)

    def forward(self) -> float:
        with torch.no_grad():
            return self.layer(self.xs)[0].square().mean().item()

    def both(self) -> float:
        self.layer.zero_grad(set_to_none=True)
        loss = self.layer(self.xs)[0].square().mean()
        loss.backward()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return loss.item()


def build(work: Work, sharded: bool) -> TorchLayer:
    return TorchLayer(work)
