"""Ask a trained field where things are: objects in 3D, with boxes and scores.

    python -m ovnerf query RUN "table" "a lamp"
    python -m ovnerf query RUN --phrases phrases.txt --out answers

RUN is the folder of a finished run, like results/demo/room0/toy/ovnerf/seed0. It prints what was
found, where, and how sure that is; with `--out` it writes answers.json, answers.csv, and for each
phrase a cloud and a picture of every held-out view (docs/asking.md#query). The points of the run
are made first where `points.zarr` is not there. Where the scene has true labels, the scores of
phrases that are class names go to query_metrics.csv; the closing line lists the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ovnerf.asking.answer_files import write_answers, write_pictures
from ovnerf.asking.asker import Score
from ovnerf.asking.description import require_same_frames
from ovnerf.asking.report import table
from ovnerf.asking.run import Run, open_run
from ovnerf.asking.scores import Targets, not_scored, score_rows, write_metrics
from ovnerf.asking.targets import targets_of_lerf, targets_of_truth
from ovnerf.asking.views import View
from ovnerf.config.phrases import Phrase, parse_phrases, read_phrases, slugs
from ovnerf.config.query import Query
from ovnerf.runtime import progress
from ovnerf.runtime.errors import Stopped, UserError
from ovnerf.storage.listed import listed_folder
from ovnerf.storage.stores import open_store


def run(
    run: Path,
    asked: list[str] | None = None,
    *,
    phrases: Path | None = None,
    out: Path | None = None,
    labels: Path | None = None,
    settings: Query,
) -> dict[str, object]:
    """Print what was found; `--labels` is a folder of LERF-OVS labels of the scene to score by."""
    wanted = wanted_phrases(asked or [], phrases, settings)
    if labels is not None and out is None:
        raise UserError("--labels: found no --out, expected a folder for the scores")
    opened = open_run(run, settings)
    answers = opened.answers(wanted)
    print("\n".join(table(opened.asker, answers)))
    summary: dict[str, object] = {
        "phrases": len(wanted),
        "found": sum(answer.found for answer in answers),
    }
    if out is None:
        return summary
    targets = known_targets(opened, labels)
    held_out, names = held_out_names(opened), slugs(wanted)
    frames = [*held_out, *(name for one in targets for name in one.frames)]
    maps: dict[str, list[Score]] = {}
    with listed_folder(out, "query") as folder:
        write_answers(folder, opened.asker, answers, names)
        for frame, view in rendered(opened, list(dict.fromkeys(frames))):
            maps[frame] = opened.asker.view_scores(wanted, view)
            if frame in held_out:
                write_pictures(folder, opened.asker, answers, names, frame, view, maps[frame])
        softmax = settings.mode == "softmax"
        rows = [row for one in targets for row in score_rows(wanted, one, maps, softmax)]
        if rows:
            write_metrics(folder / "query_metrics.csv", rows)
    summary |= {"views": len(held_out), "scores": len(rows)}
    unknown = {one.source: left for one in targets if (left := not_scored(wanted, one))}
    return {**summary, "not_scored": unknown} if unknown else summary


def rendered(opened: Run, frames: list[str]) -> Iterator[tuple[str, View]]:
    """Each of these frames with its view.

    Raises:
        Stopped: the stage was asked to end.
    """
    progress.begin("query", "views", len(frames), 0)
    for frame in frames:
        yield frame, opened.render_frame(frame)
        progress.advance()
        if progress.stop_wanted():
            raise Stopped("query: stopped as asked; run it again to begin anew")


def wanted_phrases(asked: list[str], file: Path | None, settings: Query) -> list[Phrase]:
    """The phrases of the command line, of the file, or of the settings.

    Raises:
        UserError: there is none, or more than one of these gives some.
    """
    if sum((bool(asked), file is not None, bool(settings.phrases))) > 1:
        raise UserError(
            "query: found phrases in more than one place, expected them on the command line, in "
            "--phrases, or in the settings"
        )
    if file is not None:
        return read_phrases(file)
    texts = asked or list(settings.phrases)
    if not texts:
        raise UserError(
            "query: found no phrase, expected at least one",
            'python -m ovnerf query RUN "table" "a lamp"',
        )
    return parse_phrases(texts, "phrase")


def held_out_names(opened: Run) -> list[str]:
    """Names of the run's held-out frames."""
    description = opened.description
    return [description.names[frame] for frame in description.held_out_frames]


def known_targets(opened: Run, labels: Path | None) -> list[Targets]:
    """What is known to be true of the run's scene: its own labels, and those of `labels`.

    Raises:
        UserError: labels of frames that the run does not have.
    """
    found = []
    if opened.files.truth is not None:
        if opened.files.frames is not None:  # Labels say whose frames they are by names alone.
            require_same_frames(open_store(opened.files.frames, "frames"), opened.description)
        found.append(targets_of_truth(opened.files.truth, opened.description))
    if labels is not None:
        found.append(targets_of_lerf(labels, opened.description))
    return found
