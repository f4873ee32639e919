"""Runs the tasks one after the other."""

import argparse
import sys
import time
from pathlib import Path

from classification import Classification
from common import Task
from console import console
from conversion import Conversion
from detection import Detection
from events import Events
from network import Demo
from progress import Steps
from rich.panel import Panel
from segmentation import Segmentation
from smae import MaskedPreTraining
from summary import print_summary, result_line

from mmspike.apis.config import load_config

KINDS: dict[str, type[Task]] = {
    'cls': Classification,
    'det': Detection,
    'seg': Segmentation,
    'mst': Conversion,
    'events': Events,
    'smae': MaskedPreTraining,
}


def make_task(name: str, demo: Demo, config: str | None = None, options: dict = {}) -> Task:
    """The task of that name."""
    kind = KINDS[name]
    try:
        cfg = load_config(config or kind.config, options)
    except (OSError, ValueError) as error:
        sys.exit(f'demo: {error}')
    if cfg.default_scope != kind.scope:
        sys.exit(f'demo: {config} is for {cfg.default_scope}; --task {name} needs {kind.scope}')
    return kind(Path(config or kind.config), cfg, dict(options), demo)


def needs_classifier(task: Task) -> bool:
    """Whether a task begins with the weights of the classifier, which has to be trained first."""
    if isinstance(task, Classification) or task.finished:
        return False
    return not any(key in task.options for key in task.begins_with)


def run(args: argparse.Namespace) -> None:
    """Train, evaluate and draw; print a line for each task, then all results."""
    began = time.perf_counter()
    demo = Demo(args.work_dir, args.weights, Steps(console))
    tasks = [make_task(name, demo, args.config, args.cfg_options) for name in args.task]
    trainings = [training for task in tasks for training in task.trainings]
    for training in trainings:
        if args.fresh:
            training.start_anew()
        else:
            training.refuse_other_settings()
    classifier = next((one for one in tasks if type(one) is Classification), None)
    if classifier is None and any(map(needs_classifier, tasks)):
        classifier = make_task('cls', demo)
        classifier.refuse_other_settings()
        if not classifier.finished:
            demo.steps.expect(classifier.title, classifier.expected_training())
    for training in trainings:
        demo.steps.expect(training.title, training.expected())
    results = []
    for task in tasks:
        console.print(Panel(f'{task.title}: {task.config_path.stem}', expand=False))
        weights = None
        if needs_classifier(task):
            if not classifier.finished:
                console.print(f'{task.title} begins with the backbone of the classifier')
                classifier.train()
            weights = classifier.checkpoint
        task.train(weights)
        results.append(task.report())
        console.print(result_line(results[-1]), soft_wrap=True)
    print_summary(tasks, results, time.perf_counter() - began)
