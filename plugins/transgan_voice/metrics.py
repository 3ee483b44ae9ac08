"""Metrics of voice conversion: of whole held-out recordings as they are written."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from transgan_standard.separation import held_out_auc

from transgan.api import Domain, Metric, Options, Sample, Tensor, Translation
from transgan_voice import audio, measures
from transgan_voice.analysis import HOP, RATE, AnalyzedSound, Analyzer, align_frames, closed_form_maps
from transgan_voice.audio import Sound
from transgan_voice.initialization import MapKind, maps_of, starts_of
from transgan_voice.mel import LogMel
from transgan_voice.pretrained import MEASURES, SwiftF0
from transgan_voice.warp import Array

#: Frames of 8 ms in a crop that discriminators of `written_auc` evaluate: half a second; fewest recordings for them.
CROP_FRAMES, MIN_SEPARATED = 64, 4


class ConversionOptions(Options):
    """Options of the metric `conversion`."""

    sentences: int = Field(12, ge=1)
    """Held-out recordings that are converted for each translation, at most."""
    trained_on: int = Field(100, ge=2)
    """Training recordings of each speaker, at most, to which classifiers and the maps of `mcd_cepstra` are fitted."""
    start: MapKind = "matching"
    """The closed-form map of the figures `_of_start`, as the option `start` of a generator: without training."""
    discriminator_steps: int = Field(300, ge=0)
    """Steps of the fresh discriminators of `written_auc`, some 10 ms each; 0 omits these figures."""
    pretrained: list[Literal["speaker_similarity", "dnsmos", "phone_error"]] = []
    """Figures by pretrained models: `speaker_similarity`, the cosine of Resemblyzer's speaker vectors of a conversion
    and of the target (SECS; `pip install --no-deps resemblyzer`); `dnsmos`, the overall quality from 1 to 5 that DNSMOS
    P.835 predicts; `phone_error`, the share of English phones that PocketSphinx hears otherwise than in the source (the
    latter two: `pip install "transgan[voice-metrics]"`). Nothing is downloaded: weights lie inside the packages."""
    pitch: Literal["dio", "swift_f0"] = "dio"
    """What finds F0 for the figures: WORLD's DIO and StoneMask, or the network SwiftF0, which errs less, above all in
    noise (`pip install "transgan[voice-metrics]"`)."""


class Conversion(Metric[ConversionOptions]):
    """Mel-cepstral distortion, phones, F0 and speaker of converted recordings, beside baselines without training.

    Every figure is of whole recordings as they are written, after synthesis; only `mcd_features` is before synthesis.
    `mcd` is the mel-cepstral distortion in dB to the true conversion, by the protocol that result.json states, with
    `mcd_low` and `mcd_high`, its 95% confidence interval (bootstrap over recordings). The true conversion is known for
    synthetic voices, frame by frame, and for tasks with `paired = "held_out"`, where frames are aligned by DTW.
    Suffixes name what takes the conversion's place: `_of_source` the unconverted source, `_of_mean_variance` and
    `_of_baseline` (vocal-tract-length warp and Gaussian transport) closed-form maps fitted to unpaired recordings,
    `_of_start` the map from which generators start, fitted likewise, `_of_vocoder` analysis and synthesis of the true
    conversion, with what a conversion takes from its source (for `mel` the first estimate of the phase): a lower bound.
    `_of_split` compares two halves of real speech of the target. `mcd_cepstra` is that of closed-form maps which are
    fitted and applied to the compared cepstra themselves, the same for all recipes.

    `written_auc` says how well a small discriminator, trained afresh on log-mel spectrograms of active frames,
    distinguishes crops of conversions from crops of real target speech after analysis and synthesis, in recordings
    that it was not trained on: 0.5 is ideal, at 1 all are recognised (`transgan_standard.separation`).

    `phone_accuracy` is that of a nearest-neighbour classifier of real frames of the target speaker, where phones are
    labelled; `_of_real` is its accuracy for real speech of the target. `speaker_share` is the share of conversions that
    a linear classifier assigns to the target speaker; it is high for conversions with wrong phones too.
    `variance_ratio` (1 is right) and `modulation_distance` (dB), of active frames, show over-smoothing, which
    distortion does not penalize; `f0_hz` is the geometric mean of F0 and `f0_spread` the standard deviation of its
    logarithm. The reference of these is the true conversion or, where it is unknown, held-out speech of the target.
    Figures that cannot be computed are omitted.
    """

    measures = ("recordings", 1)
    direction = {
        "mcd": "lower",
        "mcd_features": "lower",
        "phone_accuracy": "higher",
        "f0_error_cents": "lower",
        "voicing_error": "lower",
        "speaker_share": "higher",
        "modulation_distance": "lower",
        "written_auc": "lower",
        "speaker_similarity": "higher",
        "dnsmos": "higher",
        "phone_error": "lower",
    }

    def __init__(self, options: ConversionOptions):
        super().__init__(options)
        self.pretrained: dict[str, Any] = {name: MEASURES[name]() for name in dict.fromkeys(options.pretrained)}
        self.analyzer = Analyzer(SwiftF0() if options.pitch == "swift_f0" else None)

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        self.domains, self.tasks = domains, tasks
        self.media: Any = next(iter(domains.values())).media
        names = list(dict.fromkeys(name for task in tasks.values() for name in task))
        real = {name: self._analyze(domains[name].samples) for name in names}
        self.phones = {name: _phone_classifier(each) for name, each in real.items()}
        frames = {name: np.concatenate([sound.active_cepstra for _, sound in each]) for name, each in real.items()}
        self.speakers = {
            task: measures.SpeakerClassifier({name: frames[name] for name in each}) for task, each in tasks.items()
        }
        self.alignments: set[str] = set()
        self.halves = {
            name: _halves([sound for _, sound in each], self.options.sentences) for name, each in real.items()
        }
        pairs = {pair for each in tasks.values() for pair in permutations(each, 2)}
        self.cepstral_maps = {(a, b): closed_form_maps(frames[a], frames[b]) for a, b in sorted(pairs)}
        self.starts = starts_of(domains, list(domains), pairs, self.options.start)
        self.baseline = maps_of(domains, list(domains), pairs, "warp_transport")
        self.bands = LogMel(80, RATE)
        self.split_auc: dict[str, float] = {}
        self.references: dict[str, dict[str, Any]] = {}

    def _analyze(self, samples: Sequence[Sample]) -> list[tuple[Sample, AnalyzedSound]]:
        """Return the recordings of samples, less those that are silence."""
        read = ((sample, self.media.read(sample.location)) for sample in samples[: self.options.trained_on])
        return [(sample, self.analyzer(sound)) for sample, sound in read if not self.media.is_silent(sound)]

    def _speech(self, domain: str, number: int) -> Sound:
        """Return a held-out recording of a domain, or one of training: that of this number, or the next with speech."""
        samples = self.domains[domain].held_out or self.domains[domain].samples
        sounds: Iterator[Sound] = (
            self.media.read(samples[(number + i) % len(samples)].location) for i in range(len(samples))
        )
        return next(sound for sound in sounds if not self.media.is_silent(sound))

    def reset(self) -> None:
        self.values: dict[Translation, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.sounds: dict[Translation, dict[str, list[AnalyzedSound]]] = defaultdict(lambda: defaultdict(list))
        self.counts: dict[Translation, int] = defaultdict(int)
        self.spectrograms: dict[Translation, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))

    @torch.no_grad()
    def update(
        self,
        translation: Translation,
        samples: list[Sample],
        true_samples: list[Sample | None],
        translate: Callable[..., Tensor],
    ) -> None:
        for i, (sample, true) in enumerate(zip(samples, true_samples, strict=True)):
            if self.counts[translation] >= self.options.sentences:
                return
            self.counts[translation] += 1
            self._update_one(translation, sample, true, partial(translate, row=i))

    def _update_one(
        self, translation: Translation, sample: Sample, true: Sample | None, translate: Callable[[Tensor], Tensor]
    ) -> None:
        a, b, media = translation.source, translation.target, self.media
        source: Sound = media.read(sample.location)
        x, undo = media.to_model(source, 1, False, a)  # windows, as `transgan translate` cuts them
        frames = x.mT.double().numpy()
        start, baseline = (
            torch.from_numpy(y).float().mT for y in (self.starts(frames, a, b), self.baseline[a, b](frames))
        )
        features = {"": translate(x).cpu(), "of_mean_variance": x, "of_baseline": baseline, "of_start": start}
        recordings = {name: media.from_model(y, undo, b) for name, y in features.items()}
        recordings["of_source"] = source
        number = self.counts[translation] - 1
        recordings["of_real"] = media.read(true.location) if true else self._speech(b, number)
        sounds = {name: self.analyzer(each) for name, each in recordings.items()}
        synchronous = true is not None and _has_ground_truth(true)
        real, undo_real = media.to_model(recordings["of_real"], 1, True, b)
        numbers = self._source_frames(sounds, undo.analysis, undo_real.analysis, true is not None, synchronous)
        copied = replace(undo_real, analysis=media.extractor.at(undo.analysis, numbers, undo_real.analysis), domain=a)
        recordings["of_vocoder"] = media.from_model(real, copied, b)
        sounds["of_vocoder"] = self.analyzer(recordings["of_vocoder"])
        for name in ("", "of_source", "of_start", "of_vocoder", "of_real"):
            self.sounds[translation][name].append(sounds[name])
        if self.options.discriminator_steps:
            again = true is None and number >= len(self.domains[b].held_out or self.domains[b].samples)
            for name in ("", "of_source", "of_start", *([] if again else ["of_vocoder"])):
                self.spectrograms[translation][name].append(self._spectrogram(recordings[name]))
        values = self.values[translation]
        for name in ("", "of_source", "of_real"):
            speaker = self.speakers[translation.task](sounds[name].active_cepstra)
            values[_figure("speaker_share", name)].append(speaker == b)
        for measure, network in self.pretrained.items():
            for name in ("", "of_source", "of_start", "of_vocoder", "of_real"):
                reference = self._reference(b)[measure]
                values[_figure(measure, name)].append(network(recordings[name], reference, source))
        if true is None:
            return
        for figure, value in self._distortions(translation, sounds, synchronous).items():
            values[figure].append(value)
        distortions = self._feature_distortions(features, undo, undo_real.analysis, b, synchronous)
        for name, value in distortions.items():
            values[_figure("mcd_features", name)].append(value)
        if synchronous:
            self._compare_with_labels(values, sounds, true.location.ground_truth(), self.phones[b])

    def _reference(self, name: str) -> dict[str, Any]:
        """Return what pretrained networks compare with, by their names: of training recordings of a speaker."""
        if name not in self.references:
            samples = self.domains[name].samples[: self.options.sentences]
            speech = [self.media.read(sample.location) for sample in samples]
            real = [sound for sound in speech if not self.media.is_silent(sound)]
            self.references[name] = {measure: each.reference(real) for measure, each in self.pretrained.items()}
        return self.references[name]

    def _source_frames(
        self, sounds: Mapping[str, AnalyzedSound], source: Any, real: Any, paired: bool, synchronous: bool
    ) -> Array:
        """Return for each frame of a real recording the frame of the source that a conversion would be made of.

        The same moment or the aligned one, where the sentence is the same; otherwise those of the source in turn.

        Args:
            source, real: the media's analyses.
        """
        count, own = len(real.frames), np.arange(len(source.frames))
        if not paired:
            return np.resize(own, count)
        numbers = np.arange(count, dtype=float)
        if not synchronous:
            first, second = ((sounds[name].cepstra, sounds[name].active) for name in ("of_source", "of_real"))
            i, j = align_frames(first, second, synchronous=False)
            step = self.media.extractor.hop * RATE / (self.media.extractor.rate * HOP)  # in frames of the analyzer
            numbers = np.interp(numbers * step, j, i) / step
        aligned: Array = np.clip(numbers.round().astype(int), 0, len(own) - 1)
        return aligned

    def _spectrogram(self, sound: Sound) -> Tensor:
        """Return the log-mel spectrogram (80, T) of the active frames, of speech at the same loudness."""
        at_rate = sound.resample(RATE)
        samples = at_rate.samples * np.float32(audio.TARGET_RMS / max(audio.loudness(at_rate), 1e-6))
        bands = self.bands(torch.from_numpy(samples))
        active = audio.active(10 * np.log10(np.exp(2 * bands.double().numpy()).sum(1)))
        return bands[torch.from_numpy(active)].T

    def _distortions(
        self, translation: Translation, sounds: Mapping[str, AnalyzedSound], synchronous: bool
    ) -> dict[str, float]:
        """Return the distortions of one recording and, where frames are aligned by DTW, the errors of F0."""
        real, source = sounds["of_real"], sounds["of_source"]
        self.alignments.add("frame by frame" if synchronous else "aligned by DTW")
        figures = {}
        for name in (each for each in sounds if each != "of_real"):
            i, j = align_frames((sounds[name].cepstra, sounds[name].active), (real.cepstra, real.active), synchronous)
            distortion = measures.mel_cepstral_distortion(sounds[name].cepstra[i], real.cepstra[j])
            figures[_figure("mcd", name)] = float(distortion.mean())
            if name not in ("of_mean_variance", "of_baseline") and not synchronous:
                cents, _ = measures.f0_errors(sounds[name].f0[i], real.f0[j])
                if np.isfinite(cents):
                    figures[_figure("f0_error_cents", name)] = cents
        for name, (matrix, shift) in self.cepstral_maps[translation.source, translation.target].items():
            mapped = source.cepstra @ matrix.T + shift
            figures[_figure("mcd_cepstra", name)] = _mean_distortion(
                (mapped, source.active), (real.cepstra, real.active), synchronous
            )
        return figures

    def _feature_distortions(
        self, features: Mapping[str, Tensor], undo: Any, real: Any, domain: str, synchronous: bool
    ) -> dict[str, float]:
        """Return the distortions of features, before synthesis.

        Args:
            features: (K, B, T) normalized windows of the recording, by suffix of the figure.
            undo: what the media needs to join them.
            real: the media's analysis of the true conversion.
        """
        extractor, media = self.media.extractor, self.media
        active, real_active = (
            audio.active(np.asarray(extractor.levels(extractor.pack(each)))) for each in (undo.analysis, real)
        )
        frames = {name: media.denormalize(media.join(y, undo), domain) for name, y in features.items()}
        frames["of_source"] = undo.analysis.frames
        reference = self._cepstra(real.frames), real_active
        return {
            name: _mean_distortion((self._cepstra(each), active), reference, synchronous)
            for name, each in frames.items()
        }

    def _cepstra(self, frames: Array) -> Array:
        return frames if self.media.kind == "cepstra" else measures.cepstra_of_bands(frames.astype(np.float64))

    def _compare_with_labels(
        self, values: dict[str, list[float]], sounds: Mapping[str, AnalyzedSound], truth: Any, phones: Any
    ) -> None:
        """Append phone accuracy and errors of F0, which need the labels of synthetic voices."""
        known = truth.at(sounds[""].times)
        speech = known.labels > 0
        for name in ("", "of_source", "of_start", "of_real"):
            correct = phones(sounds[name].cepstra[speech]) == known.labels[speech]
            values[_figure("phone_accuracy", name)].append(float(correct.mean()))
        for name in ("", "of_source", "of_start", "of_vocoder", "of_real"):
            cents, voicing_error = measures.f0_errors(sounds[name].f0, known.f0)
            values[_figure("voicing_error", name)].append(voicing_error)
            if np.isfinite(cents):
                values[_figure("f0_error_cents", name)].append(cents)

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {translation: self._figures(translation) for translation in self.values}

    def _figures(self, translation: Translation) -> dict[str, float]:
        values = self.values[translation]
        figures = {name: float(np.mean(each)) for name, each in values.items() if each}
        if "mcd" in values:
            figures["mcd_low"], figures["mcd_high"] = measures.bootstrap_interval(np.array(values["mcd"]))
        sounds = self.sounds[translation]
        cepstra = {name: [sound.active_cepstra for sound in each] for name, each in sounds.items()}
        compared = {name: (cepstra[name], cepstra["of_real"]) for name in ("", "of_source", "of_start", "of_vocoder")}
        compared["of_split"] = self.halves[translation.target]
        for name, (these, those) in compared.items():
            if these and those:
                figures[_figure("variance_ratio", name)] = measures.variance_ratio(these, those)
                distance = measures.modulation_distance(these, those)
                if np.isfinite(distance):
                    figures[_figure("modulation_distance", name)] = distance
        figures |= self._separations(translation)
        for name in ("", "of_source", "of_start", "of_vocoder", "of_real"):
            voiced = [sound.f0[sound.f0 > 0] for sound in sounds[name]]
            f0 = np.concatenate(voiced or [np.empty(0)])
            if len(f0):
                figures[_figure("f0_hz", name)] = float(np.exp(np.log(f0).mean()))
                figures[_figure("f0_spread", name)] = float(np.log(f0).std())
        return figures

    def _separations(self, translation: Translation) -> dict[str, float]:
        """Return `written_auc`; none for fewer than four recordings."""
        spectrograms, target = self.spectrograms[translation], translation.target
        if min(len(spectrograms[name]) for name in ("", "of_vocoder")) < MIN_SEPARATED:
            return {}

        def auc(real: list[Tensor], others: list[Tensor]) -> float:
            return held_out_auc(real, others, CROP_FRAMES, steps=self.options.discriminator_steps)

        if target not in self.split_auc:
            samples = self.domains[target].samples[: 2 * self.options.sentences]
            speech = [self.media.read(sample.location) for sample in samples]
            bands = [self._spectrogram(sound) for sound in speech if not self.media.is_silent(sound)]
            enough = len(bands) >= 2 * MIN_SEPARATED
            self.split_auc[target] = auc(bands[::2], bands[1::2]) if enough else float("nan")
        figures = {_figure("written_auc", name): auc(spectrograms["of_vocoder"], spectrograms[name])
                   for name in ("", "of_source", "of_start")}  # fmt: skip
        figures["written_auc_of_split"] = self.split_auc[target]
        return {name: value for name, value in figures.items() if np.isfinite(value)}

    def protocol(self) -> dict[str, str]:
        alignment = " and ".join(sorted(self.alignments)) if getattr(self, "alignments", None) else ""
        definition = {
            "written_auc": f"of crops of {CROP_FRAMES} active frames of 8 ms, 80 log-mel bands of the written wav; "
            f"real speech after analysis and synthesis; two folds, {self.options.discriminator_steps} steps each"
        }
        if not alignment:
            return definition if self.options.discriminator_steps else {}
        frames = f"c1-c24, frames within {audio.ACTIVE_DB:.0f} dB of the 97th percentile, {alignment}"
        features = "the features themselves" if self.media.kind == "cepstra" else "the mel bands by DCT"
        cepstra = self.analyzer.description
        protocols = {
            "mcd": f"MCD-TG: written wav at 16 kHz every 5 ms, {cepstra}, {frames}",
            "mcd_features": f"before the vocoder, {features}, {frames}",
            "mcd_cepstra": f"closed forms on the cepstra that are compared, {cepstra}, no vocoder, {frames}",
        }
        if "aligned by DTW" in self.alignments:
            pitch = "SwiftF0" if self.options.pitch == "swift_f0" else "DIO and StoneMask"
            protocols["f0_error_cents"] = (
                f"{pitch}, frames aligned by DTW of cepstra where both are voiced; not 0 even for a perfect "
                "conversion, since the F0 contours of two people differ"
            )
        return protocols | definition if self.options.discriminator_steps else protocols


def _figure(name: str, suffix: str) -> str:
    return f"{name}_{suffix}" if suffix else name


def _halves(sounds: Sequence[AnalyzedSound], most: int) -> tuple[list[Array], list[Array]]:
    """Return the active cepstra of every second of the first 2 * `most` recordings, and those of the others."""
    cepstra = [sound.active_cepstra for sound in sounds[: 2 * most]]
    return cepstra[::2], cepstra[1::2]


def _has_ground_truth(sample: Sample) -> bool:
    """Return whether a sample is a synthetic voice, whose frames and labels are those of its source."""
    return hasattr(sample.location, "ground_truth")


def _phone_classifier(real: list[tuple[Sample, AnalyzedSound]]) -> measures.PhoneClassifier | None:
    if not all(_has_ground_truth(sample) for sample, _ in real):
        return None
    labels = np.concatenate([sample.location.ground_truth().at(sound.times).labels for sample, sound in real])
    frames = np.concatenate([sound.cepstra for _, sound in real])
    return measures.PhoneClassifier(frames[labels > 0], labels[labels > 0])


def _mean_distortion(converted: tuple[Array, Array], reference: tuple[Array, Array], synchronous: bool) -> float:
    """Return the mean distortion over corresponding frames, see `align_frames`."""
    i, j = align_frames(converted, reference, synchronous)
    return float(measures.mel_cepstral_distortion(converted[0][i], reference[0][j]).mean())
