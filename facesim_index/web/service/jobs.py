"""Long work that a page starts and then asks about: one job at a time, in its own process."""

import contextlib
import dataclasses
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from facesim_index import errors
from facesim_index.web.guard.problems import (
    NotFoundError,
    Problem,
    ProblemError,
    problem_document,
    problem_of,
)
from facesim_index.workers.process import start_python

logger = logging.getLogger(__name__)

STATEMENT = "from facesim_index.web.service.job_process import main; main()"

_KEPT = 20
_END_S = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """How far a job is.

    Attributes
    ----------
    job_id : str
    state : {"running", "done", "failed"}
    stage : str or None
        What is being done, for a person.
    done : int
        How much of this stage is done, up to `total`.
    total : int or None
        None while it is not known.
    result : dict of str to object, or None
        The document of the result, as `grouping_document` makes it.
    problem : Problem or None
        Why it failed.
    """

    job_id: str
    state: Literal["running", "done", "failed"] = "running"
    stage: str | None = None
    done: int = 0
    total: int | None = None
    result: dict[str, object] | None = None
    problem: Problem | None = None


class Jobs:
    """The jobs of a server.

    Parameters
    ----------
    folder : Path
        The index.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start_cluster(self, *, full: bool) -> Job:
        """Begin to group the faces into people.

        Parameters
        ----------
        full : bool
            Group all faces anew that no human has assigned; otherwise only those of nobody.

        Returns
        -------
        Job

        Raises
        ------
        ProblemError
            A job is running already; status 409.
        PipelineError
            No process can be started.
        """
        with self._lock:
            if any(job.state == "running" for job in self._jobs.values()):
                raise ProblemError(409, "job_running", "wait until the running job is done")
            process = start_python(STATEMENT, stderr=subprocess.DEVNULL, environment={})
            job = Job(secrets.token_hex(8))
            self._jobs[job.job_id] = job
            while len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)
            self._process = process
            orders = {"folder": str(self._folder), "full": full}
            watch = (job.job_id, process, json.dumps(orders).encode("ascii") + b"\n")
            self._thread = threading.Thread(target=self._watch, args=watch, daemon=True)
            self._thread.start()
        return job

    def get(self, job_id: str) -> Job:
        """Return how far a job is.

        Parameters
        ----------
        job_id : str

        Returns
        -------
        Job

        Raises
        ------
        NotFoundError
            There is no such job, or it is not one of the newest.
        """
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise NotFoundError("there is no such job; the newest ones only are remembered")
        return job

    def close(self) -> None:
        """End the job that runs; what it has not committed is lost."""
        with self._lock:
            process, thread = self._process, self._thread
        if process is not None:
            _kill(process)
        if thread is not None:
            thread.join(_END_S)

    def _watch(self, job_id: str, process: subprocess.Popen[bytes], orders: bytes) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin as orders_to, process.stdout as told:
            with contextlib.suppress(OSError):
                orders_to.write(orders)
                orders_to.flush()
            self._listen(job_id, told)
        process.wait()
        with self._lock:
            job = self._jobs.get(job_id)
            if job is not None and job.state == "running":
                problem = ProblemError(500, "job_ended", "the job's process ended unexpectedly")
                failed = dataclasses.replace(job, state="failed", problem=problem_document(problem))
                self._jobs[job_id] = failed
                logger.warning("job %s ended with exit code %s", job_id, process.returncode)

    def _listen(self, job_id: str, told: IO[bytes]) -> None:
        for line in told:
            document = json.loads(line)
            with self._lock:
                job = self._jobs.get(job_id)
                if job is not None:
                    self._jobs[job_id] = _heard(job, document)


def _heard(job: Job, document: dict[str, object]) -> Job:
    """Return a job after its process has reported something."""
    if "result" in document:
        result = document["result"]
        assert isinstance(result, dict)
        return dataclasses.replace(job, state="done", result=result)
    if "error" in document:
        kind = getattr(errors, str(document["error"]), errors.FacesimError)
        problem = problem_document(problem_of(kind(str(document["message"]))))
        return dataclasses.replace(job, state="failed", problem=problem)
    done, total = document["done"], document["total"]
    assert isinstance(done, int)
    assert total is None or isinstance(total, int)
    return dataclasses.replace(job, stage=str(document["stage"]), done=done, total=total)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
