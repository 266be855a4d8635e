"""Cases of a machine that does something else: streams, terminals, homes, drives, an ffmpeg of another age."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

from benchmarks.case_checks.common import SIZE, SOURCE, TINY, made, shell, tiny


def closed_stdout(case):
    tiny(case)
    film = made(shell(case, "memflow generate tiny.yaml -o c.mp4 >&-"), case.folder / "c.mp4")
    for line in ("memflow plan tiny.yaml >&-", "memflow --version >&-"):
        done = shell(case, line)
        assert done.is_told, str(done)
    return film


def stdout_full(case):
    tiny(case)
    done = shell(case, "memflow generate tiny.yaml -o c.mp4 >/dev/full")
    assert done.is_told and done.code != 0 and (case.folder / "c.mp4").exists(), str(done)
    return done


def stderr_full(case):
    tiny(case)
    return made(shell(case, "memflow generate tiny.yaml -o c.mp4 2>/dev/full"), case.folder / "c.mp4")


def terminal_encodings(case):
    seen = []
    case.write("e.yaml", 'title: "狐"\n' + TINY)
    for environment in (
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ):
        done = case.memflow("plan", "e.yaml", env=environment)
        assert done.code == 0 and done.is_told, str(done)
        done = case.memflow("plan", "--json", "e.yaml", env=environment)
        assert json.loads(done.out.splitlines()[0])["title"] == "狐", str(done)
    seen.append(
        made(
            case.memflow("generate", "e.yaml", "-o", "狐.mp4", env={"PYTHONIOENCODING": "cp1252"}),
            case.folder / "狐.mp4",
        )
    )
    return seen[-1]


def terminal_gone(case):
    import pty

    tiny(case)
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "memflow_cli", "generate", "six.yaml", *SIZE, "-o", "a.mp4"],
        cwd=case.folder,
        stdin=side,
        stdout=subprocess.DEVNULL,
        stderr=side,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "TERM": "xterm"},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        start_new_session=True,
    )
    os.close(side)
    time.sleep(6)
    os.close(main)
    code = process.wait(timeout=300)
    assert code == 0 and (case.folder / "a.mp4").exists(), f"code {code}"
    return f"code {code}"


def early_ctrl_c(case):
    seen = []
    tiny(case)
    for seconds in (0.08, 0.3, 0.6, 1.3):
        process = subprocess.Popen(
            [sys.executable, "-m", "memflow_cli", "generate", "tiny.yaml", "-o", "e.mp4"],
            cwd=case.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        seen.append(f"{seconds} s: {process.returncode}")
        # before Python itself listens, the signal ends the process as the system does
        assert b"Traceback" not in err, f"{seconds} s: a traceback"
        assert process.returncode in (0, 130) or (seconds < 0.1 and process.returncode == -2), "; ".join(seen)
    return "; ".join(seen)


def colour_tags(case):
    tiny(case)
    about = made(case.memflow("generate", "tiny.yaml", "-o", "c.mp4"), case.folder / "c.mp4")
    import av

    context = av.open(str(case.folder / "c.mp4")).streams.video[0].codec_context
    tags = context.color_primaries, context.color_trc, context.colorspace
    assert tags == (1, 1, 1), f"primaries, transfer, matrix: {tags}"
    assert b"colr" in (case.folder / "c.mp4").read_bytes(), "no colr box"
    return about


def no_home(case):
    tiny(case)
    os.chmod(case.folder, 0o777)
    os.chmod(case.folder.parent, 0o777)
    line = "env -u HOME setpriv --reuid 12345 --regid 12345 --clear-groups " + shlex.quote(sys.executable)
    done = shell(case, f"{line} -m memflow_cli generate tiny.yaml -o u.mp4")
    if "Permission denied" in done.err and "python" in done.err:
        return "not told here: another user cannot read this interpreter"
    return made(done, case.folder / "u.mp4")


def no_temporary_folder(case):
    tiny(case)
    (case.folder / "out").mkdir()
    inside = (
        "mount --make-rprivate /; mount --bind $PWD/out $PWD/out; mount -o remount,ro,bind /; "
        "for d in /dev/shm /run /tmp; do mount -o remount,ro $d 2>/dev/null; done; "
    )
    python = shlex.join([sys.executable, "-m", "memflow_cli"])
    done = case.run("unshare", "-m", "bash", "-c", f"{inside} {python} generate tiny.yaml -o out/a.mp4")
    return made(done, case.folder / "out" / "a.mp4")


def fsync_of_a_folder(case):
    tiny(case)
    built = case.run("gcc", "-shared", "-fPIC", "-o", "dirsync.so", "dirsync.c", "-ldl")
    assert built.code == 0, str(built)
    done = case.memflow("generate", "tiny.yaml", "-o", "a.mp4", env={"LD_PRELOAD": str(case.folder / "dirsync.so")})
    return made(done, case.folder / "a.mp4")


def old_ffmpeg(case):
    tiny(case)
    for name in ("old42", "noh264"):
        os.chmod(case.folder / name, 0o755)
        done = case.memflow("generate", "tiny.yaml", "-o", "b.mp4", env={"IMAGEIO_FFMPEG_EXE": str(case.folder / name)})
        film = case.folder / "b.mp4"
        assert done.is_told, str(done)
        assert film.exists() == (done.code == 0), str(done)
        assert done.code == 0 or "goes on from there" not in done.err, str(done)
        film.unlink(missing_ok=True)
    return done
