"""The metric `conversion`: with ground truth frame by frame, with alignment by DTW, and without true conversions."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

pytest.importorskip("soundfile", reason="reading recordings needs soundfile")
pytest.importorskip("scipy", reason="synthetic voices need scipy")
pytest.importorskip("pyworld", reason="figures need pyworld")

import soundfile
from transgan_voice import measures
from transgan_voice.analysis import AnalyzedSound, Analyzer, align_frames, closed_form_maps
from transgan_voice.audio import read_sound
from transgan_voice.metrics import Conversion, ConversionOptions
from transgan_voice.sources import SyntheticVoice, speaker

from transgan.api import Translation
from transgan.data.domains import Domains
from transgan.data.real_samples import real_domains
from transgan.evaluation.unmeasured import true_translations
from transgan.plan import Plan

DATA = Path(__file__).resolve().parents[4] / "shared/data/speech"
RECIPE = """
[data]
source = "folders"
root = "{root}"
media = {{ use = "voice", bands = 32, hop = 256, window = 1024, iterations = 2, excerpt = 48 }}
size = 16
[domains]
anna = {{ path = "train/anna", held_out = "test/anna" }}
bert = {{ path = "train/bert", held_out = "test/bert" }}
[tasks]
voice = {{ between = ["anna", "bert"], paired = {paired} }}
[train]
steps = 1
[generators.residual_1d]
width = 4
[losses]
cycle = 1.0
[[phases]]
side = "generator"
"""
THERE = Translation("voice", "anna", "bert")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Different training sentences of Anna and Bert; Bert's held-out recording is Anna's after a silence."""
    root = tmp_path_factory.mktemp("recordings")

    def write(name: str, samples: np.ndarray) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, samples, 16_000)

    for i in range(3):
        write(f"train/anna/{i}.wav", SyntheticVoice(0, 2 * i, speaker("low", 1.1))())
        write(f"train/bert/{i}.wav", SyntheticVoice(0, 2 * i + 1, speaker("high", 1.1))())
    sentence = SyntheticVoice(0, 10, speaker("low", 1.1))()
    write("test/anna/a.wav", sentence)
    write("test/bert/a.wav", np.concatenate([np.zeros(8_000, np.float32), sentence]))
    return root


def figures_of(plan: Plan, translate: Callable[..., Tensor]) -> tuple[dict[str, float], dict[str, str]]:
    """Return the figures and the protocol for a translation function."""
    domains = Domains(plan)
    metric = Conversion(ConversionOptions(trained_on=3, start="warp_transport", discriminator_steps=5))
    metric.prepare(real_domains(domains, 16, "cpu"), {"voice": ["anna", "bert"]}, 0)
    metric.reset()
    samples = domains["anna"].held_out
    metric.update(THERE, samples, true_translations(domains, THERE, samples), translate)
    return metric.compute()[THERE], metric.protocol()


def test_dtw_makes_a_delayed_recording_equal(recordings: Path, planned: Callable[..., Plan]) -> None:
    figures, protocol = figures_of(planned(RECIPE.format(root=recordings, paired='"held_out"')), lambda x, row: x)
    assert "aligned by DTW" in protocol["mcd"] and "frame by frame" not in protocol["mcd"]
    assert figures["mcd_of_source"] < 0.5 < 2 < figures["mcd"] < figures["mcd_of_mean_variance"] + 1e-6
    assert (
        figures["mcd_cepstra_of_baseline"] > 2
    )  # maps to the voice of Bert's training recordings, unlike the reference
    assert figures["variance_ratio_of_source"] == pytest.approx(1, abs=0.1)
    assert (figures["speaker_share_of_source"], figures["speaker_share_of_real"]) == (
        0.0,
        0.0,
    )  # the reference is Anna's
    assert not {"phone_accuracy", "voicing_error"} & figures.keys()
    assert figures["f0_error_cents_of_source"] < 20 and "aligned by DTW" in protocol["f0_error_cents"]
    assert figures["f0_hz_of_source"] == pytest.approx(figures["f0_hz_of_real"], rel=0.01)
    assert figures["f0_spread_of_source"] == pytest.approx(figures["f0_spread_of_real"], rel=0.1)


def test_without_true_conversions_the_reference_is_held_out_speech(
    recordings: Path, planned: Callable[..., Plan]
) -> None:
    figures, protocol = figures_of(planned(RECIPE.format(root=recordings, paired="false")), lambda x, row: x)
    assert set(protocol) == {"written_auc"} and not any(name.startswith(("mcd", "f0_error")) for name in figures)
    assert {"speaker_share", "variance_ratio", "modulation_distance_of_source"} <= figures.keys()
    assert figures["variance_ratio_of_source"] == pytest.approx(1, abs=0.1)


def test_synthetic_voices_are_compared_frame_by_frame(planned: Callable[..., Plan]) -> None:
    """For a translation function that returns the ground truth, all distortion is that of the vocoder."""
    recipe = RECIPE.replace('"folders"\nroot = "{root}"', '{{ use = "synthetic_voices", count = 4 }}\nheld_out = 0.3')
    for name, who in (("anna", "low"), ("bert", "high")):
        recipe = recipe.replace(f'{{{{ path = "train/{name}", held_out = "test/{name}" }}}}', f'"{who}"')
    plan = planned(recipe.format(paired="false"))
    domains = Domains(plan)
    sample = domains["anna"].held_out[0]
    true = domains.source.counterpart(sample, "low", "high")
    assert true is not None
    media = domains.media_at("bert", 16)
    domains.fit_statistics()
    x, _ = media.to_model(media.read(true.location), 1, False, "bert")
    figures, protocol = figures_of(plan, lambda _, row: x)
    assert "frame by frame" in protocol["mcd"] and "f0_error_cents" not in protocol
    assert figures["mcd_features"] < 1e-3 < figures["mcd_features_of_source"]
    assert figures["mcd"] == pytest.approx(figures["mcd_of_vocoder"], rel=0.2)
    assert figures["mcd"] < figures["mcd_of_source"]
    assert figures["phone_accuracy_of_real"] > figures["phone_accuracy_of_source"]


def test_corresponding_frames_by_dtw_and_frame_by_frame() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 3))
    held = np.repeat(a, [1, 1, 2, 1, 3, 1], axis=0)
    loud = np.array([False, True, True, True, True, True])
    i, j = align_frames((a, loud), (held, np.repeat(loud, [1, 1, 2, 1, 3, 1])), False)
    assert (i.tolist(), j.tolist()) == ([1, 2, 2, 3, 4, 4, 4, 5], [1, 2, 3, 4, 5, 6, 7, 8])
    i, j = align_frames((a, np.ones(6, bool)), (held, np.arange(9) > 3), True)
    assert i.tolist() == j.tolist() == [4, 5]


def test_closed_form_maps_match_mean_and_variance_or_covariance_of_the_target() -> None:
    rng = np.random.default_rng(0)
    source, target = (rng.normal(size=(2000, 24)) @ rng.normal(size=(24, 24)) + rng.normal(size=24) for _ in range(2))
    mapped = {name: source @ matrix.T + shift for name, (matrix, shift) in closed_form_maps(source, target).items()}
    assert all(x.mean(0) == pytest.approx(target.mean(0)) for x in mapped.values())
    assert mapped["of_mean_variance"].std(0) == pytest.approx(target.std(0))
    assert np.cov(mapped["of_baseline"].T) == pytest.approx(np.cov(target.T), abs=1e-6)


@pytest.mark.slow
def test_baselines_on_real_speech_agree_with_another_implementation() -> None:
    """54 parallel sentences of a female and a male speaker of the Voice Conversion Challenge 2016.

    The expected distortions are those of an independent implementation (SPTK's mel-cepstra, scikit-learn's mixtures).
    """
    if not DATA.is_dir():
        pytest.skip(f"recordings of real speakers are not in {DATA}")
    analyzer = Analyzer()

    def analyzed(folder: str) -> Iterator[AnalyzedSound]:
        for path in sorted((DATA / folder).glob("*.wav")):
            yield analyzer(read_sound(path))

    training = (np.concatenate([x.active_cepstra for x in analyzed(f"train/{name}")]) for name in ("SF1", "TM3"))
    maps = closed_form_maps(*training)
    maps["of_source"] = np.eye(24), np.zeros(24)
    found: dict[str, list[float]] = {name: [] for name in maps}
    for source, real in zip(analyzed("eval/SF1"), analyzed("eval/TM3"), strict=True):
        for name, (matrix, shift) in maps.items():
            mapped = source.cepstra @ matrix.T + shift
            i, j = align_frames((mapped, source.active), (real.cepstra, real.active), False)
            found[name].append(float(measures.mel_cepstral_distortion(mapped[i], real.cepstra[j]).mean()))
    means = {name: float(np.mean(each)) for name, each in found.items()}
    assert means == pytest.approx({"of_source": 9.20, "of_mean_variance": 8.69, "of_baseline": 8.10}, abs=0.1)
