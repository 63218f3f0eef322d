"""A real Slurm on this machine alone: one controller, one node, two pretended GPUs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import debian

# Jobs' inner commands see no SLURM_CONF, so another place would not do.
SETTINGS = Path("/etc/slurm/slurm.conf")
DEVICES = SETTINGS.with_name("gres.conf")
SWITCH = "OVNERF_TEST_SLURM"
MARK = "# Written by ovnerf's tests/workflow, which removes it.\n"

# Authentication is `none` (everybody on this machine is believed); sizes are what the node claims.
TEMPLATE = """{mark}ClusterName=ovnerf-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
MailProg=/bin/true
MinJobAge=3600
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=256000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def obstacle() -> str:
    """Why Slurm cannot be started here; empty when it can."""
    if os.environ.get(SWITCH) != "1":
        return f"{SWITCH}=1 lets this test install Slurm by apt, as root, and start it"
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    if find_spec("snakemake_executor_plugin_slurm") is None:
        return "snakemake-executor-plugin-slurm is not installed"
    if any(path.exists() and MARK not in path.read_text() for path in (SETTINGS, DEVICES)):
        return f"{SETTINGS.parent} belongs to a Slurm of this machine"
    if not shutil.which("slurmctld") and not shutil.which("apt-get"):
        return "no slurmctld, and no apt-get to install it with"
    return ""


def install() -> str:
    """Install Slurm by apt where it is missing; what apt said when it could not, else empty."""
    if shutil.which("slurmctld") and shutil.which("slurmd"):
        return ""
    return debian.install("slurm-wlm", "munge")


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(*command: str) -> str:
    """Standard output of a Slurm command; empty when it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def wait_for(what: str, is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return once `is_so()` holds; TimeoutError naming `what` otherwise."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


@contextmanager
def daemon(name: str, folder: Path) -> Iterator[None]:
    """A Slurm daemon in the foreground, ended on leaving."""
    with (folder / f"{name}.out").open("w") as output:
        process = subprocess.Popen([name, "-D"], stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Slurm with an idle node; jobs, daemons and settings are gone afterwards."""
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    SETTINGS.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for path in (SETTINGS, DEVICES):
            stack.callback(path.unlink, missing_ok=True)
        ports = {"controller_port": free_port(), "node_port": free_port()}
        SETTINGS.write_text(TEMPLATE.format(mark=MARK, host=host, folder=folder, **ports))
        cards = ("/dev/null", "/dev/zero")
        rows = [f"NodeName={host} Name=gpu File={card}\n" for card in cards]
        DEVICES.write_text(MARK + "".join(rows))
        stack.enter_context(daemon("slurmctld", folder))
        stack.enter_context(daemon("slurmd", folder))
        wait_for("an idle node", lambda: ask("sinfo", "-h", "-o", "%T") == "idle")
        try:
            yield
        finally:
            ask("scancel", "--user", "root")
            wait_for("an empty queue", lambda: not ask("squeue", "-h"))
