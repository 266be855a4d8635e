"""The shipped theatre: small, complete, and it draws what it is asked to."""

import numpy as np
import pytest
import torch

from benchmarks.memory import POLICIES, film_frames
from memflow_cli.models.catalog import THEATRE_FOLDER, find_model
from memflow_cli.models.load import load_model
from memflow_cli.story.storyboard import Segment, Storyboard
from training.drawing import backdrop
from training.world import BACKDROPS_PER_SETTING, FPS, FRAMES_PER_CHUNK

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def theatre():
    return load_model(find_model("theatre"))


def first_chunk(theatre, prompt: str) -> np.ndarray:
    storyboard = Storyboard("test", (Segment(prompt, FRAMES_PER_CHUNK / FPS),), seed=3, memory=POLICIES["sink"])
    (_, frames), *_ = film_frames(theatre, storyboard, (224, 128))
    return frames


def test_the_folder_is_small():
    assert sum(path.stat().st_size for path in THEATRE_FOLDER.rglob("*") if path.is_file()) < 40e6


def test_geometry_and_sampling_are_as_it_was_trained(theatre):
    assert (theatre.geometry.first_frames, theatre.geometry.spatial_stride, theatre.geometry.latent_channels) == (
        4,
        16,
        192,
    )
    assert theatre.sampling.prediction == "sample" and theatre.positions == "relative"


@pytest.mark.parametrize(
    "setting, prompt", [("city", "A quiet city at night."), ("desert", "Nobody is in the desert.")]
)
def test_an_empty_setting_looks_like_one_of_its_backdrops(theatre, setting, prompt):
    frames = first_chunk(theatre, prompt)
    assert frames.shape == (12, 128, 224, 3) and frames.dtype == np.uint8
    errors = [np.abs(frames[6] - backdrop(setting, index)).mean() for index in range(BACKDROPS_PER_SETTING)]
    assert min(errors) < 20


def test_a_puppet_has_the_colour_it_was_given(theatre):
    middle = first_chunk(theatre, "A red bear stands still in a meadow.")[6, 70:100, 90:130].reshape(-1, 3).astype(int)
    red = (middle[:, 0] > middle[:, 1] + 60) & (middle[:, 0] > middle[:, 2] + 60)
    assert red.mean() > 0.3


def test_the_same_seed_makes_the_same_film(theatre):
    prompt = "A blue cat waves on a beach."
    assert np.array_equal(first_chunk(theatre, prompt), first_chunk(theatre, prompt))
    assert torch.is_grad_enabled()
