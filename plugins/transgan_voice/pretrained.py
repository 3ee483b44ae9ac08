"""Pretrained networks that evaluate recordings, with weights inside packages: speaker similarity, predicted quality.

Nothing is downloaded. The packages are not imported: of Resemblyzer and speechmos only the files with weights are used.
"""

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from transgan.api import PluginError, require
from transgan_voice import audio
from transgan_voice.audio import Sound
from transgan_voice.mel import filter_bank
from transgan_voice.warp import Array

#: Sample rate of both, in Hz.
RATE = 16_000


def weights_in(package: str, file: str, command: str, purpose: str) -> Path:
    """Return the path of a file of an installed package, without importing the package.

    Args:
        command: that installs it, for the error.
        purpose: what needs it, for the error.

    Raises:
        PluginError: it is not there.
    """
    found = find_spec(package)
    folders = list(found.submodule_search_locations or ()) if found else []
    for folder in folders:
        if (path := Path(folder, file)).is_file():
            return path
    raise PluginError(f"{purpose} needs {file} of the package {package}, which is not installed: {command}")


class SpeakerEncoder(nn.Module):
    """The speaker encoder of Resemblyzer (Wan et al., 2018, generalized end-to-end loss): voices as unit vectors.

    Three LSTM layers of 256 over power mel spectrograms (40 bands, windows of 25 ms, every 10 ms), a linear layer,
    ReLU, division by the norm. Recordings are cut into windows of 1.6 s that begin 0.77 s apart, whose vectors are
    averaged. Quiet recordings are raised to -30 dB of full scale, and silence at their ends is cut off; within a
    recording it stays, which Resemblyzer removes.
    """

    #: Frames of a window, and from one window to the next.
    WINDOW, STEP = 160, 77

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        self.filters = torch.from_numpy(filter_bank(40, 400, RATE)).float()

    @classmethod
    def pretrained(cls) -> "SpeakerEncoder":
        """Return the encoder with Resemblyzer's weights.

        Raises:
            PluginError: Resemblyzer is not installed.
        """
        path = weights_in("resemblyzer", "pretrained.pt", "pip install --no-deps resemblyzer", "speaker_similarity")
        encoder = cls()
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        encoder.load_state_dict({name: x for name, x in state.items() if name.startswith(("lstm", "linear"))})
        return encoder.eval()

    def spectrogram(self, samples: Tensor) -> Tensor:
        """Return the mel spectrogram (1 + n // 160, 40) of samples (n,)."""
        window = torch.hann_window(400)
        spectrum = torch.stft(samples, 400, 160, 400, window, pad_mode="constant", return_complex=True)
        return (self.filters @ spectrum.abs().square()).T

    def forward(self, mels: Tensor) -> Tensor:
        """Return unit vectors (N, 256) of spectrograms (N, T, 40)."""
        _, (hidden, _) = self.lstm(mels)
        raw = torch.relu(self.linear(hidden[-1]))
        unit: Tensor = raw / raw.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return unit

    @torch.no_grad()
    def embed(self, sound: Sound) -> Array:
        """Return the unit vector (256,) of a recording."""
        resampled = audio.trim(sound.resample(RATE))
        rms = float(np.sqrt(np.mean(resampled.samples.astype(np.float64) ** 2)))
        samples = torch.from_numpy(resampled.samples) * max(1.0, 10 ** (-30 / 20) / max(rms, 1e-9))
        count = 1 + len(samples) // 160
        starts = list(range(0, max(1, count - self.WINDOW + self.STEP + 1), self.STEP))
        if len(starts) > 1 and count - starts[-1] < 0.75 * self.WINDOW:
            del starts[-1]
        missing = (starts[-1] + self.WINDOW) * 160 - len(samples)
        mel = self.spectrogram(torch.nn.functional.pad(samples, (0, max(0, missing))))
        mean = self(torch.stack([mel[i : i + self.WINDOW] for i in starts])).mean(0)
        vector: Array = (mean / mean.norm()).double().numpy()
        return vector


class SpeakerSimilarity:
    """Cosine similarity of a recording's speaker vector to the mean of those of real recordings (SECS)."""

    def __init__(self) -> None:
        self.encoder = SpeakerEncoder.pretrained()

    def reference(self, real: list[Sound]) -> Array:
        """Return the mean vector of recordings, of length 1."""
        mean = np.mean([self.encoder.embed(sound) for sound in real], 0)
        unit: Array = mean / np.linalg.norm(mean)
        return unit

    def __call__(self, sound: Sound, reference: Array) -> float:
        return float(self.encoder.embed(sound) @ reference)


class PredictedQuality:
    """DNSMOS P.835 (Reddy et al., 2022): the overall quality that listeners are predicted to give, 1 to 5.

    Of windows of 9.01 s that begin a second apart; shorter recordings are repeated, as speechmos does.
    """

    SAMPLES = round(9.01 * RATE)

    def __init__(self) -> None:
        command, purpose = 'pip install "transgan[voice-metrics]"', "dnsmos"
        self.path = weights_in("speechmos", "dnsmos_models/sig_bak_ovr.onnx", command, purpose)
        require("onnxruntime", "voice-metrics", purpose)

    @cached_property
    def session(self) -> Any:
        runtime = require("onnxruntime", "voice-metrics", "dnsmos")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        return runtime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])

    def reference(self, real: list[Sound]) -> None:
        """Return nothing: quality is not compared."""

    def __call__(self, sound: Sound, reference: None) -> float:
        samples = sound.resample(RATE).samples.clip(-1, 1)
        samples = np.resize(samples, max(len(samples), self.SAMPLES))
        starts = range(0, len(samples) - self.SAMPLES + 1, RATE)
        windows = np.stack([samples[i : i + self.SAMPLES] for i in starts]).astype(np.float32)
        raw = np.concatenate([self.session.run(None, {"input_1": each[None]})[0] for each in windows])[:, 2]
        return float(np.polyval([-0.06766283, 1.11546468, 0.04602535], raw).mean())


MEASURES = {"speaker_similarity": SpeakerSimilarity, "dnsmos": PredictedQuality}
