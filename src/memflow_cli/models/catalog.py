"""The models: name -> what it is, where its files are, what it may be used for.

Three kinds of entry, one type: models known here (theatre inside the package, the Wan 1.3B family on the hub), a local
folder or file given in place of a name, and models that other packages add by the entry point group
`memflow_cli.backbones`. Nothing here imports torch or touches the network.
"""

import difflib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from memflow_cli.backbone import Sampling
from memflow_cli.errors import ModelError
from memflow_cli.geometry import Geometry

PLUGIN_GROUP = "memflow_cli.backbones"
DEFAULT_MODEL = "theatre"
MAX_JSON_BYTES = 64 << 20
MAX_SIZE = 65536  # of anything that a model's files say: above all there are
THEATRE_FOLDER = Path(__file__).parent / "theatre" / "weights"

Component = Literal["transformer", "lora", "text_encoder", "tokenizer", "vae"]


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository. Without a `sha256` its `num_bytes` is an estimate."""

    path: str
    num_bytes: int
    sha256: str | None = None


@dataclass(frozen=True)
class Repository:
    """Files of one hub repository, and the components of a model that they make."""

    repo_id: str
    revision: str
    licence: str
    components: tuple[Component, ...]
    files: tuple[RemoteFile, ...]

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)


@dataclass(frozen=True)
class Lora:
    """A low-rank update's file and how much of it is added."""

    path: Path
    strength: float = 1.0


@dataclass(frozen=True)
class ModelEntry:
    """All that is known about a model before it is loaded.

    folder: laid out as a diffusers Wan model (transformer/, text_encoder/, tokenizer/, vae/); what it lacks comes from
    `repositories`. transformer_file, lora_file: the checkpoint, a path in its repository or an absolute one.
    loras: a user's own updates, besides the model's. text_len: tokens that it reads of a prompt.
    given_as: the path that it was found by, where it has no name of its own.
    backbone: a plug-in's own loader, (entry, device, dtype) -> an object with the pipeline's Backbone protocol.
    """

    name: str
    summary: str
    licence: str
    geometry: Geometry
    width: int
    height: int
    sampling: Sampling = Sampling()
    policy: str = "nam"
    positions: str = "absolute"
    folder: Path | None = None
    repositories: tuple[Repository, ...] = ()
    transformer_file: str | None = None
    lora_file: str | None = None
    loras: tuple[Lora, ...] = ()
    text_len: int = 512
    given_as: str = ""
    backbone: Callable[..., Any] | None = None

    @property
    def address(self) -> str:
        """What finds this model again on a command line."""
        return shlex.quote(self.given_as) if self.given_as else self.name

    @property
    def num_bytes(self) -> int:
        """What a download of this model's files would move, in bytes; 0 if everything is local."""
        return sum(repository.num_bytes for repository in self.repositories)


WAN_WIDTH, WAN_HEIGHT = 832, 480
WAN_GEOMETRY = Geometry(
    latent_channels=16,
    spatial_stride=8,
    temporal_stride=4,
    first_frames=1,
    patch_size=(1, 2, 2),
    num_layers=30,
    num_heads=12,
    head_dim=128,
)


def _files(table: str) -> tuple[RemoteFile, ...]:
    """A line a file: path, bytes, SHA-256 ("-": unknown, and the size is an estimate)."""
    rows = (line.split() for line in table.strip().splitlines())
    return tuple(RemoteFile(path, int(size), None if digest == "-" else digest) for path, size, digest in rows)


_WAN_FILES = Repository(
    repo_id="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    revision="0fad780a534b6463e45facd96134c9f345acfa5b",
    licence="Apache-2.0",
    components=("text_encoder", "tokenizer", "vae"),
    files=_files("""
        text_encoder/config.json                             854 4087b6192155a4643f6d29fd326c4610103130674011ef4d0a53f8bce5de967d
        text_encoder/model-00001-of-00005.safetensors 4972389712 c0ef3a140898e228a3520c9adec60743d2e8e5b3d229651bb37f1a3921919f99
        text_encoder/model-00002-of-00005.safetensors 4899225672 481c7b2b39771c44df6dd8d13ee12ed072d731b4a650bd092885d4d52db229ad
        text_encoder/model-00003-of-00005.safetensors 4966309504 f93148bcc04052a169e1e49bfcf6125df6cf9bf243cb9c627da75266cf8e35c3
        text_encoder/model-00004-of-00005.safetensors 4999880704 a451792c739c05bca4606190cc2dd16731411bac03b4cf6aacc5767321f857c9
        text_encoder/model-00005-of-00005.safetensors 2885866152 7e76e18d224531b8197a46231cb53daf7f2f6ca707130252becf933026ac4eea
        text_encoder/model.safetensors.index.json          22476 8af791f24a6447aa30c95786f40adf23d3c9df97470d2f36159c8f1113f120b4
        tokenizer/special_tokens_map.json                   7079 456b58fd240a06c743a7c2cf8008bec501240d68ebd1fc4018ea569505fea270
        tokenizer/tokenizer.json                        16837459 20a46ac256746594ed7e1e3ef733b83fbc5a6f0922aa7480eda961743de080ef
        tokenizer/tokenizer_config.json                    61758 1d8d2a216bf8e70ac15b7ddcea566c4dd0433c024b39a58ca5e4c66bd78defbd
        vae/config.json                                      724 f0c1cc1d7decb5badc384f54691746a27a9aeff49f7ebca974e583389342d527
        vae/diffusion_pytorch_model.safetensors        507591892 d6e524b3fffede1787a74e81b30976dce5400c4439ba64222168e607ed19e793
    """),
)

_MEMFLOW_FILES = Repository(
    repo_id="KlingTeam/MemFlow",
    # No commit is known in full, nor are checksums. Sizes are estimates: base.pt from its tensors' shapes in fp32,
    # lora.pt as large as LongLive's, which the same trainer wrote.
    revision="main",
    licence="none stated on its page; made from LongLive's weights (CC-BY-NC-SA-4.0), so treat as non-commercial",
    components=("transformer", "lora"),
    files=_files("""
        base.pt 5676000000 -
        lora.pt 2800000000 -
    """),
)

_LONGLIVE_FILES = Repository(
    repo_id="Efficient-Large-Model/LongLive-1.3B",
    revision="cda9138d93872ef109d9a74c270184eb3a5acc6e",
    licence="CC-BY-NC-SA-4.0",
    components=("transformer", "lora"),
    files=_files("""
        models/longlive_base.pt 5676334208 10a2aa8fcf89c77d9033f4c117405412a690e289625766619d293f0c5a208ee7
        models/lora.pt          2800056690 c4e43b87d62d4b0614b496773639f1ab170a7ee486dc23407901e9d3a5ebc07a
    """),
)

_SELF_FORCING_FILES = Repository(
    repo_id="gdhe17/Self-Forcing",
    revision="2f8b779212da279d212c22a509b66ad6552f350e",
    licence="CC-BY-NC-SA-4.0",
    components=("transformer",),
    files=_files("""
        checkpoints/self_forcing_dmd.pt 5676252553 a0413986d9734e02c09504e1520f5697ba6df731bb2f0f35577485e9cc8f56a3
    """),
)


def _wan(name: str, summary: str, weights: Repository, checkpoint: str, lora: str | None, policy: str) -> ModelEntry:
    return ModelEntry(
        name=name,
        summary=summary,
        licence=weights.licence,
        geometry=replace(WAN_GEOMETRY, sink=0, window=21) if policy == "window" else WAN_GEOMETRY,
        width=WAN_WIDTH,
        height=WAN_HEIGHT,
        policy=policy,
        repositories=(weights, _WAN_FILES),
        transformer_file=checkpoint,
        lora_file=lora,
    )


_KNOWN = (
    _wan(
        "memflow-1.3b",
        "MemFlow: long narratives with a memory bank; wants a GPU",
        _MEMFLOW_FILES,
        "base.pt",
        "lora.pt",
        "nam",
    ),
    _wan(
        "longlive-1.3b",
        "LongLive: long films with a frame sink; wants a GPU",
        _LONGLIVE_FILES,
        "models/longlive_base.pt",
        "models/lora.pt",
        "sink",
    ),
    _wan(
        "self-forcing-1.3b",
        "Self-Forcing: short films, its window is all it remembers; wants a GPU",
        _SELF_FORCING_FILES,
        "checkpoints/self_forcing_dmd.pt",
        None,
        "window",
    ),
)


def find_model(name_or_path: str | Path) -> ModelEntry:
    """The entry of a known name, a plug-in's name, a local folder or a local checkpoint file.

    Raises ModelError: unknown (with the nearest names), or a folder that is no model.
    """
    name = str(name_or_path)
    if name == DEFAULT_MODEL:
        return theatre()
    for entry in _KNOWN:
        if entry.name == name:
            return entry
    plugins, problems = plugin_models()
    for entry in plugins:
        if entry.name == name:
            return entry
    path = _local_path(name)
    if path.is_dir():
        return replace(folder_model(path), given_as=name)
    if path.is_file():
        return replace(file_model(path), given_as=name)
    names = [DEFAULT_MODEL, *(entry.name for entry in (*_KNOWN, *plugins))]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    message = f"there is no model named {name!r}"
    if "/" in name or path.suffix:
        message = f"{name!r} is neither a model's name nor an existing file or folder"
    elif nearest:
        message += f"; did you mean {nearest[0]!r}?"
    hint = f"known models: {', '.join(names)}"
    if problems:
        hint += "\n" + "\n".join(problem.text for problem in problems)
    raise ModelError(message, hint)


def _local_path(name: str) -> Path:
    """The path that a name may be, with its ~ replaced. Raises ModelError for a name that no file can have."""
    try:
        path = Path(name).expanduser()
        path.is_dir()
    except (RuntimeError, OSError, ValueError) as error:  # no such home; longer than a file's name may be
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{name!r} is neither a model's name nor an existing file or folder: {reason}") from error
    return path


class Problem(NamedTuple):
    """Why a model cannot be used, as a sentence, and the installed package that it comes from, where that is known."""

    text: str
    package: str | None


def known_models() -> tuple[list[ModelEntry], list[Problem]]:
    """Every model by name, embedded first, and a problem for each one that could not be read."""
    plugins, problems = plugin_models()
    entries = [*_KNOWN, *plugins]
    try:
        entries.insert(0, theatre())
    except ModelError as error:
        problems.insert(0, Problem(error.message, "memflow-cli"))
    return entries, problems


def theatre() -> ModelEntry:
    """The embedded model, described by its own files."""
    if not (THEATRE_FOLDER / "model_index.json").is_file():
        raise ModelError(
            f"theatre's files are missing from this installation: there is no {THEATRE_FOLDER / 'model_index.json'}",
            "install memflow-cli again, or choose another model with --model",
        )
    return replace(folder_model(THEATRE_FOLDER), name=DEFAULT_MODEL)


def plugin_models() -> tuple[list[ModelEntry], list[Problem]]:
    """Models of other packages: each entry point names a ModelEntry or a function returning one.

    A plug-in that fails, or takes a name that is taken, becomes a problem in the second list; it never raises.
    """
    entries: list[ModelEntry] = []
    problems: list[Problem] = []
    taken = {DEFAULT_MODEL, *(entry.name for entry in _KNOWN)}
    for point in metadata.entry_points(group=PLUGIN_GROUP):
        wrong = None
        try:
            made = point.load()
            entry = made if isinstance(made, ModelEntry) else made()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a stranger's code does must not stop the film
            wrong = f"cannot be used: {type(error).__name__}: {error}"
        else:
            if not isinstance(entry, ModelEntry):
                wrong = f"made a {type(entry).__name__}, not a ModelEntry"
            elif entry.name in taken:
                wrong = f"is named {entry.name!r}, which is taken"
        if wrong is None:
            taken.add(entry.name)
            entries.append(entry)
        else:
            package = point.dist.name if point.dist is not None else None
            origin = f"{point.value} of {package}" if package else point.value
            problems.append(Problem(f"plug-in {point.name!r} ({origin}) {wrong}", package))
    return entries, problems


def folder_model(folder: Path) -> ModelEntry:
    """A local folder: a diffusers Wan layout, or a copy of a known model's repository."""
    if (folder / "transformer" / "config.json").is_file():
        return _diffusers_model(folder)
    for entry in _KNOWN:
        assert entry.transformer_file is not None, f"{entry.name} names no checkpoint"
        checkpoint = folder / entry.transformer_file
        if checkpoint.is_file():
            lora = folder / entry.lora_file if entry.lora_file else None
            if lora is not None and not lora.is_file():
                raise ModelError(f"{folder} holds {checkpoint.name} of {entry.name} but not its {lora.name}")
            return _with_local_files(entry, folder.name, checkpoint, lora)
    raise ModelError(
        f"{folder} is no model: it has neither transformer/config.json nor a checkpoint of a known model",
        "known checkpoints: " + ", ".join(str(entry.transformer_file) for entry in _KNOWN),
    )


def file_model(path: Path) -> ModelEntry:
    """A local checkpoint file of the Wan 1.3B family; text encoder and VAE stay those of memflow-1.3b."""
    return _with_local_files(_KNOWN[0], path.stem, path, None)


def _with_local_files(entry: ModelEntry, name: str, checkpoint: Path, lora: Path | None) -> ModelEntry:
    remote = tuple(repository for repository in entry.repositories if "transformer" not in repository.components)
    return replace(
        entry,
        name=name,
        summary=f"{checkpoint} with {entry.name}'s text encoder and VAE",
        licence="that of your file",
        repositories=remote,
        transformer_file=str(checkpoint.resolve()),
        lora_file=str(lora.resolve()) if lora else None,
    )


def _diffusers_model(folder: Path) -> ModelEntry:
    """A folder, described by its own files; diffusers has no field for some of it: `memflow` in model_index.json."""
    transformer = read_json(folder / "transformer" / "config.json")
    vae = read_json(folder / "vae" / "config.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json", optional=True)
    ours = read_json(folder / "model_index.json", optional=True).get("memflow", {})
    try:
        heads, head_dim = _heads(transformer)
        geometry = Geometry(
            latent_channels=transformer.get("in_channels", transformer.get("in_dim", WAN_GEOMETRY.latent_channels)),
            patch_size=_triple(transformer["patch_size"]),
            num_layers=transformer["num_layers"],
            num_heads=heads,
            head_dim=head_dim,
            spatial_stride=vae.get("scale_factor_spatial", WAN_GEOMETRY.spatial_stride),
            temporal_stride=vae.get("scale_factor_temporal", WAN_GEOMETRY.temporal_stride),
            first_frames=vae.get("first_frames", WAN_GEOMETRY.first_frames),
            **{key: ours[key] for key in ("chunk", "sink", "window") if key in ours},
        )
        sampling = Sampling(
            steps=tuple(scheduler.get("steps", Sampling.steps)),
            shift=scheduler.get("shift", Sampling.shift) if "steps" in scheduler else Sampling.shift,
            warp=scheduler.get("warp", Sampling.warp),
            prediction=scheduler.get("prediction", Sampling.prediction),
            context_noise=scheduler.get("context_noise", Sampling.context_noise),
        )
        entry = ModelEntry(
            name=folder.name,
            summary=str(ours.get("summary", f"the model in {folder}")),
            licence=str(ours.get("licence", "that of your files")),
            geometry=geometry,
            sampling=sampling,
            width=ours.get("width", WAN_WIDTH),
            height=ours.get("height", WAN_HEIGHT),
            policy=ours.get("policy", "nam"),
            positions=ours.get("positions", "absolute"),
            text_len=transformer.get("text_len", ModelEntry.text_len),
            folder=folder,
        )
        _check_description(entry)
    except KeyError as missing:
        raise ModelError(f"{folder / 'transformer' / 'config.json'} has no {missing.args[0]!r}") from missing
    except (TypeError, ValueError, AttributeError, ArithmeticError, AssertionError) as error:
        raise ModelError(f"{folder} describes no model: {error}") from error
    return entry


def _check_description(entry: ModelEntry) -> None:
    """Raises ValueError for sizes that no model has: its folder may come from strangers."""
    sizes = {**asdict(entry.geometry), "width": entry.width, "height": entry.height, "text_len": entry.text_len}
    sizes |= {f"patch_size {index}": size for index, size in enumerate(sizes.pop("patch_size"))}
    for name, size in sizes.items():
        least = 0 if name in ("sink", "bank") else 1
        if type(size) is not int or not least <= size <= MAX_SIZE:
            raise ValueError(f"{name} is {str(size)[:40]}; a whole number from {least} to {MAX_SIZE:,} is expected")
    steps = entry.sampling.steps
    if not 1 <= len(steps) <= 1000 or not all(type(step) in (int, float) and 0 < step <= 1000 for step in steps):
        raise ValueError(f"steps are {str(steps)[:40]}; timesteps from 1 to 1000 are expected")
    if type(entry.sampling.shift) not in (int, float) or not 0 < entry.sampling.shift <= 1000:
        raise ValueError(f"shift is {str(entry.sampling.shift)[:40]}; a number up to 1000 is expected")
    noise = entry.sampling.context_noise
    if type(noise) not in (int, float) or not 0 <= noise <= 1000:
        raise ValueError(f"context_noise is {str(noise)[:40]}; a timestep from 0 to 1000 is expected")
    choices = (
        (entry.policy, ("nam", "official", "sink", "window")),
        (entry.positions, ("absolute", "relative")),
        (entry.sampling.prediction, ("flow", "sample")),
    )
    for word, known in choices:
        if word not in known:
            raise ValueError(f"{str(word)[:40]!r} is none of {', '.join(known)}")


def _heads(transformer: dict[str, Any]) -> tuple[int, int]:
    """Number and size of the heads, in diffusers' names or the original ones."""
    if "num_attention_heads" in transformer:
        return transformer["num_attention_heads"], transformer["attention_head_dim"]
    return transformer["num_heads"], transformer["dim"] // transformer["num_heads"]


def read_json(path: Path, optional: bool = False) -> dict[str, Any]:
    """The JSON object in one of a model's files; empty for an `optional` one that is not there. Raises ModelError."""
    if optional and not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(MAX_JSON_BYTES))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not an object")
    return content


def _triple(size: Sequence[int]) -> tuple[int, int, int]:
    frames, height, width = size
    return frames, height, width
