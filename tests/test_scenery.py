"""The scene behind the puppets: specks go where nobody is, and nothing else does."""

import pytest
import torch

from memflow_cli.models.theatre.scenery import GATHERED, Scenery, Settling, beside_puppets

HEIGHT, WIDTH = 64, 96


def scene_of(seed: int) -> torch.Tensor:
    """A picture [HEIGHT, WIDTH, 3] of large flat parts."""
    parts = torch.randint(40, 216, (3, 2, 3), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(parts[None].float(), size=(HEIGHT, WIDTH))[0].permute(1, 2, 0)


def shown(scene: torch.Tensor, noise: float, seed: int) -> torch.Tensor:
    """A latent frame's frames, uint8, with specks."""
    specks = torch.randn(4, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(seed))
    return (scene + noise * specks).clamp(0, 255).to(torch.uint8)


def nobody() -> torch.Tensor:
    return torch.zeros(4, HEIGHT, WIDTH)


def somebody() -> torch.Tensor:
    covered = nobody()
    covered[:, 16:48, 32:64] = 1
    return covered


def far_from(frames: torch.Tensor, scene: torch.Tensor) -> float:
    return (frames.float() - scene).abs().mean().item()


def still(value: int) -> torch.Tensor:
    return torch.full((4, HEIGHT, WIDTH, 3), value, dtype=torch.uint8)


def test_what_rests_goes_over_little_by_little_and_what_moves_at_once():
    settling, frames = Settling(), still(112)
    settling.settled(still(100))
    frames[1:, 16:32, :32] = 190  # something comes in on the left
    made = settling.settled(frames)
    assert made[:, 50, 80, 0].tolist() == [103, 106, 109, 112]
    assert torch.equal(made[:, 16:32, :32], frames[:, 16:32, :32])
    assert torch.equal(settling.settled(still(112))[:, 16:32, :32], still(112)[:, 16:32, :32]), "it has moved just now"


def test_what_is_another_scene_does_not_rest():
    settling = Settling()
    settling.settled(still(100))
    assert torch.equal(settling.settled(still(150)), still(150))


def test_specks_go_where_nobody_is_and_puppets_stay_as_they_are():
    scene, scenery = scene_of(1), Scenery()
    for number in range(10):
        frames = shown(scene, 12, number)
        cleaned = scenery.without_specks(frames, somebody())
    free = somebody() == 0
    assert far_from(cleaned[free], scene.expand(4, -1, -1, -1)[free]) < 0.5 * far_from(
        frames[free], scene.expand(4, -1, -1, -1)[free]
    )
    assert torch.equal(cleaned[~free], frames[~free])


def test_what_a_puppet_uncovers_is_drawn_until_it_has_been_seen():
    scenery = Scenery()
    for number in range(5):
        scenery.without_specks(shown(scene_of(1), 0, number), somebody())
    frames = shown(scene_of(1), 12, 6)
    uncovered = somebody() > 0
    assert torch.equal(scenery.without_specks(frames, nobody())[uncovered], frames[uncovered])


def test_after_a_cut_nothing_is_left_of_the_scene_before():
    scenery = Scenery()
    for number in range(10):
        scenery.without_specks(shown(scene_of(1), 5, number), nobody())
    first = shown(scene_of(2), 5, 11)
    assert torch.equal(scenery.without_specks(first, nobody()), first)
    later = scenery.without_specks(shown(scene_of(2), 5, 12), nobody())
    assert far_from(later, scene_of(2)) < 6


def test_what_is_another_now_is_seen_at_once_though_no_puppet_covers_it():
    """A thing that comes into view is not to fade in over seconds."""
    scene, scenery = scene_of(1), Scenery()
    for number in range(12):
        scenery.without_specks(shown(scene, 5, number), nobody())
    changed = scene.clone()
    changed[:32, :32] = (changed[:32, :32] + 90) % 255
    frames = shown(changed, 5, 20)
    cleaned = scenery.without_specks(frames, nobody())
    assert far_from(cleaned[:, :12, :12], frames[:, :12, :12].float()) < 4
    assert far_from(cleaned[:, 40:, 56:], scene[40:, 56:]) < far_from(frames[:, 40:, 56:], scene[40:, 56:])


@pytest.mark.parametrize("cut_at", [None, 16, 17, 20, 33])
def test_begun_as_far_back_as_it_gathers_it_is_the_same_bit_for_bit(cut_at):
    def frames_at(number):
        return shown(scene_of(2 if cut_at is not None and number >= cut_at else 1), 12, number)

    def cleaned(first):
        scenery = Scenery()
        return [scenery.without_specks(frames_at(number), somebody()) for number in range(first, 40)][-1]

    assert torch.equal(cleaned(0), cleaned(40 - 1 - GATHERED))


def test_what_is_next_to_a_puppet_may_be_its_outline():
    free = torch.full((32, 32), 128, dtype=torch.int16)
    free[17, 17] = 0
    assert (beside_puppets(free)[13:22, 13:22] == 0).all() and (beside_puppets(free)[:9] == 128).all()
