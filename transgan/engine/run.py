"""One training and its folder: what stands around the loop. Saving, showing, measuring, resuming and stopping."""

import json
import platform
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import transgan
from transgan import runs
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.engine.audit import Heed, audit, told_of
from transgan.engine.balance import in_words
from transgan.engine.best import Best
from transgan.engine.evaluate import Evaluation, preview
from transgan.engine.loop import Engine
from transgan.engine.networks import Networks
from transgan.engine.processes import Processes
from transgan.engine.progress import Progress
from transgan.engine.start import start_networks
from transgan.engine.state import roles
from transgan.errors import INTERRUPTED, TERMINATED, DiskError, DivergedError, TransganError
from transgan.model import MEDIA, learnt_of, learnt_tensors, model_card, model_config
from transgan.plan import Plan
from transgan.recipe import Document, write_recipe
from transgan.registry import Registry
from transgan.runs.advice import Adviser, Names, advise
from transgan.runs.report import write_report

#: Steps between two looks for a signal that has reached another process; one process looks after every step.
AGREE_EVERY = 10


class Run:
    """A run that was planned, from its first step or from its newest checkpoint to its end.

    Args:
        folder: where everything goes; opened by the main process alone (None on others).
        domains: the plan's, if they were found already.
    """

    def __init__(
        self,
        document: Document,
        plan: Plan,
        registry: Registry,
        processes: Processes,
        folder: runs.RunFolder | None,
        domains: Domains | None = None,
    ):
        self.plan = plan
        self.document = document
        self.registry = registry
        self.processes = processes
        self.folder = folder
        self.path: Path = Path(processes.share(str(folder.path) if folder else ""))
        self.domains = domains or Domains(plan)
        self.batches = Batches(plan, self.domains, processes.rank, processes.world, processes.device)
        self.engine = Engine(plan, processes)
        self.evaluation = Evaluation(plan, self.domains, processes.device)
        self.best = Best(plan)
        self.adviser = Adviser(Names(**roles(plan)))
        self.signal = 0
        self.failed_saves = 0
        self.told: set[str] = set()

    @contextmanager
    def translating(self) -> Iterator[Networks]:
        """The networks as they translate: without dropout, and the moving average of the weights where there is one."""
        average = self.engine.average
        if average:
            yield Networks(self.plan, self.processes.device, average.networks)
            return
        for network in self.engine.networks.networks.values():
            network.eval()
        try:
            yield self.engine.networks
        finally:
            for network in self.engine.networks.networks.values():
                network.train()

    def go(self, progress: Progress) -> int:
        """Trains to the end; returns the exit code: 0, or that of the signal that ended it early."""
        outcome = "failed"
        try:
            with self._logs() as log, self._listening():
                self._resume(progress, log)
                self.domains.learn()
                self._start(progress)
                self._tell("run_started")
                self._open_folder()
                code = self._train(log, progress)
                outcome = "interrupted" if code else "finished"
                if not code:
                    self._finish(progress)
                return code
        finally:
            with suppress(DiskError):
                self._note(f"{outcome} at step {self.engine.step}")
            self._tell("run_finished", outcome=outcome)

    def _train(self, log: "runs.MetricsLog | None", progress: Progress) -> int:
        train = self.plan.recipe.train
        sample_every = train.sample_every or max(1, train.steps // 10)
        checkpoint_every = train.checkpoint_every or max(1, min(2000, train.steps // 10))
        every = self.plan.recipe.evaluate.every
        if self.best.figure and 0 < self.engine.step < train.steps and self.engine.step % every == 0:
            self._measure(self.engine.step, log)  # a checkpoint is written before its step is measured
        for step, losses in self.engine.train(self.batches):
            last = step == train.steps
            if self.folder:
                self._tell("step_finished", step=step, losses=losses)
            if train.logs(step):
                self._log(step, losses, log, progress)
            code = self._stop_code(step)
            if step % checkpoint_every == 0 or last or code:
                self._save(step)
            if code:
                return code
            if step % sample_every == 0 or last:
                self._draw(step, log, progress)
            if every and step % every == 0 and not last:
                self._measure(step, log)
        return 0

    def _log(self, step: int, losses: Mapping[str, Tensor], log: "runs.MetricsLog | None", progress: Progress) -> None:
        engine = self.engine
        figures = {**engine.objective.state.figures(), **engine.objective.augmenter.figures()}
        read = self.processes.mean({**losses, **figures})
        values = {name: read.pop(name) for name in losses}
        if bad := [name for name, value in values.items() if not abs(value) < float("inf")]:
            raise DivergedError(
                f"step {step}: not finite: {', '.join(bad[:3])}. The checkpoints before "
                f"it are whole; lower the learning rates ([optimizers]) or set train.clip, and resume {self.path}"
            )
        read |= engine.balance.figures()
        if log:
            clock = self.batches.clock(step)
            rates = {
                side: getattr(self.plan.stage_at(max(0, step - 1)).optimizers, side).lr.at_clock(clock)
                for side in ("generator", "discriminator")
            }
            weights = {f"weight/{name}": self.plan.weight(name, clock) for name in self.plan.losses}
            record = {
                "step": step,
                "epoch": round(clock.epoch, 4),
                "time": round(time.time(), 3),
                **{f"lr/{side}": rate for side, rate in rates.items()},
                **weights,
                **{name: float(f"{value:.6g}") for name, value in {**values, **read}.items()},
            }
            log.write(record)
            for advice in self.adviser.hear(record):
                progress.say(f"step {step}: {advice}")
                self._note(f"step {step}: {advice}")
        for path, why in ((p, w) for domain in self.domains.values() for p, w in domain.unreadable.items()):
            if path not in self.told:
                self.told.add(path)
                progress.say(f"warning: replaced by another sample: {why}")
                self._note(f"replaced by another sample: {why}")
        progress.step(step, values, in_words(read))

    def _stop_code(self, step: int) -> int:
        """The exit code if any process was told to stop: all of them learn of it at the same step."""
        if self.processes.world == 1 or step % AGREE_EVERY == 0:
            return self.processes.largest(self.signal)
        return 0

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the run after the step and a checkpoint; a second one ends it at once."""

        def note(number: int, frame: Any) -> None:
            if self.signal:
                raise KeyboardInterrupt
            self.signal = INTERRUPTED if number == signal.SIGINT else TERMINATED

        old = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in old.items():
                signal.signal(each, handler)

    @contextmanager
    def _logs(self) -> Iterator["runs.MetricsLog | None"]:
        if not self.folder:
            yield None
            return
        with runs.MetricsLog(self.folder.metrics) as log:
            yield log

    def _tell(self, hook: str, **arguments: Any) -> None:
        """Calls a lifecycle hook of every plugin, on the main process."""
        if self.processes.main:
            getattr(self.registry.hook, hook)(run=self, **arguments)

    def _open_folder(self) -> None:
        if self.folder:
            if not self.folder.recipe.exists():  # what is there knows better where each value came from
                _write(self.folder.recipe, write_recipe(self.document, self.plan.filled))
            environment = {
                "transgan": transgan.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "device": str(self.processes.device),
                "processes": self.processes.world,
                "plugins": self.plan.plugins,
            }
            _write(self.folder.path / "env.json", json.dumps(environment, indent=2) + "\n")
            self._note(
                f"begins at step {self.engine.step} of {self.plan.recipe.train.steps} on {environment['device']}"
            )

    def _save(self, step: int) -> None:
        """A checkpoint. A full disk is told and outlived three times, since older checkpoints are untouched."""
        failure: TransganError | None = None
        self._check_replicas(step)
        groups, state = self.state()  # on every process: some of it is gathered
        if self.folder:
            try:
                path = runs.save(self.folder.checkpoints, step, groups, state, keep=self.plan.recipe.train.keep)
                self.failed_saves = 0
                self._note(f"step {step}: checkpoint {path.name}")
                self._tell("checkpoint_saved", step=step, path=path)
            except DiskError as error:
                self.failed_saves += 1
                if self.failed_saves >= 3 or step == self.plan.recipe.train.steps:
                    failure = error
                else:
                    self._note(f"step {step}: no checkpoint: {error}; trying again at the next one")
            except TransganError as error:
                failure = error
        if failure := self.processes.share(failure):
            raise failure

    def _check_replicas(self, step: int) -> None:
        """Every process must hold the same weights; if not, a plugin has drawn or counted for itself."""
        if self.processes.world == 1:
            return
        for name, network in self.engine.networks.networks.items():
            sums = [parameter.detach().double().sum() for parameter in network.parameters()]
            if sums and not self.processes.all_equal(torch.stack(sums)):
                raise DivergedError(
                    f"step {step}: the processes hold different weights of '{name}'; no checkpoint is written"
                )

    def _note(self, text: str) -> None:
        if self.folder:
            with runs.TextLog(self.folder.log) as log:
                log.write(text)

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """All that a run is, as tensors by group and name and a JSON object."""
        engine = self.engine
        groups = {"networks": _tensors(engine.networks.networks), "optimizers": engine.optimizers.state()}
        if engine.average:
            groups["ema"] = _tensors(engine.average.networks)
        if learnt := learnt_tensors(self.domains.learnt):
            groups["media"] = learnt
        pools, counts = engine.objective.history.state()
        groups["history"] = dict(pools)
        if remembered := engine.objective.memory.values:
            groups["memory"] = dict(remembered)
        if self.best.tensors:
            groups["best"] = self.best.tensors
        state = {
            "step": engine.step,
            "best": self.best.state(),
            "samples": self.batches.samples_before(engine.step),
            "history": counts,
            "ema_updates": engine.average.updates if engine.average else 0,
            "balance": engine.balance.state(),
        }
        return groups, state

    def _resume(self, progress: Progress, log: "runs.MetricsLog | None") -> None:
        checkpoint, rejected = runs.newest(self.path / "checkpoints")
        for line in rejected:
            progress.say(f"passing over a damaged checkpoint: {line}")
            self._note(f"passed over {line}")
        step = checkpoint.step if checkpoint else 0
        if self.processes.share(step) != step:
            raise DiskError(
                f"{self.path}: process {self.processes.rank} does not see the main process's checkpoints here; "
                "the run folder must lie on a disk that all machines share"
            )
        if checkpoint is None and rejected:
            raise DiskError(f"{self.path}: none of its checkpoints is whole; start anew in another --out")
        if checkpoint is None:
            return
        self.domains.learnt.update(learnt_of(checkpoint.groups.get("media", {})))
        engine = self.engine
        _load(engine.networks.networks, checkpoint.groups["networks"], checkpoint.path)
        if engine.average:
            _load(engine.average.networks, checkpoint.groups["ema"], checkpoint.path)
            engine.average.updates = int(checkpoint.state["ema_updates"])
        engine.optimizers.load(checkpoint.groups["optimizers"])
        engine.objective.history.load(checkpoint.groups["history"], checkpoint.state["history"], self.processes.device)
        engine.objective.memory.load(checkpoint.groups.get("memory", {}), self.processes.device)
        engine.balance.load(checkpoint.state["balance"])
        self.best.load(checkpoint.state["best"], checkpoint.groups.get("best", {}))
        engine.step = checkpoint.step
        if log:
            log.rewind(engine.step)
            self.adviser = Adviser(self.adviser.names, runs.read_metrics(log.path))
        progress.say(f"resuming {self.path} at step {engine.step} of {self.plan.recipe.train.steps}")

    def _start(self, progress: Progress) -> None:
        """Before the first step, networks may take something from the data."""
        engine = self.engine
        if not engine.step and start_networks(self.plan, engine.networks.networks, self.domains, self.processes):
            progress.say("networks have started from the training data")
            if engine.average:
                _load(engine.average.networks, _tensors(engine.networks.networks), self.path)

    def _draw(self, step: int, log: "runs.MetricsLog | None", progress: Progress) -> None:
        if self.folder:
            with self.translating() as networks:
                columns = preview(self.plan, self.domains, networks, 6, self.processes.device)
                heeded = audit(self.plan, self.domains, networks, 4, self.processes.device)
            media = self.domains.media_at(self.plan.stages[-1].size)
            path = media.preview(columns, self.folder.samples / f"step-{step:08d}")
            self._tell("samples_drawn", step=step, path=path)
            self._tell_conditions(step, heeded, log, progress)

    def _tell_conditions(
        self, step: int, heeded: list[Heed], log: "runs.MetricsLog | None", progress: Progress
    ) -> None:
        """Logs how far conditions change outputs; after the first tenth of the run those that do not are warned of."""
        if log and heeded:
            log.write({"step": step, **{f"condition/{each.name}": float(f"{each.of_change:.6g}") for each in heeded}})
        for each in heeded:
            if each.none and step > self.plan.recipe.train.steps / 10 and each.name not in self.told:
                self.told.add(each.name)
                progress.say(f"warning: step {step}: {each}")
                self._note(f"warning: step {step}: {each}")

    def _measure(self, step: int, log: "runs.MetricsLog | None") -> dict[str, dict[str, float]]:
        if not self.folder:
            return {}
        with self.translating() as networks:
            result = self.evaluation(networks, self.best.metrics)
            if self.best.figure:
                self.best.see(step, result, networks.networks)
        if log:
            flat = {
                f"{translation}/{name}": value for translation, each in result.items() for name, value in each.items()
            }
            log.write({"step": step, **flat})
        return result

    def _finish(self, progress: Progress) -> None:
        """The model, its figures, the report."""
        if not self.folder:
            return
        if self.plan.metrics:
            progress.say("measuring on held-out samples")
        with self.translating() as networks:
            if self.best.figure:
                last = self.evaluation(networks, self.best.metrics)
                self.best.see(self.engine.step, last, networks.networks)
                if self.best.tensors:
                    self.best.restore(networks.networks)
                    progress.say(f"keeping the model of step {self.best.step}, the best by {self.best.figure}")
            figures = self.evaluation(networks) if self.plan.metrics else {}
            heeded = audit(self.plan, self.domains, networks, 16, self.processes.device)
        advice = [str(each) for each in advise(runs.read_metrics(self.folder.metrics), self.adviser.names)]
        result = {
            "recipe": self.plan.recipe.name,
            "steps": self.engine.step,
            **({"kept": self.best.step} if self.best.figure else {}),
            "seed": self.plan.recipe.train.seed,
            "held_out": all(domain.held_out for domain in self.domains.values()),
            "translations": figures,
            "protocols": {k: v for metric in self.plan.metrics.values() for k, v in metric.protocol().items()},
            "conditions": told_of(heeded),
            "warnings": [str(each) for each in heeded if each.none],
            "advice": advice,
        }
        translating = {
            name: networks.networks[name] for name, each in self.plan.networks.items() if each.side == "generator"
        }
        config = model_config(self.plan, self.engine.step, self.domains)
        tensors = _tensors(translating) | learnt_tensors(self.domains.learnt, MEDIA)
        runs.write_model(self.folder.model, tensors, config, model_card(self.plan, self.domains, result))
        _write(self.folder.result, json.dumps(result, indent=2) + "\n")
        write_report(self.folder, self.plan.recipe.name, result)
        for line in advice:
            progress.say(line)
        progress.result(result, self.folder)


def _tensors(networks: Mapping[str, torch.nn.Module]) -> dict[str, Tensor]:
    """Parameters and buffers by `network|name`."""
    return {f"{name}|{key}": value for name, network in networks.items() for key, value in network.state_dict().items()}


def _load(networks: Mapping[str, torch.nn.Module], tensors: Mapping[str, Tensor], where: Path) -> None:
    for name, network in networks.items():
        begin = f"{name}|"
        own = {key.removeprefix(begin): value for key, value in tensors.items() if key.startswith(begin)}
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise DiskError(
                f"{where}: does not fit network '{name}' of this recipe: {str(error).splitlines()[-1].strip()}"
            ) from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DiskError(
            f"{path}: cannot be written: {error.strerror}; free some space or choose another --out"
        ) from error
