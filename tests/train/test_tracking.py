"""The metrics file and the TensorBoard events, read back by other means."""

import errno
import json
import math
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboardX.proto import event_pb2

from train import Tracker, read_metrics


def events(folder):
    """Every event of a folder, by the TFRecord framing: length, its checksum, bytes, their checksum."""
    for path in sorted(folder.glob("events*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield event_pb2.Event.FromString(content[12 : 12 + length])  # pyright: ignore
            content = content[16 + length :]


def test_lines_and_events(tmp_path):
    tracker = Tracker(tmp_path / "run")
    tracker.log(10, "train", {"loss": 0.5, "norm": math.inf})
    tracker.log(10, "validation", {"loss": math.nan})
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    tracker.close()

    def no_constants(text):
        raise AssertionError(f"{text} is not JSON")

    assert [json.loads(line, parse_constant=no_constants) for line in lines] == [
        {"step": 10, "split": "train", "loss": 0.5, "norm": None, "nonfinite": {"norm": "inf"}},
        {"step": 10, "split": "validation", "loss": None, "nonfinite": {"loss": "nan"}},
    ]
    first, second = read_metrics(tmp_path / "run")
    assert first == {"step": 10, "split": "train", "loss": 0.5, "norm": math.inf}
    assert math.isnan(second["loss"])

    written = [
        (e.step, v.tag, v.simple_value)
        for e in events(tmp_path / "run" / "tensorboard")
        for v in e.summary.value
    ]
    assert written[:2] == [(10, "train/loss", 0.5), (10, "train/norm", math.inf)]
    assert written[2][:2] == (10, "validation/loss")


def test_cut_back(tmp_path):
    tracker = Tracker(tmp_path)
    for step in range(1, 6):
        tracker.log(step, "train", {"loss": step})
    tracker.close()
    path = tmp_path / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"step": 6, "spl')
    assert len(read_metrics(path)) == 5

    tracker = Tracker(tmp_path)
    tracker.truncate_after(3)
    assert path.read_text().splitlines() == whole.splitlines()[:3]
    tracker.log(4, "train", {"loss": 4})
    tracker.close()
    assert path.read_text().splitlines() == whole.splitlines()[:4]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]
    assert any(e.step == 4 and e.session_log.status == 1 for e in events(tmp_path / "tensorboard"))


def test_cut_back_of_nothing(tmp_path):
    Tracker(tmp_path / "new").truncate_after(0)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("line", ["hello", "[]", "3", '{"step": 1}', '{"step": "1", "split": "train"}'])
def test_no_record(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(
        f'{{"step": 1, "split": "train"}}\n{line}\n{{"step": 2, "split": "train"}}\n'
    )
    said = re.escape(f"has a line that is not a record of training: {line!r}; correct or remove it")
    with pytest.raises(ValueError, match=said):
        read_metrics(tmp_path)
    with pytest.raises(ValueError, match=said):
        Tracker(tmp_path).truncate_after(1)


def test_events_that_cannot_be_written_are_given_up(tmp_path, monkeypatch):
    """A full disk is an error once, and not again as the process ends, when tensorboardX closes what is open."""
    tracker = Tracker(tmp_path)
    tracker.log(1, "train", {"loss": 0.5})
    writer = tracker._events.file_writer.event_writer

    def full() -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(writer._ev_writer, "flush", full)
    with pytest.raises(OSError, match="no space"):
        tracker.close()
    assert not writer._worker.is_alive()
    writer.close()
    tracker.close()


def test_pytorch_stays_out(tmp_path):
    """tensorboardX imports PyTorch where it is installed; a run of ours doesn't; a later import finds it."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("Tensor = object\n")
    script = (
        "import sys, train; tracker = train.Tracker('run'); tracker.log(1, 'train', {'loss': 0.5})\n"
        "tracker.close()\n"
        "assert 'torch' not in sys.modules; import torch; assert torch.Tensor is object"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
