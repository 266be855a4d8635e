"""Cases found by attack."""

import json
import shutil

from benchmarks.case_checks.common import TINY, WEIGHTS, shell, tiny, told


def characters_dos(case):
    def write(name, characters, segments, prompt):
        text = "characters:\n" + "".join(f"  c{i}: x\n" for i in range(characters)) + "segments:\n"
        return case.write(name, text + f"- {{prompt: {prompt}, duration: 1s}}\n" * segments)

    write("valid.yaml", 60_000, 25_000, "a fox")
    write("typo.yaml", 20_000, 4, "'" + "".join(f"{{z{i}}}" for i in range(500)) + "'")
    done = case.memflow("plan", "valid.yaml", limit=120)
    assert done.is_told and done.seconds < 45, str(done)
    other = case.memflow("plan", "typo.yaml", limit=120)
    assert other.code == 2 and other.is_told and other.seconds < 15, str(other)
    return f"{done.seconds:.1f} s and {other.seconds:.1f} s"


def yaml_attacks(case):
    source = (case.folder / "repro.py").read_text()
    start, end = source.index("def seg("), source.index("if __name__")
    scope: dict = {}
    exec(source[start:end], scope)
    seen = 0
    for name, content in scope["C"].items():
        raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        case.write("s.yaml", raw)
        done = case.memflow("plan", "s.yaml", limit=150)
        assert done.is_told, f"{name}: {done}"
        assert not set("\x1b\x9b\x07\0\u202e") & set(done.out + done.err), f"{name}: raw control characters"
        seen += 1
    return f"{seen} storyboards"


def pictures(case):
    import numpy as np
    from PIL import Image

    case.write("s.yaml", "seed: 1\nsegments: [{prompt: a red fox, duration: 0.75s, image: p.png}]\n")
    Image.fromarray(np.linspace(0, 65535, 2048).reshape(32, 64).astype(np.uint16)).save(case.folder / "p.png")
    told(case.memflow("generate", "--dry-run", "s.yaml", "-o", "a.mp4"), 0)
    Image.new("1", (1, 60_000_000)).save(case.folder / "p.png")
    line = "ulimit -v 4000000; memflow generate --dry-run s.yaml -o a.mp4"
    return told(shell(case, line), 2, says="too large")


def run_symlink(case):
    case.write("home/ssh/key", "key")
    case.write("repo/story.yaml", TINY)
    (case.folder / "repo/story.mp4.run").symlink_to("../home/ssh")
    done = case.memflow("generate", "story.yaml", cwd=case.folder / "repo")
    assert (case.folder / "home/ssh/key").read_text() == "key", "a user's file is gone"
    assert [path.name for path in (case.folder / "home/ssh").iterdir()] == ["key"], "files were left in a user's folder"
    case.write("two/story.yaml", TINY)
    case.write("two/story.mp4.run/notes.txt", "mine")
    (case.folder / "two/story.mp4.run/lock").symlink_to(case.write("home/lock", "precious"))
    other = case.memflow("generate", "story.yaml", cwd=case.folder / "two")
    assert (case.folder / "home/lock").read_text() == "precious", "a link was written through"
    assert (case.folder / "two/story.mp4.run/notes.txt").exists(), "a user's file is gone"
    assert done.is_told and other.is_told, f"{done}; {other}"
    return done


def model_escapes(case):
    shutil.copytree(WEIGHTS, case.folder / "evil")
    index = case.folder / "evil" / "model_index.json"
    content = json.loads(index.read_text())
    content.setdefault("memflow", {}).update(summary="nice\x1b]0;x\x07\x1b[2J", licence="MIT\x1b[5m\x9b31m")
    index.write_text(json.dumps(content))
    shutil.copytree(case.folder / "evil", case.folder / "e\x1b[31mvil")
    for folder in ("./evil", "./e\x1b[31mvil"):
        for command in (("show", folder), ("show", folder, "--json"), ("verify", folder)):
            done = case.memflow("models", *command)
            assert not set("\x1b\x9b\x07") & set(done.out + done.err), f"{command}: raw escapes"
            assert done.is_told, str(done)
    return done


def lora_attacks(case):
    import torch
    from safetensors.torch import save_file

    tiny(case)
    name = "blocks.0.self_attn.q"
    a, b = f"{name}.lora_A.weight", f"{name}.lora_B.weight"
    files = {
        "ranks": {a: torch.randn(4, 384), b: torch.randn(384, 8)},
        "one_dim": {a: torch.randn(4), b: torch.randn(384)},
        "rank0": {a: torch.zeros(0, 384), b: torch.zeros(384, 0)},
        "alpha": {a: torch.randn(4, 384), b: torch.randn(384, 4), f"{name}.alpha": torch.ones(3)},
        "many": {f"x{i}.lora_A.weight": torch.ones(1) for i in range(100_000)},
    }
    for file, tensors in files.items():
        save_file(tensors, case.folder / f"{file}.safetensors")
    torch.save({1: torch.ones(1)}, case.folder / "int_keys.safetensors")
    for file in [*files, "int_keys"]:
        done = case.memflow("generate", "tiny.yaml", "-o", "f.mp4", "-y", "--lora", f"{file}.safetensors", limit=90)
        assert done.code == 3 and done.is_told, f"{file}: {done}"
    save_file({a: torch.randn(4, 384), b: torch.randn(384, 4)}, case.folder / "good.safetensors")
    for strength in ("nan", "inf"):
        done = case.memflow("generate", "tiny.yaml", "-o", "f.mp4", "-y", "--lora", f"good.safetensors:{strength}")
        assert done.code in (2, 3) and done.is_told, f":{strength}: {done}"
    return done
