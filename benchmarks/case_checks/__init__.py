"""What each reported case expects, as far as a machine can tell: a function that asserts it, and says what was seen."""

from collections.abc import Callable

from benchmarks.case_checks import attacks, machine, outputs_and_weights, texts
from benchmarks.cases import Case

CHECKS: dict[str, Callable[[Case], object]] = {
    "closed-stdout": machine.closed_stdout,
    "colour-tags": machine.colour_tags,
    "early-ctrl-c": machine.early_ctrl_c,
    "files-beside-weights": outputs_and_weights.files_beside_weights,
    "fsync-of-a-folder": machine.fsync_of_a_folder,
    "gray16-picture": texts.gray16,
    "hash-in-prompt": texts.hash_in_prompt,
    "joiners-and-spaces": texts.joiners,
    "json-storyboard-with-emoji": texts.json_emoji,
    "long-names": outputs_and_weights.long_names,
    "lora-alpha-in-metadata": outputs_and_weights.lora_alpha,
    "lora-kinds": outputs_and_weights.lora_kinds,
    "lora-shapes": outputs_and_weights.lora_shapes,
    "model-dot": outputs_and_weights.model_dot,
    "nfc-nfd": texts.nfc_nfd,
    "no-home": machine.no_home,
    "no-temporary-folder": machine.no_temporary_folder,
    "numbers-as-texts": texts.numbers_as_texts,
    "old-ffmpeg": machine.old_ffmpeg,
    "own-traces-as-input": outputs_and_weights.own_traces_as_input,
    "prompt-lines": texts.prompt_lines,
    "record-makes-no-film": texts.record_makes_film,
    "relative-paths": outputs_and_weights.relative_paths,
    "stderr-that-cannot-be-written": machine.stderr_full,
    "stdout-full": machine.stdout_full,
    "symlinked-film": outputs_and_weights.symlinked_film,
    "terminal-encodings": machine.terminal_encodings,
    "terminal-gone": machine.terminal_gone,
    "tilde": outputs_and_weights.tilde,
    "title-of-two-lines": texts.title_of_two_lines,
    "trace-overwrites-a-file": outputs_and_weights.trace_overwrites_a_file,
    "unknown-words": texts.unknown_words,
    "wrong-advice": texts.wrong_advice,
    "characters-dos": attacks.characters_dos,
    "yaml": attacks.yaml_attacks,
    "pictures": attacks.pictures,
    "run-symlink": attacks.run_symlink,
    "model-escapes": attacks.model_escapes,
    "lora": attacks.lora_attacks,
}

ELSEWHERE = {
    "disk-check-ignores-parts": "needs a disk of its own: tests/test_downloads.py",
    "changed-then-killed": "kills between two calls: tests/test_crash_points.py",
    "crash-points": "kills between any two calls: tests/test_crash_points.py and python -m benchmarks.kill",
    "damage": "tests/test_run_folder.py, tests/test_resume.py",
    "determinism": "tests/test_resume.py",
    "faults": "tests/test_faults.py",
    "load": "python -m benchmarks.flat_memory",
    "model-hostile": "tests/test_damaged_models.py, tests/test_bad_weights.py",
    "processes": "tests/test_run_folder.py, tests/test_resume.py",
    "pull": "tests/test_downloads.py",
    "sealed-bad-part": "tests/test_run_folder.py",
    "traces": "tests/test_untrusted.py, tests/test_trace.py",
    "xss": "tests/test_inspect_page.py",
}
