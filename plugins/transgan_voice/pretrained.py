"""Pretrained models that evaluate recordings, with weights inside packages: speaker, predicted quality, phones, pitch.

Nothing is downloaded. Of Resemblyzer and speechmos only the files with weights are used; they are not imported.
"""

from collections.abc import Sequence
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

#: Sample rate of all, in Hz.
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

    def __call__(self, sound: Sound, reference: Array, source: Sound) -> float:
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

    def __call__(self, sound: Sound, reference: None, source: Sound) -> float:
        samples = sound.resample(RATE).samples.clip(-1, 1)
        samples = np.resize(samples, max(len(samples), self.SAMPLES))
        starts = range(0, len(samples) - self.SAMPLES + 1, RATE)
        windows = np.stack([samples[i : i + self.SAMPLES] for i in starts]).astype(np.float32)
        raw = np.concatenate([self.session.run(None, {"input_1": each[None]})[0] for each in windows])[:, 2]
        return float(np.polyval([-0.06766283, 1.11546468, 0.04602535], raw).mean())


class RecognizedPhones:
    """How many phones a recogniser hears otherwise in a conversion than in its source, as a share of the source's.

    PocketSphinx's US English acoustic model with its language model of phones (5.1; Huggins-Daines et al., 2006). The
    distance of two sequences is the number of insertions, deletions and substitutions; silence and noises are omitted.
    0 is for doing nothing, and about 1 for speech-shaped noise as for another sentence. Two people who say the same
    sentence are some 0.6 apart, so it tells speech from mush and not a good conversion from a very good one.
    """

    def __init__(self) -> None:
        self.module = require("pocketsphinx", "voice-metrics", "phone_error")
        self.source: tuple[Sound, list[str]] | None = None
        """The newest source and what is heard in it: it is asked for with each of its conversions."""

    @cached_property
    def decoder(self) -> Any:
        folder = Path(self.module.get_model_path(), "en-us")
        files = {"hmm": str(folder / "en-us"), "allphone": str(folder / "en-us-phone.lm.bin")}
        return self.module.Decoder(**files, lm=None, lw=2.0, beam=1e-20, pbeam=1e-20, loglevel="FATAL")

    def phones(self, sound: Sound) -> list[str]:
        """Return the phones of a recording, in the letters of CMUdict."""
        levels = (sound.resample(RATE).samples.clip(-1, 1) * 32767).astype("<i2").tobytes()
        if not levels.strip(b"\0"):
            return []
        self.decoder.reinit_feat()  # it would go on estimating the noise of the recordings before
        self.decoder.start_utt()
        self.decoder.process_raw(levels, full_utt=True)
        self.decoder.end_utt()
        heard = [each.word for each in self.decoder.seg() or ()]
        return [each for each in heard if each.isalpha() and each != "SIL"]

    def reference(self, real: list[Sound]) -> None:
        """Return nothing: a conversion is compared with its source."""

    def __call__(self, sound: Sound, reference: None, source: Sound) -> float:
        if self.source is None or self.source[0] is not source:
            self.source = source, self.phones(source)
        said = self.source[1]
        return edit_distance(self.phones(sound), said) / max(1, len(said))


def edit_distance(one: Sequence[object], other: Sequence[object]) -> int:
    """Return the least number of insertions, deletions and substitutions that make one sequence the other."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


class SwiftF0:
    """The pitch by SwiftF0 (Nieradzik, 2025), a small network whose weights are in its package."""

    def __init__(self) -> None:
        self.module = require("swift_f0", "voice-metrics", 'pitch = "swift_f0"')

    @cached_property
    def network(self) -> Any:
        return self.module.SwiftF0(threads=torch.get_num_threads())

    def __call__(self, samples: Array, times: Array) -> Array:
        """Return F0 in Hz, 0 where unvoiced, of samples at 16 kHz at moments (L,) in seconds."""
        found = self.network.detect(np.asarray(samples, np.float32), RATE)
        if not len(found.timestamps):
            return np.zeros(len(times))
        log_f0 = np.interp(times, found.timestamps, np.log(np.maximum(found.pitch_hz, 1.0)))
        voiced = np.interp(times, found.timestamps, found.confidence) > 0.5
        f0: Array = np.where(voiced, np.exp(log_f0), 0.0)
        return f0


MEASURES = {"speaker_similarity": SpeakerSimilarity, "dnsmos": PredictedQuality, "phone_error": RecognizedPhones}
