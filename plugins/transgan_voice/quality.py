"""What is in a recording, for `transgan data check`: length, loudness, clipping, silence, an acoustic hash."""

from itertools import pairwise

import numpy as np

from transgan.api import Description
from transgan_voice import audio
from transgan_voice.audio import Sound

#: A sample is clipped where this many neighbours have the recording's largest amplitude, which is CLIPPED or more.
RUN, CLIPPED = 3, 0.98
#: A recording is clipped where this share of its samples is.
MAX_CLIPPED = 1e-4
#: Bands of the acoustic hash, and its segments in time: one more than it has bits of each.
BANDS, SEGMENTS = 9, 9
#: Lowest and highest frequency of the bands, in Hz; frames, in seconds; what is added to energies, as a share of their
#: mean, since nothing can be said of bands that are nearly silent.
RANGE, FRAME, FLOOR = (200.0, 3400.0), 0.064, 1e-3


def describe(sound: Sound, silent: bool, rate: int, samples: int) -> Description:
    """Return what is in a recording.

    Args:
        silent: whether it is silence.
        rate: the sample rate of the media, in Hz.
        samples: the number of samples of a training crop at that rate.
    """
    levels = audio.levels(sound.samples, sound.rate)
    seconds = len(sound.samples) / sound.rate
    clipped = clipped_share(sound.samples)
    figures = {
        "seconds": seconds,
        "Hz": sound.rate,
        "loudness in dB": audio.decibels(audio.loudness(sound)),
        "peak in dB": audio.decibels(float(np.abs(sound.samples).max(initial=0.0))),
        "% of silence": 100.0 if silent else 100 * float((~audio.active(levels)).mean()),
        "% clipped": 100 * clipped,
    }
    remarks = ["silence"] if silent else []
    remarks += ["clipped"] if clipped > MAX_CLIPPED else []
    remarks += ["shorter than data.size"] if seconds * rate < samples else []
    channels = len(sound.encoding.gains)
    kind = f"{channels} channel{'s' if channels > 1 else ''}, {sound.encoding.subtype}"
    return Description(figures, kind, remarks, None if silent else fingerprint(sound))


def clipped_share(samples: np.ndarray) -> float:
    """Return the share of samples that are clipped: in a run at the largest amplitude, near full scale."""
    size = np.abs(samples)
    peak = float(size.max(initial=0.0))
    if peak < CLIPPED:
        return 0.0
    at_peak = size >= peak - 2**-14
    runs = np.convolve(at_peak, np.ones(RUN), "valid") == RUN
    inside = np.convolve(runs, np.ones(RUN), "full") > 0
    return float(inside.mean())


def fingerprint(sound: Sound) -> int | None:
    """Return an acoustic hash of a recording, 64 bits, of which similar recordings differ in few; None if too short.

    Each bit says whether the difference of two neighbouring bands grows from one segment to the next (Haitsma and
    Kalker, 2002, section 4.2), for segments of the whole recording: loudness, sample rate and compression hardly change
    it.
    """
    length = round(FRAME * sound.rate)
    count = len(sound.samples) // (length // 2) - 1
    if count < SEGMENTS:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(sound.samples, length)[:: length // 2][:count]
    power = np.abs(np.fft.rfft(frames * np.hanning(length).astype(np.float32))) ** 2
    edges = np.rint(np.geomspace(*RANGE, BANDS + 1) * FRAME).astype(int)  # the same bins at any sample rate
    bands = np.stack([power[:, low:high].sum(1) for low, high in pairwise(edges)])
    # Segments begin between frames too: else one frame more or less would move all of them.
    passed = np.pad(np.cumsum(bands, 1), ((0, 0), (1, 0)))
    ends = np.linspace(0, min(count, 2 * len(sound.samples) / length - 1), SEGMENTS + 1)
    energy = np.diff(np.stack([np.interp(ends, np.arange(count + 1), each) for each in passed], 1), axis=0)
    energy += FLOOR * energy.mean()
    differences = np.diff(np.log(energy), axis=1)  # of bands
    bits = np.diff(differences, axis=0) > 0  # of segments
    return int.from_bytes(np.packbits(bits).tobytes())
