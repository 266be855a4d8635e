"""What strangers may hand over, pictures and models' descriptions: a sentence, whatever is in them, and little work."""

import errno
import io
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from memflow_cli.cli.app import run
from memflow_cli.errors import ModelError, StoryboardError, UsageError
from memflow_cli.models.catalog import folder_model
from memflow_cli.models.files import refusing
from memflow_cli.models.wan.checkpoint import read_config
from memflow_cli.models.weights.tensor_files import read_tensors
from memflow_cli.story.load import load_storyboard
from memflow_cli.story.overrides import parse_override
from memflow_cli.story.picture import MAX_PICTURE_BYTES, load_picture, picture_identity


@pytest.fixture
def story(tmp_path):
    """A storyboard in a folder of its own, whose film starts from the picture that is named."""
    folder = tmp_path / "stranger"
    folder.mkdir()

    def story(image: str):
        path = folder / "story.yaml"
        path.write_text(f"segments: [{{prompt: a fox, duration: 1s, image: {json.dumps(image)}}}]")
        return path

    return story


@pytest.mark.parametrize("image", ["../secret.png", "/etc/passwd", "a/../../secret.png", "link.png", "loop.png"])
def test_a_storyboard_names_no_picture_outside_its_folder(story, tmp_path, image):
    path = story(image)
    (path.parent / "link.png").symlink_to(tmp_path / "secret.png")
    (path.parent / "loop.png").symlink_to(tmp_path / "loop.png")
    says = "a link that leads " if image in ("link.png", "loop.png") else ""
    with pytest.raises(StoryboardError, match=f"line 1: segments.1.image: is {says}outside the storyboard's folder"):
        load_storyboard(path)


def test_its_user_names_any_picture(story, tmp_path):
    board = load_storyboard(story("beside.png"), [parse_override(f"segments.1.image={tmp_path}/mine.png")])
    assert board.segments[0].image == str(tmp_path / "mine.png")
    assert load_storyboard(story("below/beside.png")).segments[0].image.endswith("stranger/below/beside.png")


def test_an_endless_or_huge_picture_is_never_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(MAX_PICTURE_BYTES + 1)
    for path in (tmp_path / "pipe.png", tmp_path / "folder.png", "/dev/zero", tmp_path / "huge.png"):
        with pytest.raises(UsageError, match="not a file|larger than 256 MiB"):
            load_picture(type(tmp_path)(path), 16, 16)
        assert picture_identity(str(path)) == os.path.basename(path)


def test_a_small_file_that_claims_a_huge_picture_is_refused(tmp_path):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 100_000
    with pytest.raises(UsageError, match="10000x10000 pixels is too large"):
        load_picture(tmp_path / "bomb.png", 16, 16)


def test_only_formats_that_are_pictures_and_nothing_else_are_opened(tmp_path):
    """Encapsulated PostScript would start a program."""
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.eps")
    with pytest.raises(UsageError, match="PNG|not a picture"):
        load_picture(tmp_path / "picture.eps", 16, 16)


def jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.new("RGB", (24, 16), (200, 30, 60)).save(content, "JPEG", exif=exif)
    return content.getvalue()


JPEG = jpeg()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(JPEG) - 1), st.integers(0, 255)), max_size=8), st.integers(0, len(JPEG)))
def test_a_damaged_picture_is_a_picture_or_a_sentence(tmp_path, changes, length):
    content = bytearray(JPEG)
    for place, value in changes:
        content[place] = value
    (tmp_path / "damaged.jpg").write_bytes(content[:length])
    try:
        assert load_picture(tmp_path / "damaged.jpg", 16, 32).shape == (32, 16, 3)
    except UsageError as error:
        assert "damaged.jpg" in error.message


MODEL = {
    "transformer/config.json": {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "num_layers": 2,
        "patch_size": [1, 2, 2],
    },
    "vae/config.json": {"scale_factor_spatial": 8},
    "scheduler/scheduler_config.json": {"steps": [1000, 500]},
    "model_index.json": {"memflow": {"width": 64, "height": 32}},
}


def write_model(folder, changes):
    """A model's descriptions with (file, key) -> another value."""
    for name, content in MODEL.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {key: value for (file, key), value in changes.items() if file == name}
        path.write_text(json.dumps({**content, **values}))
    return folder


def test_the_description_that_the_next_tests_spoil_is_right(tmp_path):
    assert folder_model(write_model(tmp_path, {})).width == 64


@pytest.mark.parametrize(
    "change",
    [
        {("transformer/config.json", "num_layers"): 10**9},
        {("transformer/config.json", "num_layers"): "two"},
        {("transformer/config.json", "patch_size"): [1, 2]},
        {("transformer/config.json", "patch_size"): 5},
        {("transformer/config.json", "num_attention_heads"): None},
        {("transformer/config.json", "text_len"): 65536},  # no weight has it; a film's attention took minutes
        {("vae/config.json", "scale_factor_spatial"): 0},
        {("vae/config.json", "first_frames"): -3},
        {("scheduler/scheduler_config.json", "steps"): []},
        {("scheduler/scheduler_config.json", "steps"): 7},
        {("scheduler/scheduler_config.json", "steps"): list(range(1000, 1, -1))},  # a chunk of them took a minute
        {("scheduler/scheduler_config.json", "context_noise"): "x"},
        {("scheduler/scheduler_config.json", "context_noise"): -5},
        {("scheduler/scheduler_config.json", "context_noise"): True},
        {("scheduler/scheduler_config.json", "guidance_scale"): 0.5},
        {("scheduler/scheduler_config.json", "guidance_scale"): "x"},
        {("scheduler/scheduler_config.json", "guidance_scale"): True},
        {("model_index.json", "memflow"): ["x"]},
        {("model_index.json", "memflow"): {"width": "wide", "height": 32}},
        {("model_index.json", "memflow"): {"policy": "elephant"}},
        {("model_index.json", "memflow"): {"chunk": 99}},
        {
            ("model_index.json", "memflow"): {"width": 64, "height": 32, "chunk": 500, "window": 600}
        },  # minutes for a chunk
    ],
    ids=lambda change: " ".join(f"{key}={value}" for (_, key), value in change.items()),
)
def test_a_folder_that_describes_no_model_is_a_sentence(story, tmp_path, change, capsys):
    model = write_model(tmp_path / "model", change)
    assert run(["plan", str(story("a.png")), "--model", str(model)]) == 3
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "unexpected" not in error and "attribute" not in error


@pytest.mark.parametrize("text", ["", "[]", "{" * 10_000, '{"a":' * 10_000, "\x00"])
def test_a_description_that_is_no_json_is_a_sentence(tmp_path, text):
    (write_model(tmp_path, {}) / "vae" / "config.json").write_text(text)
    with pytest.raises(ModelError, match="config.json"):
        folder_model(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [("{" * 10_000 + '"a":', "JSON"), ('{"a": [' * 9_000, "nested"), ('{"a": ' + "9" * 5000 + "}", "long")],
)
def test_why_a_description_is_no_json_is_told_in_plain_words(tmp_path, text, says):
    """The reader's own words advised to call sys.set_int_max_str_digits()."""
    (write_model(tmp_path, {}) / "vae" / "config.json").write_text(text)
    with pytest.raises(ModelError, match=says) as caught:
        folder_model(tmp_path)
    assert "sys." not in caught.value.message and "recursion" not in caught.value.message


@pytest.mark.parametrize(
    ("error", "says", "hint"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files", "ulimit -n"),
        (RuntimeError("unable to open file <m> in read-only mode: Too many open files (24)"), "Too many", "ulimit -n"),
        (ValueError("I/O error: Input/output error (os error 5)"), "Input/output error", "disk"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "Permission denied", "chmod"),
    ],
)
def test_a_file_that_the_machine_does_not_give_is_not_called_damaged(tmp_path, error, says, hint):
    """With few file descriptors a model was "cut off or damaged", and the advice was to download it again."""
    with pytest.raises(ModelError) as caught, refusing(tmp_path / "m.safetensors"):
        raise error
    assert caught.value.message.startswith(f"cannot read {tmp_path}/m.safetensors: {says}")
    assert hint in caught.value.hint


@pytest.mark.parametrize("values", [{"num_layers": 10**9}, {"dim": 10**12}, {"num_heads": 0}, {"text_dim": "x"}])
def test_a_transformer_of_absurd_size_is_refused_before_it_is_built(tmp_path, values):
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="config.json"):
        read_config(tmp_path)


@pytest.mark.parametrize("table", [None, [], {"a": "../../elsewhere.safetensors"}, {"a": "/etc/passwd"}, {"a": 3}])
def test_an_index_names_files_of_its_own_folder(tmp_path, table):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    with pytest.raises(ModelError, match="index.json"):
        read_tensors(tmp_path)


def test_a_model_name_that_no_file_can_have_is_a_sentence(story, capsys):
    for name, code in (("x" * 300, 3), ("~", 3), ("~nobody-of-this-name/x", 2)):
        assert run(["plan", str(story("a.png")), "--model", name]) == code
        assert "unexpected" not in capsys.readouterr().err
