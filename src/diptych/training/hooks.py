"""The hooks of the training loop: validation, previews, the doctor, the log, snapshots and checkpoints.

The loop calls every hook after every step, in this order; each hook has its own interval.
"""

import json
import time

from diptych import distributed
from diptych.files import atomic_file, make_folder
from diptych.images.files import encode, from_tensor, merge
from diptych.images.spec import in_colours
from diptych.kinds import DataKind
from diptych.methods.base import Adversary, Batch, Scores, deployed
from diptych.progress import TrainingProgress, say
from diptych.training import checkpoint, doctor
from diptych.training.board import Board
from diptych.training.state import Moment, Stop, Training
from diptych.training.updater import learning_rate
from diptych.training.validation import BestSoFar, Validation, best_so_far, out_of_patience, outcomes, updated
from diptych.translators.base import Outcome


class Validator:
    """Validates the model on held-out images, saves the best one, and stops early."""

    def __init__(self, training: Training, validation: Validation | None) -> None:
        self.training, self.validation = training, validation
        self.best: BestSoFar | None = best_so_far(training.run, training.start) if validation else None

    def after(self, now: Moment) -> None:
        """Validates at its interval and at the end of the run, but not when the training is interrupted."""
        training, every = self.training, self.training.settings.validate_every
        if self.validation is None or not (now.stop is Stop.END or now.done % every == 0):
            return
        training.require_finite()
        with training.as_deployed():
            now.validation = self.validation(training.translators)
        self.best = updated(self.best, {"step": now.done, "validation": now.validation}, self.validation.by)
        if self.best and self.best.step == now.done:
            training.save_model(now.done, checkpoint.BEST)
        if self.out_of_patience():
            now.stop = Stop.END

    def out_of_patience(self) -> bool:
        """Whether the run is finished: also true on resuming a run that was killed after its last validation."""
        return out_of_patience(self.training.run, self.best)


class Previewer:
    """Writes the preview grid, and runs the doctor on images."""

    def __init__(self, training: Training, board: Board) -> None:
        self.training, self.board = training, board
        last = training.log[-1].get("doctor", []) if training.log else []
        self.findings: list[doctor.Finding] = [one for one in last if one["finding"] in doctor.IMAGE_ADVICE]
        """The doctor's latest findings from images."""
        networks = deployed(training.method)
        self.names = {
            direction: next((name for name, network in networks.items() if network is translator.network), direction)
            for direction, translator in training.translators.items()
        }

    def after(self, now: Moment) -> None:
        """Writes `samples/step-*.png`."""
        if not now.due(self.training.settings.sample_every):
            return
        training, batches = self.training, self.training.batches
        with training.as_deployed():
            columns = training.method.preview(training.on_device(batches.preview))
            columns = {title: in_colours(column, *training.settings.specs) for title, column in columns.items()}
            self.findings = self._image_findings(batches.training, batches.held_out)
        rows = [image for row in zip(*columns.values(), strict=True) for image in row]
        grid = merge([image.float() for image in rows], columns=len(columns))
        folder = training.run.path / "samples"
        make_folder(folder)
        encode(from_tensor(grid), folder / f"step-{now.done:08d}.png")
        with atomic_file(folder / "titles.json", durable=False) as partial:
            partial.write_text(json.dumps(list(columns)) + "\n", encoding="utf-8")
        self.board.picture("samples", (grid + 1) / 2, now.done)

    def _image_findings(self, seen: Batch, unseen: Batch | None) -> list[doctor.Finding]:
        training = self.training
        training_batch = training.on_device(seen)
        held_out = training.on_device(unseen) if unseen else None
        unpaired = training.method.data == DataKind.UNPAIRED
        outcomes = self._outcomes(held_out or training_batch)
        findings = doctor.in_pictures(outcomes, unpaired, training.settings)
        if held_out:
            adversaries = training.method.adversaries()
            known, new = _scores(adversaries, training_batch), _scores(adversaries, held_out)
            findings += doctor.in_scores(known, new, training.settings)
        return findings

    def _outcomes(self, batch: Batch) -> dict[str, Outcome]:
        found = outcomes(self.training.translators, self.training.settings.direction, batch)
        return {self.names[direction]: outcome for direction, outcome in found.items()}


def _scores(adversaries: list[Adversary], batch: Batch) -> dict[str, Scores]:
    return {adversary.name: adversary.scores(batch) for adversary in adversaries}


class Logger:
    """Writes log.jsonl and TensorBoard, with the doctor's findings; prints each new finding once."""

    def __init__(self, training: Training, board: Board, previewer: Previewer, display: TrainingProgress) -> None:
        self.training, self.board, self.previewer, self.display = training, board, previewer, display
        self.adversaries = training.method.adversaries()
        self.seconds_before = training.log[-1]["seconds"] if training.log else 0.0
        self.began = time.monotonic()
        last = training.log[-1].get("doctor", []) if training.log else []
        self.reported = {(finding["finding"], finding["of"]) for finding in last}

    def after(self, now: Moment) -> None:
        """Writes an entry at its interval, and for every validation."""
        training, settings = self.training, self.training.settings
        if not (now.validation or now.due(settings.log_every)):
            return
        training.require_finite()
        losses, gradients = training.losses.take(), training.updater.mean_norms()
        lr = learning_rate(now.done - 1, settings)
        entry = {
            "step": now.done,
            "pictures": now.done * settings.batch_size,
            **({"processes": distributed.size()} if distributed.size() > 1 else {}),
            "seconds": round(self.seconds_before + time.monotonic() - self.began, 3),
            "lr": lr,
            "losses": losses,
            "gradients": gradients,
        }
        if now.validation:
            entry["validation"] = now.validation
        training.log.append(entry)
        findings = [
            *doctor.in_losses(training.log, self.adversaries, settings),
            *doctor.in_gradients(training.log, settings),
            *self.previewer.findings,
        ]
        entry["doctor"] = findings
        training.run.log(entry)
        groups = (("losses/", losses), ("", {"lr": lr}), ("gradients/", gradients), ("validation/", now.validation))
        numbers = {f"{group}{name}": value for group, values in groups for name, value in values.items()}
        self.board.scalars(numbers, now.done)
        self._report(now.done, findings)
        self.display.show(losses, doctor.briefly(findings))

    def _report(self, done: int, findings: list[doctor.Finding]) -> None:
        for finding in findings:
            if (key := (finding["finding"], finding["of"])) not in self.reported:
                self.reported.add(key)
                words = f"{finding['finding']}: {finding['saw']}; try {finding['try']}"
                say(self.training.console, f"step {done}: {words}")
                self.board.words("doctor", words, done)


def save_snapshot(training: Training, now: Moment) -> None:
    """Saves `model-NAME/` when the method takes a snapshot."""
    if training.phased and (name := training.phased.snapshot_at(now.done)):
        training.require_finite()
        training.save_model(now.done, name)


def save_checkpoint(training: Training, now: Moment) -> None:
    """Saves the training state and the model at its interval, and before every stop."""
    if now.due(training.settings.checkpoint_every):
        training.require_finite()
        training.save_checkpoint(now.done)
