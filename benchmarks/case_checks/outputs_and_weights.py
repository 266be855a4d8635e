"""Cases of what a film writes, and of weights that others made."""

import json
import shutil

from benchmarks.case_checks.common import SIZE, TINY, WEIGHTS, made, shell, tiny, told


def long_names(case):
    tiny(case)
    for length in (241, 243, 248):
        done = case.memflow("generate", "tiny.yaml", "-o", "a" * length + ".mp4")
        if done.code == 0:  # a name that all of a film's files fit
            made(done, case.folder / ("a" * length + ".mp4"))
            continue
        assert done.code == 2 and done.is_told, f"{length}: {done}"
        assert not list(case.folder.glob("a" * length + "*")), "something was left"
    return done


def trace_overwrites_a_file(case):
    case.write("fox.memory.jsonl", '{"prompts": ["a red fox"]}\n')
    before = (case.folder / "fox.memory.jsonl").read_bytes()
    done = case.memflow("generate", "fox.memory.jsonl", "--segment-seconds", "0.75", "-o", "fox.mp4")
    assert (case.folder / "fox.memory.jsonl").read_bytes() == before, "the user's file was replaced"
    return told(done, 2)


def own_traces_as_input(case):
    case.write("one.jsonl", '{"prompts": ["a red fox walks"]}\n')
    line = "memflow generate *.jsonl --segment-seconds 0.75"
    assert (done := shell(case, line)).code == 0, str(done)
    return told(shell(case, line), 0)


def symlinked_film(case):
    tiny(case)
    (case.folder / "big").mkdir()
    (case.folder / "link.mp4").symlink_to("big/real.mp4")
    done = case.memflow("generate", "tiny.yaml", "-o", "link.mp4")
    if done.code == 0:
        assert (case.folder / "link.mp4").is_symlink() and (case.folder / "big/real.mp4").exists(), str(done)
        return "written through"
    assert (case.folder / "link.mp4").is_symlink(), "the link was replaced"
    return told(done, 2)


def tilde(case):
    tiny(case)
    home = case.folder / "home"
    (home / "films").mkdir(parents=True)
    done = case.memflow("generate", "tiny.yaml", "--out=~/films/a.mp4", env={"HOME": str(home)})
    assert not (case.folder / "~").exists(), "a folder named ~ was made"
    return made(done, home / "films" / "a.mp4")


def lora_shapes(case):
    tiny(case)
    for file in sorted(case.folder.glob("*.safetensors")):
        done = case.memflow("generate", "tiny.yaml", "-y", "-o", "l.mp4", "--lora", file.name)
        assert done.code == 3 and done.is_told, f"{file.name}: {done}"
    return done


def lora_kinds(case):
    tiny(case)
    seen = []
    for file in sorted(case.folder.glob("*.safetensors")):
        done = case.memflow("generate", "tiny.yaml", "-y", "-o", "l.mp4", "--lora", file.name)
        assert done.code in (0, 3) and done.is_told, f"{file.name}: {done}"
        assert "probably made for another model" not in done.err, f"{file.name}: {done}"
        seen.append(f"{file.stem} {done.code}")
    return "; ".join(seen)


def lora_alpha(case):
    tiny(case)
    films = []
    for name in ("diffusers", "diffusers_meta"):
        done = case.memflow("generate", "tiny.yaml", "-y", "-o", f"{name}.mp4", "--lora", f"{name}.safetensors")
        made(done, case.folder / f"{name}.mp4")
        films.append((case.folder / f"{name}.mp4").read_bytes())
    assert films[0] != films[1] or "alpha" in done.err, "the same film, and nothing is said"
    return done


def files_beside_weights(case):
    shutil.copytree(WEIGHTS, case.folder / "model")
    folder = case.folder / "model" / "transformer"
    (folder / "._diffusion_pytorch_model.safetensors").write_bytes(b"\0\5\x16\7" + bytes(4092))
    first = told(case.memflow("models", "verify", "./model"), 0)
    (folder / "._diffusion_pytorch_model.safetensors").unlink()
    from safetensors.torch import load_file, save_file

    own = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file({name: value * 0 for name, value in own.items()}, folder / "diffusion_pytorch_model_old.safetensors")
    tiny(case)
    here = case.memflow("generate", "tiny.yaml", "-m", "./model", "-o", "a.mp4")
    if here.code == 0:
        assert "diffusion_pytorch_model_old" in here.err or _same(case, "a.mp4"), "the last name won"
    else:
        told(here, 3)
    return first


def _same(case, name):
    """Whether a film equals that of theatre itself."""
    made(case.memflow("generate", "tiny.yaml", "-o", "own.mp4"), case.folder / "own.mp4")
    import av

    def frames(path):
        return [frame.to_ndarray() for frame in av.open(str(path)).decode(video=0)]

    mine, theirs = frames(case.folder / name), frames(case.folder / "own.mp4")
    return len(mine) == len(theirs) and all((a == b).all() for a, b in zip(mine, theirs))


def model_dot(case):
    shutil.copytree(WEIGHTS, case.folder / "MODEL")
    (case.folder / "MODEL" / "t.yaml").write_text(TINY)
    done = case.memflow("plan", "--json", "-m", ".", "t.yaml", cwd=case.folder / "MODEL")
    assert done.code == 0 and json.loads(done.out.splitlines()[0])["model"] == "MODEL", str(done)
    return done


def relative_paths(case):
    shutil.copytree(WEIGHTS, case.folder / "proj" / "mymodel")
    told(case.memflow("plan", "proj/t.yaml", *SIZE), 0)
    done = case.memflow(
        "generate", "--dry-run", "--set", "segments.1.image=pic.png", "proj/i.yaml", *SIZE, "-o", "x.mp4"
    )
    return told(done, 0)
