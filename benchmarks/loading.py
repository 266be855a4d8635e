"""What loading a checkpoint takes of the host's memory, by form: `python -m benchmarks.loading`.

A transformer of random numbers is written in the forms that a checkpoint may have (safetensors in shards, ComfyUI's scaled
fp8, GGUF Q8_0, and shards with a LoRA of every block's matrices), and each is loaded in bf16 in a process of its own. The
peak is that of anonymous memory: what is mapped from a file is the system's to drop. It should be the model in bf16 and
little more; of shards even less, for they are in bf16 already, and stay mapped.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from memflow_cli.models.entry import Lora
from memflow_cli.models.wan.checkpoint import load_transformer
from memflow_cli.models.wan.config import WanConfig
from memflow_cli.models.wan.transformer import CausalWanTransformer

FORMS = ("shards", "scaled fp8", "gguf", "lora")
SHARDS = 4
RANK = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=1024, help="a multiple of 256; 5120 is that of 14B")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--load", type=Path, help="load this file or folder, and print what it took")
    parser.add_argument("--with-lora", type=Path)
    options = parser.parse_args()
    config = WanConfig(
        dim=options.dim, ffn_dim=4 * options.dim, num_heads=options.dim // 128, num_layers=options.layers
    )
    if options.load:
        print(json.dumps(measure(options.load, config, [Lora(options.with_lora)] if options.with_lora else [])))
        return
    print(
        f"{'form':<12}{'file MiB':>10}{'model MiB':>11}{'peak MiB':>10}{'over it':>9}{'largest, fp32':>15}{'seconds':>9}"
    )
    for form in FORMS:
        with tempfile.TemporaryDirectory() as folder:
            path, lora = write(form, Path(folder), config)
            command = [sys.executable, "-m", "benchmarks.loading", "--dim", str(options.dim)]
            command += ["--layers", str(options.layers), "--load", str(path)]
            done = subprocess.run(
                command + (["--with-lora", str(lora)] if lora else []), check=True, capture_output=True, text=True
            )
            took = json.loads(done.stdout.splitlines()[-1])
            size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.glob("*.safetensors"))) >> 20
        print(
            f"{form:<12}{size:>10}{took['model']:>11}{took['peak']:>10}{took['peak'] - took['model']:>9}"
            f"{took['largest']:>15}{took['seconds']:>9.1f}",
            flush=True,
        )


def measure(path: Path, config: WanConfig, loras: list[Lora]) -> dict[str, float]:
    """MiB of the loaded model, of the peak over what the process held before, and of the largest tensor in fp32."""
    before, peak, is_done = anonymous_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_done.wait(0.002):
            peak = max(peak, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    model = load_transformer(path, config, loras, dtype=torch.bfloat16)
    seconds = time.perf_counter() - began
    is_done.set()
    watcher.join()
    tensors = list(model.state_dict().values())
    return {
        "model": sum(tensor.nbytes for tensor in tensors) >> 20,
        "peak": (peak - before) >> 20,
        "largest": max(4 * tensor.numel() for tensor in tensors) >> 20,
        "seconds": round(seconds, 1),
    }


def anonymous_bytes() -> int:
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, "this system tells of no anonymous memory"
    return 1024 * int(found[1])


def write(form: str, folder: Path, config: WanConfig) -> tuple[Path, Path | None]:
    """A checkpoint of this form, and the LoRA that goes with it."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in CausalWanTransformer(config).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=generator).mul_(0.02).bfloat16() for name, shape in shapes.items()}
    if form == "gguf":
        return write_gguf(folder / "model.gguf", weights), None
    if form == "scaled fp8":
        save_file(scaled_fp8(weights), folder / "model.safetensors")
        return folder / "model.safetensors", None
    names = sorted(weights)
    for number in range(SHARDS):
        part = {name: weights[name] for name in names[number::SHARDS]}
        save_file(part, folder / f"model-{number + 1:05}-of-{SHARDS:05}.safetensors")
    if form == "shards":
        return folder, None
    lora = {}
    for name in filter(lambda name: is_matrix(name, weights[name]), names):
        rows, columns = weights[name].shape
        module = name.removesuffix(".weight")
        lora[f"diffusion_model.{module}.lora_A.weight"] = torch.randn(RANK, columns, generator=generator) * 0.01
        lora[f"diffusion_model.{module}.lora_B.weight"] = torch.randn(rows, RANK, generator=generator) * 0.01
    (folder / "lora").mkdir()
    save_file(lora, folder / "lora" / "lora.safetensors")
    return folder, folder / "lora" / "lora.safetensors"


def is_matrix(name: str, tensor: Tensor) -> bool:
    return name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2


def scaled_fp8(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    packed = {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}
    for name, tensor in weights.items():
        if is_matrix(name, tensor):
            scale = tensor.float().abs().amax() / 448
            packed[name] = (tensor.float() / scale).to(torch.float8_e4m3fn)
            packed[name.removesuffix("weight") + "scale_weight"] = scale
        else:
            packed[name] = tensor
    return packed


def write_gguf(path: Path, weights: dict[str, Tensor]) -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, "wan")
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, tensor in weights.items():
        numbers = tensor.float().numpy()
        if numbers.ndim > 4:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(numbers.shape))
            numbers = numbers.reshape(-1, *numbers.shape[-3:])
        if is_matrix(name, tensor):
            writer.add_tensor(name, gguf.quantize(numbers, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


if __name__ == "__main__":
    main()
