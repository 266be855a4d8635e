"""What the scripts that measure one model ask on their command lines: which model, where, at what size."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch

from memflow_cli.backbone import Backbone
from memflow_cli.cli.device import choose_device, choose_dtype
from memflow_cli.models.catalog import ModelEntry, find_model
from memflow_cli.models.load import load_model


@dataclass(frozen=True)
class ChosenModel:
    entry: ModelEntry
    place: torch.device
    backbone: Backbone
    size: tuple[int, int]  # width, height in pixels


def add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="theatre")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", default=None, metavar="WxH")


def load_chosen(options: argparse.Namespace, load: Callable[..., Backbone] = load_model) -> ChosenModel:
    """`load`: what makes a backbone of an entry, a device and a precision."""
    entry = find_model(options.model)
    place = choose_device(options.device)
    backbone = load(entry, place, choose_dtype("auto", place))
    width, height = map(int, options.size.split("x")) if options.size else (entry.width, entry.height)
    return ChosenModel(entry, place, backbone, (width, height))
