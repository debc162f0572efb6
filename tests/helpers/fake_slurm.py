"""`sbatch`, `srun` and `scontrol` on one machine, as far as tools/launch/slurm.sh uses them.

Faithful where it matters: the script runs as a copy in another folder, its `#SBATCH` lines are read, tasks
are told apart by Slurm's variables, a signal goes to the tasks and to nothing they started, all tasks are
killed as soon as one fails, and a requeued job runs again under the same number.

The test says when the time limit is near: SLURM_FAKE_WARN="FILE LINES" has the signal of `--signal` sent once
that file has so many lines, in the first run of the job.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def sbatch(words):
    """Run a batch script, and again while it is requeued; the exit code of its last run."""
    at = next(i for i, word in enumerate(words) if not word.startswith("--"))
    script, given = Path(words[at]), words[:at]
    head = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH ")]
    words_of_options = [line.removeprefix("#SBATCH ") for line in head] + given
    options = dict(word.removeprefix("--").partition("=")[::2] for word in words_of_options)
    spool = Path(os.environ["SLURM_FAKE_SPOOL"])
    spool.mkdir()
    copy = shutil.copy(script, spool / "slurm_script")
    nodes, tasks = options["nodes"], options.get("ntasks-per-node")
    number = str(os.getpid())  # Lightning makes a port of its last digits
    job = {"SLURM_JOB_ID": number, "SLURM_JOB_NAME": options["job-name"], "SLURM_JOB_NUM_NODES": nodes}
    job |= {"SLURM_NNODES": nodes, "SLURM_NODELIST": "localhost", "SLURM_FAKE_SIGNAL": options["signal"]}
    if tasks:
        job |= {"SLURM_NTASKS_PER_NODE": tasks, "SLURM_NTASKS": str(int(nodes) * int(tasks))}
    for restart in range(3):
        counted = {"SLURM_RESTART_COUNT": str(restart)} if restart else {}
        code = subprocess.run(
            ["bash", copy, *words[at + 1 :]], env={**os.environ, **job, **counted}
        ).returncode
        requeued = (spool / "requeued").exists() and "requeue" in options
        if not requeued:
            break
        (spool / "requeued").unlink()
    return code


def srun(words):
    """Start the tasks of a step; the highest exit code of them, 128 + n for signal n."""
    at = next(i for i, word in enumerate(words) if not word.startswith("--"))
    options, command = words[:at], words[at:]
    per_node = int(os.environ["SLURM_NTASKS_PER_NODE"])
    tasks = []
    for rank in range(int(os.environ["SLURM_NTASKS"])):
        node, local = divmod(rank, per_node)
        place = {"SLURM_PROCID": rank, "SLURM_NODEID": node, "SLURM_LOCALID": local}
        env = {**os.environ, **{name: str(value) for name, value in place.items()}}
        tasks.append(subprocess.Popen(command, env=env))
    warned = "SLURM_FAKE_WARN" not in os.environ or "SLURM_RESTART_COUNT" in os.environ
    while any(task.poll() is None for task in tasks):
        time.sleep(0.05)
        if not warned and time_is_short():
            warned = True
            name = os.environ["SLURM_FAKE_SIGNAL"].split("@")[0]
            for task in tasks:
                task.send_signal(getattr(signal, f"SIG{name}"))
        if "--kill-on-bad-exit=1" in options and any(task.poll() for task in tasks):
            for task in tasks:
                task.kill()
    return max(task.returncode if task.returncode >= 0 else 128 - task.returncode for task in tasks)


def time_is_short():
    """Whether the file of SLURM_FAKE_WARN has as many lines as it says."""
    path, lines = os.environ["SLURM_FAKE_WARN"].rsplit(" ", 1)
    return Path(path).exists() and len(Path(path).read_text().splitlines()) >= int(lines)


def scontrol(words):
    """Note that the job is to run again."""
    assert words == ["requeue", os.environ["SLURM_JOB_ID"]]
    (Path(os.environ["SLURM_FAKE_SPOOL"]) / "requeued").touch()
    return 0


if __name__ == "__main__":
    sys.exit({"sbatch": sbatch, "srun": srun, "scontrol": scontrol}[sys.argv[1]](sys.argv[2:]))
