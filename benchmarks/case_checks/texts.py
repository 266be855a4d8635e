"""Cases of texts that were changed or misread, and of pictures and records that are read."""

import json
import re
import sys

from benchmarks.case_checks.common import SIZE, made, plan, tiny, told


def numbers_as_texts(case):
    story = plan(case, "numbers.yaml")
    prompts = [segment["prompt"] for segment in story["segments"]]
    assert (story["title"], prompts) == ("007", ["007 meets 1999.50", "1e3", "true"]), f"{story['title']}, {prompts}"
    story = plan(case, "tiny.yaml", "--set", "title=1.10", "--set", "segments.1.prompt=007")
    assert (story["title"], story["segments"][0]["prompt"]) == ("1.10", "007"), str(story)
    return prompts


def prompt_lines(case):
    seen = []
    for path in sorted([*case.folder.glob("*.jsonl"), *case.folder.glob("*.txt")]):
        if path.name == "case.txt":
            continue
        done = case.memflow("plan", "--json", path.name)
        assert done.is_told, str(done)
        prompts = re.findall(r'"prompt": "((?:[^"\\]|\\.)*)"', done.out)
        wrong = [prompt for prompt in prompts if prompt[:1] in "[{\\#/\ufeff"]
        assert not wrong, f"{path.name}: a film of {wrong[0]!r}"
        if path.name == "keys.jsonl":
            done = case.memflow("plan", "--json", path.name, *SIZE)
            story = json.loads(done.out.splitlines()[0])
            is_read = (story["fps"], story["seed"], story["width"]) == (24, 3, 224)
            assert is_read or all(key in done.err for key in ("seed", "fps", "size")), "keys are left out silently"
        seen.append(f"{path.name} {done.code}")
    return "; ".join(seen)


def unknown_words(case):
    for path in sorted(case.folder.glob("*.yaml")):
        done = case.memflow("plan", path.name, *SIZE)
        assert done.is_told and "warning" in done.err, f"{path.name}: nothing is said: {done}"
        assert "f, chs" not in done.err, f"{path.name}: {done}"
    return done


def nfc_nfd(case):
    return told(case.memflow("plan", "nfd.yaml"), 0, says="a red fox walks")


def hash_in_prompt(case):
    return told(case.memflow("plan", "h.yaml"), 0, says="comment")


def json_emoji(case):
    prompt = plan(case, "emoji.json")["segments"][0]["prompt"]
    assert prompt == "a 🦊 fox", prompt
    return prompt


def wrong_advice(case):
    right = {
        "windows-path": "backslash",
        "tab": "tab",
        "indent": "indentation",
        "open-quote": "closed",
        "apostrophe": "apostrophe",
    }
    right |= {"dash": "starts with -", "quoted-word": "quote"}
    for path in sorted(case.folder.glob("*.yaml")):
        done = case.memflow("plan", path.name)
        assert done.code == 2 and right[path.stem] in done.err and "colon" not in done.err, f"{path.name}: {done}"
    return told(case.memflow("plan", "emoji.json"), 0)


def title_of_two_lines(case):
    title = plan(case, "bt.yaml")["title"]
    assert "\n" not in title, repr(title)
    return repr(title)


def joiners(case):
    story = plan(case, "p.yaml")
    text = (case.folder / "p.yaml").read_text()
    assert story["title"] in text and story["segments"][0]["prompt"] in text, str(story["title"])
    done = case.memflow("plan", "p.yaml", *SIZE)
    assert story["title"] in done.out, f"on the terminal: {done.out[:60]}"
    return story["title"]


def gray16(case):
    code = (
        "from pathlib import Path; from memflow_cli.story.picture import load_picture; "
        "print(load_picture(Path('gray16.png'), 64, 32).mean())"
    )
    done = case.run(sys.executable, "-c", code)
    assert done.code == 0 and 60 < float(done.out) < 200, str(done)
    return done.out


def record_makes_film(case):
    tiny(case)
    made(case.memflow("generate", "tiny.yaml", "-o", "film.mp4"), case.folder / "film.mp4")
    about = made(case.memflow("generate", "film.json", "-o", "again.mp4"), case.folder / "again.mp4")
    import av

    films = [[f.to_ndarray() for f in av.open(str(case.folder / n)).decode(video=0)] for n in ("film.mp4", "again.mp4")]
    assert len(films[0]) == len(films[1]) and all((a == b).all() for a, b in zip(*films)), "another film"
    return about
