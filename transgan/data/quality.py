"""What is in a data set, and what is probably wrong with it: the work of `transgan data check`."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from transgan.api.files import find_files
from transgan.api.samples import Media, Sample
from transgan.data.cache import code_of
from transgan.data.contents import Contents, file_of, part_of
from transgan.data.domains import Domains, describe_skipped
from transgan.data.records import Records, name_of
from transgan.data.similar import near_duplicates
from transgan.data.splits import counted, shared
from transgan.errors import DataError, TransganError, UsageError
from transgan.options import Options
from transgan.plan.plan import MediaPlan
from transgan.plugin_errors import in_one_line
from transgan.registry import Registry
from transgan.text import listed, option

#: Largest number of files, or of groups of them, that a finding lists; the JSON has all.
MAX_LISTED = 4
#: Domains of a task whose sizes differ by more than this factor are reported.
UNBALANCED = 4.0


@dataclass(frozen=True)
class CheckedDomain:
    """A domain to check."""

    name: str
    samples: Sequence[Sample]
    held_out: Sequence[Sample]
    media: MediaPlan
    size: Any
    """Of training samples."""


@dataclass(frozen=True)
class CheckedData:
    """A data set to check."""

    what: str
    """The recipe or folder."""
    domains: Sequence[CheckedDomain]
    contents: Contents
    together: Sequence[Sequence[str]]
    """Domains that are to differ: those of each task."""
    skipped: Sequence[str]
    """What was skipped, and why, a sentence each."""
    findings: Sequence[str]
    """What is known to be wrong, a sentence each."""
    on_disk: bool = True
    """Whether what is found of each file is kept in the cache folder."""

    @property
    def count(self) -> int:
        """Number of samples."""
        return sum(len(each.samples) + len(each.held_out) for each in self.domains)


@dataclass
class _Inspected:
    """What was found of one sample."""

    domain: str
    held_out: bool
    sample: Sample
    path: str
    short: str
    """The path below the folder that all files are in, for messages."""
    why_not: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    kind: str = ""
    remarks: Sequence[str] = ()
    fingerprint: int | None = None


def of_recipe(domains: Domains, what: str) -> CheckedData:
    """Return the data of a recipe, to be checked."""
    plan = domains.plan
    size = plan.stages[-1].size
    return CheckedData(
        what,
        [CheckedDomain(n, each.samples, each.held_out, plan.media[n], size) for n, each in domains.items()],
        domains.contents,
        [task.domains for task in plan.recipe.tasks.values()],
        domains.skipped,
        [*domains.overlaps, *domains.warnings],
        plan.recipe.data.cache,
    )


def of_folder(folder: Path, registry: Registry, use: str | None) -> CheckedData:
    """Return the files in a folder, to be checked; each of its folders is a domain, if there are several.

    Args:
        use: the name of a media; defaults to that which reads most of the files.

    Raises:
        DataError: there is nothing that a media reads.
        UsageError: there is no such media.
    """
    found = find_files(folder)
    known = {e.name: e.cls for e in registry.entries.values() if e.kind == "media" and e.cls.suffixes}
    if use is not None and use not in known:
        raise UsageError(f"{option('media', use)}: there is no such media. {registry.hint(use, known)}")
    endings = Counter(path.suffix.lower() for path in found.files)
    read = {name: sum(endings[suffix] for suffix in cls.suffixes) for name, cls in known.items()}
    name = use or max(read, key=lambda each: read[each], default="")
    if not read.get(name):
        what = listed((f"{count} ending in {ending or 'nothing'}" for ending, count in endings.most_common(5)))
        raise DataError(f"{folder}: no files that {f'the media {use}' if use else 'a media'} reads; found {what}")
    cls = known[name]
    skipped = dict(found.skipped)
    tops: dict[str, list[Sample]] = defaultdict(list)
    for path in found.files:
        if path.suffix.lower() in cls.suffixes:
            parts = path.relative_to(folder).parts
            tops[parts[0] if len(parts) > 1 else "."].append(Sample("/".join(parts), path))
        else:
            skipped[path] = f"ending in {path.suffix.lower()}" if path.suffix else "without a suffix"
    folders = [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")]
    empty = sorted(each.name for each in folders if each.name not in tops and each not in found.unreadable)
    if len(tops) == 1 and not empty:
        tops = {folder.resolve().name or str(folder): next(iter(tops.values()))}
    media = MediaPlan(name, cls, cls.Options())
    contents = Contents(sample for each in tops.values() for sample in each)
    return CheckedData(
        str(folder),
        [CheckedDomain(top, each, [], media, 1) for top, each in sorted(tops.items())],
        contents,
        [sorted(tops)],
        [f"skipped files: {describe_skipped(skipped)}"] if skipped else [],
        [
            *(f"domain {each}: no files that the media {name} reads" for each in empty),
            *(shared(sorted(tops), tops, contents) if len(tops) > 1 else []),
        ],
    )


def check_data(data: CheckedData, seen: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Inspect every sample of a data set; return what is in it and what is probably wrong.

    Args:
        seen: called after each sample.

    Returns:
        What is printed as JSON: `domains` by name, `copies` and `near_duplicates` as lists of files, `skipped` and
        `findings` as sentences.
    """
    common = _common_folder(file_of(s) for d in data.domains for s in (*d.samples, *d.held_out))
    inspected = [each for domain in data.domains for each in _inspect(domain, common, data.on_disk, seen)]
    findings = [*data.findings]
    for domain in data.domains:
        findings += _domain_findings(domain.name, [each for each in inspected if each.domain == domain.name])
    findings += _balance_findings(data)
    groups = _distinct(inspected, data.contents)
    copies = [group for group in groups if len(group) > 1]
    if copies:
        count = sum(map(len, copies)) - len(copies)
        findings.append(f"{counted(count, 'file')} with the same content as another: {_alike(copies, ' = ')}")
    near = _near(groups)
    if near:
        findings.append(f"{counted(len(near), 'group')} of near-duplicates: {_alike(near, ' ~ ')}")
    findings += _leaks([*copies, *near], data)
    return {
        "data": data.what,
        "domains": {
            domain.name: _summary(domain, [each for each in inspected if each.domain == domain.name])
            for domain in data.domains
        },
        "skipped": list(data.skipped),
        "copies": [[each.path for each in group] for group in copies],
        "near_duplicates": [[each.path for each in group] for group in near],
        "findings": findings,
    }


def _common_folder(paths: Iterable[Path | None]) -> str:
    """Return the folder that all files are in, or an empty text."""
    folders = {str(path.absolute().parent) for path in paths if path}
    try:
        return os.path.commonpath(folders)
    except ValueError:  # there are none, or they are on several drives
        return ""


def _inspect(domain: CheckedDomain, common: str, on_disk: bool, seen: Callable[[], object]) -> list[_Inspected]:
    """Inspect the files of a domain; what functions make is only counted."""
    media = domain.media.at(domain.size)
    code = code_of(type(media).__mro__)
    where = type(media).__module__, type(media).__qualname__
    records = Records("checked", *where, code, media.options, domain.size, common, on_disk=on_disk and bool(code))

    def inspect(sample: Sample, held_out: bool) -> _Inspected:
        path = file_of(sample)
        full = str(sample.location) if path else sample.key
        short = full.removeprefix(common).lstrip("/\\") if common and path and path.is_absolute() else full
        result = _Inspected(domain.name, held_out, sample, full, short)
        if path is None:
            return result
        name = f"{name_of(path)}{part_of(sample)}"
        try:
            status = path.stat()
        except OSError as error:
            result.why_not = f"{path}: cannot be read: {error.strerror}"
            return result
        value = records.get(name, status)
        if not isinstance(value, dict):
            value = _described(media, sample)
            records.put(name, status, value)
        for key, each in value.items():
            setattr(result, key, each)
        return result

    everything = [(sample, False) for sample in domain.samples] + [(sample, True) for sample in domain.held_out]
    results = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for result in pool.map(lambda each: inspect(*each), everything):
            results.append(result)
            seen()
    records.save()
    return results


def _described(media: Media[Options], sample: Sample) -> dict[str, Any]:
    """Return what a media says of a file, as JSON can hold it."""
    try:
        found = media.describe(media.read(sample.location))
    except TransganError as error:
        return {"why_not": str(error)}
    except Exception as error:  # one file never stops the check, whatever the media makes of it
        return {"why_not": f"{sample.location}: {in_one_line(error)}"}
    figures = {name: float(value) for name, value in found.figures.items()}
    described: dict[str, Any] = {"figures": figures, "kind": found.kind, "remarks": list(found.remarks)}
    return {**described, "fingerprint": found.fingerprint}


def _domain_findings(name: str, inspected: Sequence[_Inspected]) -> list[str]:
    """Return what is wrong with single files of a domain."""
    findings = []
    if unreadable := [each.why_not for each in inspected if each.why_not]:
        findings.append(
            f"domain {name}: {len(unreadable)} of {len(inspected)} files cannot be read: "
            f"{listed(unreadable, MAX_LISTED)}"
        )
    by_remark: dict[str, list[str]] = defaultdict(list)
    for each in inspected:
        for remark in each.remarks:
            by_remark[remark].append(each.short)
    for remark, paths in by_remark.items():
        findings.append(f"domain {name}: {remark}: {counted(len(paths), 'file')}: {listed(paths, MAX_LISTED)}")
    return findings


def _balance_findings(data: CheckedData) -> list[str]:
    """Return which domains that are trained together differ much in size."""
    sizes = {domain.name: len(domain.samples) for domain in data.domains}
    findings = []
    for names in data.together:
        small, large = min(names, key=lambda n: sizes[n]), max(names, key=lambda n: sizes[n])
        if sizes[large] > UNBALANCED * sizes[small]:
            findings.append(f"domains differ in size: {large} has {sizes[large]:,} samples, {small} {sizes[small]:,}")
    return findings


def _distinct(inspected: Sequence[_Inspected], contents: Contents) -> list[list[_Inspected]]:
    """Return groups of samples of the same content, one for each file: a file in several domains is one."""
    groups: dict[Hashable, dict[str, _Inspected]] = defaultdict(dict)
    for each in inspected:
        if file_of(each.sample):
            groups[contents.of(each.sample), part_of(each.sample)].setdefault(each.path, each)
    return [list(group.values()) for group in groups.values()]


def _near(groups: Sequence[Sequence[_Inspected]]) -> list[list[_Inspected]]:
    """Return groups of near-duplicates, with one sample of each content."""
    first = [group[0] for group in groups]
    return [[first[i] for i in rows] for rows in near_duplicates([each.fingerprint for each in first])]


def _leaks(groups: Sequence[Sequence[_Inspected]], data: CheckedData) -> list[str]:
    """Return in how many groups of similar samples some are held out and others not, or in different domains."""
    findings = []
    across = [group for group in groups if len({each.held_out for each in group}) > 1]
    if across:
        findings.append(
            "similar samples on both sides of the split, so that figures on held-out samples are too good: "
            f"{counted(len(across), 'group')}: {_alike(across, ' ~ ')}"
        )
    for names in data.together:
        if mixed := [group for group in groups if len({each.domain for each in group if each.domain in names}) > 1]:
            findings.append(
                f"similar samples in several of the domains {listed(names, MAX_LISTED)}: "
                f"{counted(len(mixed), 'group')}: {_alike(mixed, ' ~ ')}"
            )
    return findings


def _alike(groups: Sequence[Sequence[_Inspected]], sign: str) -> str:
    return listed((sign.join(each.short for each in group[:3]) for group in groups), MAX_LISTED)


def _summary(domain: CheckedDomain, inspected: Sequence[_Inspected]) -> dict[str, Any]:
    """Return what is in a domain."""
    readable = [each for each in inspected if not each.why_not]
    names = dict.fromkeys(name for each in readable for name in each.figures)
    remarks: dict[str, list[str]] = defaultdict(list)
    for each in readable:
        for remark in each.remarks:
            remarks[remark].append(each.path)
    return {
        "media": domain.media.use,
        "samples": len(domain.samples),
        "held_out": len(domain.held_out),
        "synthetic": sum(file_of(each.sample) is None for each in inspected),
        "unreadable": {each.path: each.why_not for each in inspected if each.why_not},
        "remarks": dict(remarks),
        "kinds": dict(Counter(each.kind for each in readable if each.kind).most_common()),
        "figures": {name: _range(each.figures[name] for each in readable if name in each.figures) for name in names},
        "labels": _labels(each.sample for each in inspected),
    }


def _range(values: Iterable[float]) -> dict[str, float]:
    known = sorted(values)
    each = {"least": known[0], "median": median(known), "largest": known[-1], "mean": fmean(known)}
    return {name: float(f"{value:.6g}") for name, value in each.items()}


def _labels(samples: Iterable[Sample]) -> dict[str, Any]:
    """Return, for each label, the number of samples of each value; for numbers of many values, their range."""
    values: dict[str, list[Any]] = defaultdict(list)
    for sample in samples:
        for name, value in sample.attributes.items():
            values[name].append(value)
    labels: dict[str, Any] = {}
    for name, each in values.items():
        numbers = all(isinstance(value, (int, float)) for value in each)
        counts = Counter(map(str, each))
        labels[name] = _range(map(float, each)) if numbers and len(counts) > 12 else dict(counts.most_common())
    return labels
