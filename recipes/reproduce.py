"""The paper's tables and figures by command: train what is missing, then print ours beside the paper's.

    python recipes/reproduce.py table1 --text wiki1m.txt --flickr features/flickr --coco features/coco
    python recipes/reproduce.py table1 --replica REPLICA --data DATA --teacher MPNET      on two CPU cores

Runs go to OUTPUT/runs, one directory each; finished ones are not run again, interrupted ones go on, a run that fails
does not stop the others. The replica's go one after the other in this process; a second start of the same command
takes runs that the first has not begun. The table goes to OUTPUT/NAME.md and NAME.json, plots to NAME.png.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys

from reproduction import replica_report
from reproduction.cost import cost_of_run, size
from reproduction.data_check import find_caption_sets
from reproduction.here import run_here
from reproduction.jobs import Job
from reproduction.make_replica import make_replica
from reproduction.paper_settings import BASELINES, PRESETS
from reproduction.plan import PLANS
from reproduction.plots import plot_margins
from reproduction.pool import devices, run_all, slurm_script
from reproduction.replica_scores import write_scores
from reproduction.report import markdown, summarise
from reproduction.settings import REPLICA
from reproduction.setups import paper_job, refuse_missing, replica_job
from reproduction.teacher import PAPER, teacher_figure

from kdmcse_hf.commands.exit_status import SEED, CommandParser, exit_status, ranged
from kdmcse_hf.errors import FailedError

VISUALIZE = pathlib.Path(__file__).with_name("visualize.py")
NAMES = (*PLANS, *PAPER)


class RunsFailed(FailedError):
    """Some runs did not come to their end."""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; argparse leaves with status 2 on unusable arguments."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--output", type=pathlib.Path, default="reproduction", metavar="DIR", help="(%(default)s)")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="paper", help="of KDMCSE (%(default)s)")
    baselines = "SimCSE and MCSE with captions as published, on KDMCSE's captions and features, or both (%(default)s)"
    parser.add_argument("--baselines", choices=BASELINES, default="published", help=baselines)
    parser.add_argument("--seeds", type=ranged(SEED), nargs="+", help="(0 1 2 3 4, or those of --settings)")
    listing = "list the runs with estimates of time and of the bytes they write, check the data, and stop"
    parser.add_argument("--dry-run", action="store_true", help=listing)
    parser.add_argument("--table", action="store_true", help="train nothing: the table of the runs that are finished")
    parser.add_argument("--slurm", type=pathlib.Path, metavar="FILE", help="write a Slurm array script, and stop")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="keys of recipes/train.py for all runs, as bf16=true"
    )
    paper = parser.add_argument_group("the paper's data")
    paper.add_argument("--text", help="Wiki1M; the Hub's if absent")
    paper.add_argument("--flickr", metavar="DIR", help="teacher features of Flickr30k, by recipes/extract_features.py")
    paper.add_argument("--coco", metavar="DIR", help="the same of MS-COCO")
    for data, name in (("flickr", "Flickr30k"), ("coco", "MS-COCO")):
        resnet = f"ResNet-50 features of {name}, for MCSE as published"
        paper.add_argument(f"--{data}-resnet", metavar="DIR", help=resnet)
        captions = f"captions of {name} as text, for SimCSE as published: an annotation file or one caption a line"
        paper.add_argument(f"--{data}-captions", metavar="FILE", help=captions)
    paper.add_argument("--cc12m", nargs=2, metavar="DIR", help="the same of two subsets of CC12M, for table4")
    paper.add_argument("--senteval", metavar="DIR", help="SentEval's data/downstream; the Hub if absent")
    replica = parser.add_argument_group("the small replica on real sentences (docs/replica.md)")
    replica.add_argument(
        "--replica", type=pathlib.Path, metavar="DIR", help="its student and captions; made if absent, with --teacher"
    )
    replica.add_argument("--teacher", type=pathlib.Path, metavar="DIR", help="all-mpnet-base-v2, to make it with")
    replica.add_argument("--data", type=pathlib.Path, help="folder of text/, captions/ and senteval/")
    replica.add_argument(
        "--settings",
        type=pathlib.Path,
        default=REPLICA,
        metavar="FILE",
        help="values of its runs (%(default)s)",
    )
    scores = "scores of runs not to be run again, as docs/replica/scores.json and OUTPUT/scores.json hold them; "
    scores += "with --table nothing else is needed"
    replica.add_argument("--scores", type=pathlib.Path, metavar="FILE", help=scores)
    arguments = parser.parse_args(argv)
    if arguments.scores and arguments.table and not arguments.replica:
        arguments.replica, arguments.data = pathlib.Path("replica"), pathlib.Path("data")  # nothing is read from there
    if arguments.scores and not arguments.replica:
        parser.error("--scores goes with --table, or with --replica DIR and --data DATA")
    if (arguments.replica is None) != (arguments.data is None):
        parser.error("--replica DIR and --data DATA belong together")
    if arguments.replica and arguments.slurm:
        parser.error("--slurm is for the paper's data: the replica's runs are short, and go one after the other")
    return arguments


def list_runs(job: Job) -> list[str]:
    """One line a run, and how long what is left will take."""
    todo, places = set(job.unfinished()), len(devices())
    seconds = {run: job.estimate(run) if run in todo else 0 for run in job.runs()}
    lines = [f"{run.name:60} {_hours(seconds[run]) if run in todo else 'finished'}" for run in job.runs()]
    total = _hours(sum(seconds.values()) / places)
    return [*lines, f"{len(todo)} of {len(lines)} runs to do, about {total}, {places} at a time"]


def list_data_and_disk(job: Job) -> list[str]:
    """One line for each caption set that is there and for each setting, and what the runs left write and keep."""
    sets, todo = find_caption_sets(job.settings), set(job.unfinished())
    costs = {setting.name: cost_of_run(setting, sets.get(setting.captions)) for setting in job.settings}
    left = [costs[setting.name] for run, (setting, _) in job.runs().items() if run in todo]
    lines = [found.line() for found in sets.values() if found.images is not None]
    lines += [f"{name}: {cost.line()}" for name, cost in costs.items()]
    if left and all(cost.written for cost in left):
        written, kept = sum(cost.written for cost in left), sum(cost.kept for cost in left)
        at_least = f"at least {size(written)} in all, new bests apart"
        lines.append(f"the runs to do write {at_least}, and {size(kept)} of it stay as models")
    return lines


def write_results(arguments: argparse.Namespace, job: Job) -> None:
    """NAME.md and NAME.json, and the table on the terminal."""
    if arguments.replica:
        tested = {"comparisons": job.comparisons, "tested": job.tested}
        summary = replica_report.summarise(arguments.name, job.settings, job.scores(), job.seeds, **tested)
        text = replica_report.markdown(PLANS[arguments.name], summary)
    else:
        summary = summarise(arguments.name, job.settings, job.scores(), job.seeds)
        text = markdown(PLANS[arguments.name], summary)
    path = job.output / f"{arguments.name}.md"
    job.output.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if arguments.replica and not arguments.table:
        write_scores(job.output / "scores.json", job, arguments.scores)
    print(text)
    if arguments.name == "figure7" and any(line["runs"] for line in summary["lines"]):
        plot_margins(summary, path.with_suffix(".png"))


def draw_models(job: Job) -> None:
    """Figures 8 to 12 by recipes/visualize.py, one figure a group."""
    for group in dict.fromkeys(setting.group for setting in job.settings):
        models = [str(job.directory(setting, job.seeds[0])) for setting in job.settings if setting.group == group]
        figure = job.output / f"figures8-12-{group.replace(' ', '-')}.png"
        subprocess.run([sys.executable, str(VISUALIZE), *models, "--output", str(figure)], check=True)


def draw_teacher(arguments: argparse.Namespace) -> None:
    """Figure 5 or 6, of the replica's captions or Flickr30k's."""
    if arguments.dry_run or arguments.slurm:
        print(f"{arguments.name} has no runs: it is drawn in minutes from the teacher's features")
        return
    if arguments.replica:
        captions = str(arguments.replica / "captions")
    elif not (captions := arguments.flickr):
        refuse_missing(arguments.name, "flickr", captions := "features/flickr30k-clip-vit-base-patch32")
    print(teacher_figure(arguments.name, captions, arguments.output))


def run(arguments: argparse.Namespace) -> None:
    """List, or write a script, or run all and report."""
    if arguments.replica and not (arguments.dry_run or arguments.table):
        make_replica(arguments.replica, arguments.data, arguments.teacher)
    if arguments.name in PAPER:
        draw_teacher(arguments)
        return
    job = replica_job(arguments) if arguments.replica else paper_job(arguments)
    job.check()
    if arguments.dry_run:
        print("\n".join([*([] if arguments.replica else list_data_and_disk(job)), *list_runs(job)]))
    elif arguments.table:
        write_results(arguments, job)
    else:
        run_job(arguments, job)


def run_job(arguments: argparse.Namespace, job: Job) -> None:
    """Run what is not finished, or write the script that does; then the table, whatever failed."""
    todo = job.unfinished()
    job.write(todo)
    if arguments.replica:
        _finish(arguments, job, run_here(job, arguments.data / "captions"))
        return
    commands = {directory: job.command(directory) for directory in todo}
    if arguments.slurm and commands:
        arguments.slurm.write_text(slurm_script(commands, job.output), encoding="utf-8")
        print(f"sbatch {arguments.slurm} starts {len(todo)} runs; this command without --slurm makes the table")
        return
    _finish(arguments, job, run_all(commands) if commands else {})


def _finish(arguments: argparse.Namespace, job: Job, failed: dict[pathlib.Path, int]) -> None:
    """The table of what there is, and what failed; raises RunsFailed then."""
    write_results(arguments, job)
    if failed:
        names = ", ".join(f"{directory.name} (status {status})" for directory, status in failed.items())
        raise RunsFailed(f"{len(failed)} runs failed: {names}. Each has its output in run.log")
    if PLANS[arguments.name].draws_models:
        draw_models(job)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 where runs failed, or see `exit_status`; after Ctrl-C the same command goes on."""
    return exit_status("reproduce.py", lambda: run(parse_arguments(argv)))


def _hours(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


if __name__ == "__main__":
    sys.exit(main())
